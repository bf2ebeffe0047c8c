/* SPDX-License-Identifier: Apache-2.0
 * A small table, searched from end to end: it is asked once for each image that is opened. */
#include "chunkstore/image_names.h"
#include "chunkstore/clock.h"
#include "proto/oci/reference.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void image_names_deinit(struct image_names *n)
{
	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++)
		free(n->all[i].text);
}

static struct image_name *find(struct image_names *n, const char *text)
{
	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++)
		if (n->all[i].text && strcmp(n->all[i].text, text) == 0)
			return &n->all[i];
	return NULL;
}

const struct image_name *image_names_find(const struct image_names *n, const char *text)
{
	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++)
		if (n->all[i].text && strcmp(n->all[i].text, text) == 0)
			return &n->all[i];
	return NULL;
}

/* A free place, or that of the oldest. */
static struct image_name *take_place(struct image_names *n)
{
	struct image_name *oldest = &n->all[0];

	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++) {
		if (!n->all[i].text)
			return &n->all[i];
		if (n->all[i].seconds < oldest->seconds)
			oldest = &n->all[i];
	}
	free(oldest->text);
	*oldest = (struct image_name){0};
	return oldest;
}

bool image_names_learn(struct image_names *n, const char *text, const struct digest *manifest, bool sealed)
{
	struct image_name *x = find(n, text);
	bool news = !x || !digest_equal(&x->manifest, manifest);
	char *copy = x ? x->text : strdup(text);

	if (!copy)
		return false;
	if (!x)
		x = take_place(n);
	*x = (struct image_name){copy, *manifest, sealed, now_ms(), (int64_t)time(NULL)};
	return news;
}

void image_names_forget(struct image_names *n, const struct digest *manifest)
{
	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++) {
		if (n->all[i].text && n->all[i].sealed && digest_equal(&n->all[i].manifest, manifest)) {
			free(n->all[i].text);
			n->all[i] = (struct image_name){0};
		}
	}
}

void image_names_encode(const struct image_names *n, const struct digest *manifest, struct buf *to)
{
	char line[REFERENCE_TEXT_SIZE + 32];

	for (size_t i = 0; i < MAX_IMAGE_NAMES; i++) {
		const struct image_name *x = &n->all[i];
		int size;

		if (!x->text || !x->sealed || !digest_equal(&x->manifest, manifest))
			continue;
		size = snprintf(line, sizeof(line), "%" PRId64 " %s\n", x->seconds, x->text);
		if (size > 0 && (size_t)size < sizeof(line) && to->size + (size_t)size <= to->max)
			buf_put(to, line, (size_t)size);
	}
}

/* A line that is not "SECONDS REFERENCE" is left out: names are a convenience. */
static void decode_line(struct image_names *n, const struct digest *manifest, const char *line)
{
	struct reference ref;
	struct image_name *x;
	char *end;
	int64_t seconds = strtoll(line, &end, 10);

	if (end == line || *end != ' ' || seconds < 0 || reference_parse(&ref, end + 1, NULL) < 0)
		return;
	x = find(n, end + 1);
	if (x && x->seconds >= seconds)
		return;
	if (!image_names_learn(n, end + 1, manifest, true) && !x)
		return;
	x = find(n, end + 1);
	if (x) {
		x->seconds = seconds;
		x->asked_ms = 0;
	}
}

void image_names_decode(struct image_names *n, const struct digest *manifest, const char *text, size_t size)
{
	char line[REFERENCE_TEXT_SIZE + 32];

	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		if (length < sizeof(line) && !memchr(text, '\0', length)) {
			memcpy(line, text, length);
			line[length] = '\0';
			decode_line(n, manifest, line);
		}
		length += end != NULL;
		text += length;
		size -= length;
	}
}
