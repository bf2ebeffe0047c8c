/* SPDX-License-Identifier: Apache-2.0
 * Filters of List as text from a stranger, one a line, against one snapshot. */
#include "snapshotter/filter.h"
#include "snapshotter/text.h"

#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LINES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct label label = {text_for_reader("containerd.io/snapshot.ref"), text_for_reader("sha256:0")};
	const struct snapshot s = {.name = text_for_reader("default/1/a"),
				   .parent = text_for_reader(""),
				   .kind = SNAPSHOT_ACTIVE,
				   .labels = {1, &label}};
	char *text = malloc(size + 1), *lines[MAX_LINES], *rest = text;
	struct filter *f;
	size_t n = 0;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	while (n < MAX_LINES && rest)
		lines[n++] = strsep(&rest, "\n");
	if (filter_parse(&f, lines, n, NULL) == 0) {
		(void)filter_shows(f, &s);
		filter_free(f);
	}
	free(text);
	return 0;
}
