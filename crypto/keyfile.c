/* SPDX-License-Identifier: Apache-2.0
 * Three lines: BEGIN with the kind, the secret in base64, END with the kind. Nothing else is a key file. */
#include "crypto/keyfile.h"
#include "proto/base/base64.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE 256 /* the text is shorter */
#define MAX_LINE 64  /* the BEGIN and END lines are shorter */
#define BODY_SIZE 44 /* 32 bytes in base64 */

static size_t frame_line(char line[static MAX_LINE], const char *which, const char *kind)
{
	return (size_t)snprintf(line, MAX_LINE, "-----%s %s-----\n", which, kind);
}

/* Step over `line`; its newline may be missing at the end of the text. */
static bool take_line(const char **at, size_t *left, const char *line, size_t n)
{
	if (*left == n - 1)
		n--;
	if (*left < n || memcmp(*at, line, n) != 0)
		return false;
	*at += n;
	*left -= n;
	return true;
}

int keyfile_decode(struct secret *out, const char *text, size_t n, const char *kind, struct err *e)
{
	char begin[MAX_LINE], end[MAX_LINE];
	size_t begin_size = frame_line(begin, "BEGIN", kind), end_size = frame_line(end, "END", kind);
	cleanup_buf struct buf raw = {.max = SECRET_SIZE, .secret = true};
	const char *body;

	if (n < begin_size || !take_line(&text, &n, begin, begin_size))
		return err_set(e, -EINVAL, "does not begin with -----BEGIN %s-----", kind);
	body = text;
	if (n < BODY_SIZE + 1 || body[BODY_SIZE] != '\n' ||
	    base64_decode(&raw, BASE64_STANDARD, body, BODY_SIZE) < 0 || raw.size != SECRET_SIZE)
		return err_set(e, -EINVAL, "second line is not 32 bytes in base64");
	text += BODY_SIZE + 1;
	n -= BODY_SIZE + 1;
	if (!take_line(&text, &n, end, end_size) || n != 0)
		return err_set(e, -EINVAL, "does not end with -----END %s----- in the third line", kind);
	memcpy(out->bytes, raw.data, SECRET_SIZE);
	return 0;
}

void keyfile_encode(struct buf *to, const struct secret *s, const char *kind)
{
	char line[MAX_LINE];

	buf_put(to, line, frame_line(line, "BEGIN", kind));
	base64_encode(to, BASE64_STANDARD, s->bytes, SECRET_SIZE);
	buf_u8(to, '\n');
	buf_put(to, line, frame_line(line, "END", kind));
}

int keyfile_read(struct secret *out, const char *path, const char *kind, struct err *e)
{
	cleanup_buf struct buf text = {.max = MAX_FILE, .secret = true};
	int r;

	r = file_read(AT_FDCWD, path, &text, e);
	if (r == -E2BIG)
		return err_set(e, -EINVAL, "%s: too long for a %s", path, kind);
	if (r < 0)
		return r;
	r = keyfile_decode(out, (const char *)text.data, text.size, kind, e);
	return r < 0 ? err_prefix(e, r, "%s", path) : 0;
}

int keyfile_write(const struct secret *s, const char *path, const char *kind, struct err *e)
{
	cleanup_buf struct buf text = {.max = MAX_FILE, .secret = true};

	keyfile_encode(&text, s, kind);
	if (buf_failed(&text))
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	return file_create(AT_FDCWD, path, text.data, text.size, 0600, e);
}
