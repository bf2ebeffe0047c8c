/* SPDX-License-Identifier: Apache-2.0
 * The private options, with the key kept away from the JSON library, whose scanner leaves copies in freed
 * memory. */
#include "crypto/private_options.h"
#include "proto/base/base64.h"
#include "proto/base/json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

void private_options_encode(struct buf *to, const struct secret *image_key, const struct digest *descriptor)
{
	char text[DIGEST_TEXT_SIZE];

	buf_put(to, "{\"symkey\":\"", 11);
	base64_encode(to, BASE64_STANDARD, image_key->bytes, SECRET_SIZE);
	buf_put(to, "\",\"digest\":\"", 12);
	buf_put(to, digest_text(descriptor, text), DIGEST_TEXT_SIZE - 1);
	buf_put(to, "\",\"cipheroptions\":{}}", 21);
}

static char *find(char *in, size_t n, const char *what)
{
	return memmem(in, n, what, strlen(what));
}

static bool separates(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ':';
}

/* Where the value of "symkey" stands in the options, and how long it is. NULL when it is not there exactly
 * once as a plain string. */
static char *symkey_value(char *text, size_t size, size_t *n)
{
	static const char name[] = "\"symkey\"";
	char *const end = text + size;
	char *at = find(text, size, name), *close;

	if (!at)
		return NULL;
	at += sizeof(name) - 1;
	if (find(at, (size_t)(end - at), name))
		return NULL;
	while (at < end && separates(*at))
		at++;
	if (at == end || *at++ != '"')
		return NULL;
	close = memchr(at, '"', (size_t)(end - at));
	if (!close)
		return NULL;
	*n = (size_t)(close - at);
	return at;
}

/* True when the rest of the options is JSON in which the string that was blanked is the member symkey, and
 * the digest is the descriptor's. */
static bool options_fit(const char *text, size_t size, const char *blank, size_t n,
			const struct digest *descriptor)
{
	cleanup_json json_t *j = NULL;
	const json_t *symkey;
	const char *digest;
	struct digest d;

	if (json_object_parse(&j, text, size, size, "options", NULL) < 0)
		return false;
	symkey = json_object_get(j, "symkey");
	digest = json_string_value(json_object_get(j, "digest"));
	if (!json_is_string(symkey) || json_string_length(symkey) != n ||
	    memcmp(json_string_value(symkey), blank, n) != 0)
		return false;
	return digest && digest_parse(&d, digest) == 0 && digest_equal(&d, descriptor);
}

/* [W1]. The key is taken out of the text and blanked before the JSON library sees it, which would leave
 * copies in freed memory. */
int private_options_decode(struct secret *image_key, struct buf *options, const struct digest *descriptor,
			   struct err *e)
{
	cleanup_buf struct buf key = {.max = SECRET_SIZE, .secret = true};
	char *text = (char *)options->data, *value;
	size_t n;
	int r;

	value = text ? symkey_value(text, options->size, &n) : NULL;
	if (!value)
		return err_set(e, -EUCLEAN, "wrapped key [W1]: no symkey");
	r = base64_decode(&key, BASE64_STANDARD, value, n);
	if (r < 0 || key.size != SECRET_SIZE)
		return err_set(e, -EUCLEAN, "wrapped key [W1]: symkey is not %d bytes in base64",
			       SECRET_SIZE);
	memset(value, '*', n);
	if (!options_fit(text, options->size, value, n, descriptor))
		return err_set(e, -EUCLEAN, "wrapped key [W1]: malformed, or of another image");
	memcpy(image_key->bytes, key.data, SECRET_SIZE);
	return 0;
}
