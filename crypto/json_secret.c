/* SPDX-License-Identifier: Apache-2.0
 * Finding a member's value without parsing what is around it: the parser that follows says whether that was
 * JSON, and its caller whether the blank is where the member belongs. */
#include "crypto/json_secret.h"
#include "proto/base/base64.h"

#include <errno.h>
#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Behind the only `"name"`, white space and its colon. NULL when there is none, or another one. */
static char *find_value(char *text, const char *end, const char *name)
{
	size_t n = strlen(name);
	char *at = text, *found = NULL;

	for (; (at = memmem(at, (size_t)(end - at), name, n)); at += n) {
		if (at == text || at[-1] != '"' || end - at <= (ptrdiff_t)n || at[n] != '"')
			continue;
		if (found)
			return NULL;
		found = at + n + 1;
	}
	for (at = found; at && at < end && is_space(*at); at++)
		;
	if (!at || at == end || *at++ != ':')
		return NULL;
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* One number of a list, 0 to 255 and nothing before it; -1 otherwise. */
static int take_number(const char **at, const char *end)
{
	const char *p = *at;
	int v = 0;

	if (p == end || *p < '0' || *p > '9')
		return -1;
	if (*p == '0') {
		*at = p + 1;
		return 0;
	}
	for (; p < end && *p >= '0' && *p <= '9' && v < 256; p++)
		v = 10 * v + (*p - '0');
	*at = p;
	return v < 256 ? v : -1;
}

/* What is between the brackets: numbers, a comma between two. */
static int take_list(struct buf *to, const char *at, const char *end)
{
	for (bool more = true; more;) {
		int v;

		while (at < end && is_space(*at))
			at++;
		v = take_number(&at, end);
		if (v < 0)
			return -EINVAL;
		buf_u8(to, (uint8_t)v);
		while (at < end && is_space(*at))
			at++;
		more = at < end;
		if (more && *at++ != ',')
			return -EINVAL;
	}
	return buf_failed(to) ? -E2BIG : 0;
}

int json_secret_take(struct json_blank *out, struct buf *to, char *text, size_t size, const char *name,
		     enum json_bytes kind)
{
	const char *const end = size > 0 ? text + size : text;
	char *open = size > 0 ? find_value(text, end, name) : NULL, *close;
	bool list = open && open < end && *open == '[' && kind == JSON_BASE64_OR_LIST;
	size_t n;
	int r;

	if (!open || open == end || (!list && *open != '"'))
		return -ENOENT;
	close = memchr(open + 1, list ? ']' : '"', (size_t)(end - open - 1));
	if (!close)
		return -ENOENT;
	n = (size_t)(close - open - 1);
	r = list ? take_list(to, open + 1, close) : base64_decode(to, BASE64_STANDARD, open + 1, n);
	*open = *close = '"';
	memset(open + 1, '*', n);
	*out = (struct json_blank){open + 1, n};
	return r;
}

bool json_is_blank(const json_t *value, const struct json_blank *blank)
{
	return json_is_string(value) && json_string_length(value) == blank->n &&
	       memcmp(json_string_value(value), blank->text, blank->n) == 0;
}
