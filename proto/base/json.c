/* SPDX-License-Identifier: Apache-2.0
 * One look at the text before jansson sees it, which alone would go 2048 deep; jansson refuses duplicate keys
 * by flag. */
#include "proto/base/json.h"
#include "proto/base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *noted_malloc(size_t n)
{
	return memory_note(malloc(n));
}

static void set_allocator(void)
{
	json_set_alloc_funcs(noted_malloc, free);
}

/* Brackets inside strings do not count. */
static bool nests_too_deep(const char *text, size_t size)
{
	unsigned depth = 0;
	bool string = false;

	for (size_t i = 0; i < size; i++) {
		if (string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			string = !string;
		else if (!string && (text[i] == '[' || text[i] == '{') && ++depth > JSON_MAX_NESTING)
			return true;
		else if (!string && (text[i] == ']' || text[i] == '}') && depth > 0)
			depth--;
	}
	return false;
}

int json_object_parse(json_t **out, const void *text, size_t size, size_t max, const char *what,
		      struct err *e)
{
	unsigned int shortages = memory_shortages();
	json_error_t why;
	json_t *j;

	(void)pthread_once(&once, set_allocator);
	if (size > max)
		return err_set(e, -E2BIG, "%s of %zu bytes, at most %zu", what, size, max);
	if (nests_too_deep(text, size))
		return err_set(e, -EUCLEAN, "%s nests deeper than %d", what, JSON_MAX_NESTING);
	j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	/* jansson's scanner drops characters that it has no memory for, and goes on */
	if (memory_shortages() != shortages) {
		json_decref(j);
		return err_set(e, -ENOMEM, "%s: out of memory", what);
	}
	if (!j)
		return err_set(e, -EUCLEAN, "%s is not JSON: %s, line %d", what, why.text, why.line);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, -EUCLEAN, "%s is not a JSON object", what);
	}
	*out = j;
	return 0;
}
