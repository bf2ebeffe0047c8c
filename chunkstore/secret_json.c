/* SPDX-License-Identifier: Apache-2.0
 * Wiping goes behind jansson's back: its strings are constant to us, but the memory is the document's own. */
#include "chunkstore/secret_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8 /* of what we ever copy from */

static void wipe(json_t *j, int depth)
{
	if (json_is_string(j)) {
		union {
			const char *read;
			char *write;
		} text = {.read = json_string_value(j)};

		explicit_bzero(text.write, json_string_length(j));
	} else if (json_is_object(j) && depth > 0) {
		for (void *i = json_object_iter(j); i; i = json_object_iter_next(j, i))
			wipe(json_object_iter_value(i), depth - 1);
	} else if (json_is_array(j) && depth > 0) {
		for (size_t i = 0; i < json_array_size(j); i++)
			wipe(json_array_get(j, i), depth - 1);
	}
}

json_t *secret_json_load(const char *text, size_t size, int *line)
{
	json_error_t why;
	json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);

	if (line)
		*line = why.line;
	if (j && !json_is_object(j)) {
		secret_json_free(j);
		return NULL;
	}
	return j;
}

void secret_json_free(json_t *j)
{
	wipe(j, MAX_DEPTH);
	json_decref(j);
}

int secret_json_copy(char **out, const json_t *j, size_t max)
{
	const char *text = json_string_value(j);
	size_t n = json_string_length(j);

	if (!j || (text && n == 0))
		return -ENOENT;
	if (!text || n > max || strlen(text) != n)
		return -EINVAL;
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

void secret_text_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}
