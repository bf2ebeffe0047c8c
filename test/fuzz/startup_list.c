/* SPDX-License-Identifier: Apache-2.0
 * A start-up list: every line lies inside it, every range is one, and it ends. */
#include "publisher/startup_list.h"
#include "publisher/tree_nodes.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = text + size;
	struct startup_line line;
	size_t left = size;
	int r;

	while ((r = startup_line_next(&text, &left, &line, NULL)) == STARTUP_LINE) {
		fuzz_assert(text + left == end && line.path + line.length <= text);
		fuzz_assert(line.first <= line.end);
		fuzz_assert(line.end == UINT64_MAX || line.end <= TREE_MAX_FILE / BLOCK_SIZE);
	}
	fuzz_assert(r == STARTUP_END || r == -EINVAL);
	return 0;
}
