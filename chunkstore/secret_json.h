/* SPDX-License-Identifier: Apache-2.0
 * JSON documents that hold secrets: read strictly, wiped before they are freed. (What jansson's scanner held
 * in between is out of our hands.) */
#ifndef COCOON_CHUNKSTORE_SECRET_JSON_H
#define COCOON_CHUNKSTORE_SECRET_JSON_H

#include <jansson.h>
#include <stddef.h>

/* An object without duplicate keys, or NULL; *line (may be NULL) tells where it breaks. The words of jansson
 * are not passed on: they quote the text. */
json_t *secret_json_load(const char *text, size_t size, int *line);
void secret_json_free(json_t *j); /* NULL is fine */

/* A copy of a string of 1 … max characters without NUL. 0 and a string to secret_text_free(); -ENOENT when
 * `j` is NULL or empty; -EINVAL for anything else, -ENOMEM. */
int secret_json_copy(char **out, const json_t *j, size_t max);
void secret_text_free(char *text); /* wipes; NULL is fine */

static inline void secret_json_free_p(json_t **j)
{
	secret_json_free(*j);
}

#define cleanup_secret_json __attribute__((cleanup(secret_json_free_p)))

#endif
