/* SPDX-License-Identifier: Apache-2.0
 * The private options, with the key kept away from the JSON library, whose scanner leaves copies in freed
 * memory. */
#include "crypto/private_options.h"
#include "crypto/json_secret.h"
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

/* True when the rest of the options is JSON in which the string that was blanked is the member symkey, and
 * the digest is the descriptor's. */
static bool options_fit(const char *text, size_t size, const struct json_blank *blank,
			const struct digest *descriptor)
{
	cleanup_json json_t *j = NULL;
	const char *digest;
	struct digest d;

	if (json_object_parse(&j, text, size, size, "options", NULL) < 0)
		return false;
	digest = json_string_value(json_object_get(j, "digest"));
	if (!json_is_blank(json_object_get(j, "symkey"), blank))
		return false;
	return digest && digest_parse(&d, digest) == 0 && digest_equal(&d, descriptor);
}

/* [W1]. */
int private_options_decode(struct secret *image_key, struct buf *options, const struct digest *descriptor,
			   struct err *e)
{
	cleanup_buf struct buf key = {.max = SECRET_SIZE, .secret = true};
	char *text = (char *)options->data;
	struct json_blank blank;
	int r = json_secret_take(&blank, &key, text, options->size, "symkey", JSON_BASE64);

	if (r == -ENOENT)
		return err_set(e, -EUCLEAN, "wrapped key [W1]: no symkey");
	if (r < 0 || key.size != SECRET_SIZE)
		return err_set(e, -EUCLEAN, "wrapped key [W1]: symkey is not %d bytes in base64",
			       SECRET_SIZE);
	if (!options_fit(text, options->size, &blank, descriptor))
		return err_set(e, -EUCLEAN, "wrapped key [W1]: malformed, or of another image");
	memcpy(image_key->bytes, key.data, SECRET_SIZE);
	return 0;
}
