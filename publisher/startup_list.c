/* SPDX-License-Identifier: Apache-2.0
 * Lines of a file become blocks of the image. */
#include "publisher/startup_list.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/format/format.h"
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (16u << 20)

struct block_list {
	struct buf blocks; /* of uint32_t */
	const uint64_t *layer_blocks;
};

static void add_run(struct block_list *l, uint32_t layer, uint64_t start, uint64_t n)
{
	for (uint32_t i = 0; i < layer; i++)
		start += l->layer_blocks[i];
	for (uint64_t i = 0; i < n; i++) {
		uint32_t block = (uint32_t)(start + i);

		buf_put(&l->blocks, &block, sizeof(block));
	}
}

static void add_file(struct block_list *l, const struct node *n)
{
	if (!n->sparse) {
		add_run(l, n->layer, n->start, (n->size + BLOCK_SIZE - 1) / BLOCK_SIZE);
		return;
	}
	for (uint32_t i = 0; i < n->sparse->n_runs; i++)
		add_run(l, n->layer, n->sparse->runs[i].start, n->sparse->runs[i].count);
}

int startup_list_read(uint32_t **blocks, size_t *n, size_t *unknown, const char *path, struct tree *tree,
		      const uint64_t *layer_blocks, struct err *e)
{
	cleanup_buf struct buf text = {.max = MAX_FILE};
	struct block_list l = {{.max = SIZE_MAX / 2}, layer_blocks};
	int r = file_read(AT_FDCWD, path, &text, e);

	if (r < 0)
		return r;
	*unknown = 0;
	for (size_t at = 0, length; at < text.size; at += length + 1) {
		const char *line = (const char *)text.data + at;
		const char *end = memchr(line, '\n', text.size - at);
		struct node *node;

		length = end ? (size_t)(end - line) : text.size - at;
		if (length == 0)
			continue;
		r = tree_walk(tree, line, length, TREE_LOOK, &node);
		if (r == -ENOMEM)
			break;
		if (r == 0 && S_ISREG(node->mode))
			add_file(&l, node);
		else
			(*unknown)++;
	}
	if (r == -ENOMEM || buf_failed(&l.blocks)) {
		buf_deinit(&l.blocks);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*n = l.blocks.size / sizeof(uint32_t);
	*blocks = (uint32_t *)(void *)l.blocks.data;
	return 0;
}
