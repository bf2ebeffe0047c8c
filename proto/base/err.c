/* SPDX-License-Identifier: Apache-2.0
 * Error words in fixed storage: set, prefixed, cut at the end, never allocated. */
#include "proto/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Append `text` at `at`, cut to what fits; returns the new length. */
static size_t append(char *to, size_t at, const char *text)
{
	for (; *text && at + 1 < ERR_TEXT_MAX; text++) {
		unsigned char c = (unsigned char)*text;

		to[at++] = (c < 0x20 || c >= 0x7f) ? '?' : (char)c;
	}
	to[at] = '\0';
	return at;
}

__attribute__((format(printf, 2, 0))) static void format_words(char words[static ERR_TEXT_MAX],
							       const char *format, va_list args)
{
	if (vsnprintf(words, ERR_TEXT_MAX, format, args) < 0)
		words[0] = '\0';
}

int err_set(struct err *e, int code, const char *format, ...)
{
	char words[ERR_TEXT_MAX];
	va_list args;

	if (!e)
		return code;
	va_start(args, format);
	format_words(words, format, args);
	va_end(args);
	(void)append(e->text, 0, words);
	return code;
}

int err_prefix(struct err *e, int code, const char *format, ...)
{
	char words[ERR_TEXT_MAX], rest[ERR_TEXT_MAX];
	va_list args;
	size_t at;

	if (!e)
		return code;
	va_start(args, format);
	format_words(words, format, args);
	va_end(args);
	memcpy(rest, e->text, sizeof(rest));
	at = append(e->text, 0, words);
	at = append(e->text, at, ": ");
	(void)append(e->text, at, rest);
	return code;
}

int err_errno(struct err *e, int code, const char *format, ...)
{
	char words[ERR_TEXT_MAX], reason[128];
	va_list args;
	size_t at;

	if (!e)
		return code;
	va_start(args, format);
	format_words(words, format, args);
	va_end(args);
	at = append(e->text, 0, words);
	at = append(e->text, at, ": ");
	(void)append(e->text, at, strerror_r(-code, reason, sizeof(reason)));
	return code;
}
