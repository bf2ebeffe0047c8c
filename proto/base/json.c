/* SPDX-License-Identifier: Apache-2.0
 * One look at the text before jansson sees it, which alone would go 2048 deep, and spend 80 bytes of memory
 * on each byte of a list of empty objects; jansson refuses duplicate keys by flag. */
#include "proto/base/json.h"
#include "proto/base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define RESERVE_SIZE 4096u

/* jansson's scanner has no answer to a failed allocation: it drops the character that there was no room for
 * and goes on, into an assertion or behind the end of its buffer. So it never sees one fail: memory for what
 * it may still ask for lies ready, and the text ends where malloc(3) did. */
struct reserve {
	char *memory;
	size_t size, used;
};

static _Thread_local struct reserve *reserve; /* of the parse that this thread is in */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *reserve_malloc(size_t n)
{
	struct reserve *r = reserve;
	void *p = memory_note(malloc(n));

	if (p || !r || n > r->size - r->used)
		return p;
	p = r->memory + r->used;
	n = (n + 15) & ~(size_t)15;
	r->used += n < r->size - r->used ? n : r->size - r->used;
	return p;
}

static void reserve_free(void *p)
{
	struct reserve *r = reserve;

	if (!r || (char *)p < r->memory || (char *)p >= r->memory + r->size)
		free(p);
}

static void set_allocator(void)
{
	json_set_alloc_funcs(reserve_malloc, reserve_free);
}

struct text {
	const char *at;
	size_t left;
	unsigned int shortages;
};

/* A character at a time: none follows the one at which memory ran out. */
static size_t next_character(void *to, size_t room, void *arg)
{
	struct text *t = arg;

	if (room == 0 || t->left == 0 || memory_shortages() != t->shortages)
		return 0;
	*(char *)to = *t->at++;
	t->left--;
	return 1;
}

/* NULL and -ENOMEM, NULL and 0 for no JSON, or the document. */
static json_t *parse(const char *text, size_t size, json_error_t *why, int *r)
{
	struct text t = {text, size, memory_shortages()};
	struct reserve mine = {.size = 4 * size +
				       RESERVE_SIZE}; /* twice a token's text, and what ends with it */
	json_t *j = NULL;

	(void)pthread_once(&once, set_allocator);
	mine.memory = memory_note(malloc(mine.size));
	reserve = &mine;
	if (mine.memory)
		j = json_load_callback(next_character, &t, JSON_REJECT_DUPLICATES, why);
	*r = memory_shortages() == t.shortages ? 0 : -ENOMEM;
	if (*r < 0) {
		json_decref(j);
		j = NULL;
	}
	reserve = NULL;
	free(mine.memory);
	return j;
}

/* NULL, or what is wrong with the shape of the text. What is inside strings does not count. */
static const char *bad_shape(const char *text, size_t size)
{
	unsigned depth = 0, n_values = 0;
	bool string = false;

	for (size_t i = 0; i < size; i++) {
		if (string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			string = !string;
		else if (!string && (text[i] == '[' || text[i] == '{') && ++depth > JSON_MAX_NESTING)
			return "nests too deep";
		else if (!string && (text[i] == ']' || text[i] == '}') && depth > 0)
			depth--;
		if (!string && (text[i] == ',' || text[i] == '[' || text[i] == '{') &&
		    ++n_values > JSON_MAX_VALUES)
			return "has too many values";
	}
	return NULL;
}

int json_object_parse(json_t **out, const void *text, size_t size, size_t max, const char *what,
		      struct err *e)
{
	const char *shape;
	json_error_t why;
	json_t *j;
	int r;

	if (size > max)
		return err_set(e, -E2BIG, "%s of %zu bytes, at most %zu", what, size, max);
	shape = bad_shape(text, size);
	if (shape)
		return err_set(e, -EUCLEAN, "%s %s", what, shape);
	j = parse(text, size, &why, &r);
	if (r < 0)
		return err_set(e, r, "%s: out of memory", what);
	if (!j)
		return err_set(e, -EUCLEAN, "%s is not JSON: %s, line %d", what, why.text, why.line);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, -EUCLEAN, "%s is not a JSON object", what);
	}
	*out = j;
	return 0;
}
