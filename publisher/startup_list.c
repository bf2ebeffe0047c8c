/* SPDX-License-Identifier: Apache-2.0
 * Lines of a file become blocks of the image. */
#include "publisher/startup_list.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (16u << 20)

struct block_list {
	struct buf blocks; /* of uint32_t */
	const struct erofs_plan *plan;
};

static void add_range(void *arg, uint64_t first, uint64_t count)
{
	struct block_list *l = arg;

	for (uint64_t i = 0; i < count; i++) {
		uint32_t block = (uint32_t)(first + i);

		buf_put(&l->blocks, &block, sizeof(block));
	}
}

static void add_node(void *arg, const struct node *n)
{
	const struct block_list *l = arg;

	erofs_ranges(l->plan, n, add_range, arg);
}

int startup_list_read(uint32_t **blocks, size_t *n, size_t *unknown, const char *path,
		      const struct erofs_plan *plan, struct err *e)
{
	cleanup_buf struct buf text = {.max = MAX_FILE};
	struct block_list l = {{.max = SIZE_MAX / 2}, plan};
	int r = file_read(AT_FDCWD, path, &text, e);

	if (r < 0)
		return r;
	*unknown = 0;
	add_range(&l, 0, 1); /* the superblock */
	for (size_t at = 0, length; at < text.size; at += length + 1) {
		const char *line = (const char *)text.data + at;
		const char *end = memchr(line, '\n', text.size - at);

		length = end ? (size_t)(end - line) : text.size - at;
		if (length == 0)
			continue;
		r = tree_visit(plan->tree, line, length, add_node, &l);
		if (r == -ENOMEM)
			break;
		*unknown += r < 0;
	}
	if (r == -ENOMEM || buf_failed(&l.blocks)) {
		buf_deinit(&l.blocks);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*n = l.blocks.size / sizeof(uint32_t);
	*blocks = (uint32_t *)(void *)l.blocks.data;
	return 0;
}
