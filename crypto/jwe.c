/* SPDX-License-Identifier: Apache-2.0
 * The JSON around an encrypted content: headers in three places, recipients in two shapes, base64url
 * everywhere. */
#include "crypto/jwe.h"
#include "crypto/aead_internal.h"
#include "crypto/jwa.h"
#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "proto/base/json.h"

#include <errno.h>
#include <openssl/ec.h>
#include <string.h>

DEFINE_CLEANUP(aead, struct aead *, aead_free)
DEFINE_CLEANUP(pkey, EVP_PKEY *, EVP_PKEY_free)

#define freed(type) __attribute__((cleanup(cleanup_##type)))

/* ---- writing ---- */

static void put_text(struct buf *to, const char *text)
{
	buf_put(to, text, strlen(text));
}

/* ,"name":"<base64url>" */
static void put_member(struct buf *to, const char *name, const void *p, size_t n)
{
	put_text(to, ",\"");
	put_text(to, name);
	put_text(to, "\":\"");
	base64_encode(to, BASE64_URL, p, n);
	put_text(to, "\"");
}

static int wrap_rsa(struct buf *header, struct buf *wrapped, const struct secret *cek, EVP_PKEY *recipient)
{
	uint8_t out[JWA_MAX_RSA_BYTES];
	size_t n = sizeof(out);
	int r = jwa_rsa_wrap(out, &n, cek, recipient, "SHA1");

	if (r < 0)
		return r;
	/* SHA-1 inside OAEP needs no collision resistance, and it is what every ocicrypt opens */
	put_text(header, "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}");
	buf_put(wrapped, out, n);
	return 0;
}

static int wrap_ec(struct buf *header, struct buf *wrapped, const struct secret *cek, EVP_PKEY *recipient,
		   const struct jwa_curve *curve)
{
	freed(pkey) EVP_PKEY *ephemeral = EVP_EC_gen(curve->group);
	uint8_t x[JWA_MAX_COORDINATE], y[JWA_MAX_COORDINATE], out[JWA_WRAPPED_SIZE];
	cleanup_secret struct secret kek;
	int r = ephemeral ? jwa_point_encode(ephemeral, curve, x, y) : -ENOMEM;

	if (r == 0)
		r = jwa_ecdh_es(&kek, ephemeral, recipient, (struct jwa_party){0}, (struct jwa_party){0});
	if (r == 0)
		r = jwa_aes_wrap(out, cek, &kek);
	if (r < 0)
		return r;
	put_text(header,
		 "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"EC\",\"crv\":\"");
	put_text(header, curve->jwk);
	put_text(header, "\"");
	put_member(header, "x", x, curve->size);
	put_member(header, "y", y, curve->size);
	put_text(header, "}}");
	buf_put(wrapped, out, sizeof(out));
	return 0;
}

static int seal_content(struct buf *to, const void *plain, size_t n, const struct secret *cek,
			const uint8_t *iv, const struct buf *aad)
{
	freed(aead) struct aead *a = NULL;
	int r = aead_new(&a);

	buf_zero(to, n + AEAD_TAG_SIZE);
	if (r < 0 || buf_failed(to))
		return -ENOMEM;
	return aead_seal_with(a, to->data, plain, n, cek, iv, aad->data, aad->size);
}

int jwe_seal(struct buf *to, const void *plain, size_t n, EVP_PKEY *recipient)
{
	const struct jwa_curve *curve = jwa_curve_of(recipient);
	cleanup_buf struct buf header = {.max = JWE_MAX_SIZE};
	cleanup_buf struct buf protected = {.max = JWE_MAX_SIZE};
	cleanup_buf struct buf wrapped = {.max = JWA_MAX_RSA_BYTES};
	cleanup_buf struct buf box = {.max = JWE_MAX_SIZE};
	cleanup_secret struct secret cek, iv;
	int r;

	r = secret_random(&cek);
	if (r == 0)
		r = secret_random(&iv); /* its first 12 bytes */
	if (r == 0)
		r = curve ? wrap_ec(&header, &wrapped, &cek, recipient, curve)
			  : wrap_rsa(&header, &wrapped, &cek, recipient);
	if (r < 0)
		return r;
	base64_encode(&protected, BASE64_URL, header.data, header.size);
	if (buf_failed(&header) || buf_failed(&protected) || buf_failed(&wrapped))
		return -ENOMEM;
	r = seal_content(&box, plain, n, &cek, iv.bytes, &protected);
	if (r < 0)
		return r;
	put_text(to, "{\"protected\":\"");
	buf_put(to, protected.data, protected.size);
	put_text(to, "\"");
	put_member(to, "encrypted_key", wrapped.data, wrapped.size);
	put_member(to, "iv", iv.bytes, AEAD_NONCE_SIZE);
	put_member(to, "ciphertext", box.data, n);
	put_member(to, "tag", box.data + n, AEAD_TAG_SIZE);
	put_text(to, "}");
	return buf_failed(to) ? -ENOMEM : 0;
}

/* ---- reading ---- */

/* The JOSE header of a recipient is the union of three objects that share no name (RFC 7516 §7.2.1). */
struct headers {
	const json_t *protected, *shared, *own; /* NULL where there is none */
};

/* NULL when absent, or when present twice: then nothing that needs it works. */
static const json_t *header(const struct headers *h, const char *name)
{
	const json_t *const in[] = {json_object_get(h->protected, name), json_object_get(h->shared, name),
				    json_object_get(h->own, name)};
	const json_t *found = NULL;

	for (size_t i = 0; i < 3; i++) {
		if (in[i] && found)
			return NULL;
		if (in[i])
			found = in[i];
	}
	return found;
}

static bool header_is(const struct headers *h, const char *name, const char *value)
{
	const json_t *v = header(h, name);

	return json_is_string(v) && strcmp(json_string_value(v), value) == 0;
}

static bool header_present(const struct headers *h, const char *name)
{
	return json_object_get(h->protected, name) || json_object_get(h->shared, name) ||
	       json_object_get(h->own, name);
}

/* Append what the string member `name` of `object` holds in base64url. 0, -EINVAL when it is no such string,
 * -E2BIG when it does not fit. */
static int take_member(struct buf *to, const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);

	if (!json_is_string(v))
		return -EINVAL;
	return base64_decode(to, BASE64_URL, json_string_value(v), json_string_length(v));
}

/* The ephemeral public key, which must lie on our own curve. */
static int take_point(EVP_PKEY **out, const json_t *epk, const struct jwa_curve *curve)
{
	const char *crv = json_string_value(json_object_get(epk, "crv"));
	const char *kty = json_string_value(json_object_get(epk, "kty"));
	cleanup_buf struct buf x = {.max = JWA_MAX_COORDINATE};
	cleanup_buf struct buf y = {.max = JWA_MAX_COORDINATE};

	if (!crv || strcmp(crv, curve->jwk) != 0 || !kty || strcmp(kty, "EC") != 0 ||
	    take_member(&x, epk, "x") < 0 || take_member(&y, epk, "y") < 0 || x.size != curve->size ||
	    y.size != curve->size)
		return -ENOKEY;
	return jwa_point_decode(out, curve, x.data, y.data);
}

/* apu and apv: optional strings in base64url. */
static int take_party(struct buf *to, const struct headers *h, const char *name)
{
	const json_t *v = header(h, name);

	if (!v)
		return header_present(h, name) ? -ENOKEY : 0;
	if (!json_is_string(v) ||
	    base64_decode(to, BASE64_URL, json_string_value(v), json_string_length(v)) < 0)
		return -ENOKEY;
	return 0;
}

static int unwrap_ec(struct secret *cek, const struct headers *h, const struct buf *wrapped, EVP_PKEY *key,
		     const struct jwa_curve *curve)
{
	freed(pkey) EVP_PKEY *peer = NULL;
	cleanup_buf struct buf u = {.max = JWE_MAX_SIZE};
	cleanup_buf struct buf v = {.max = JWE_MAX_SIZE};
	cleanup_secret struct secret kek;
	int r;

	if (!header_is(h, "alg", "ECDH-ES+A256KW"))
		return -ENOKEY;
	r = take_party(&u, h, "apu");
	if (r == 0)
		r = take_party(&v, h, "apv");
	if (r == 0)
		r = take_point(&peer, header(h, "epk"), curve);
	if (r == 0)
		r = jwa_ecdh_es(&kek, key, peer, (struct jwa_party){u.data, u.size},
				(struct jwa_party){v.data, v.size});
	if (r == 0)
		r = jwa_aes_unwrap(cek, wrapped->data, wrapped->size, &kek);
	return r;
}

static int unwrap_rsa(struct secret *cek, const struct headers *h, const struct buf *wrapped, EVP_PKEY *key)
{
	if (header_is(h, "alg", "RSA-OAEP"))
		return jwa_rsa_unwrap(cek, wrapped->data, wrapped->size, key, "SHA1");
	if (header_is(h, "alg", "RSA-OAEP-256"))
		return jwa_rsa_unwrap(cek, wrapped->data, wrapped->size, key, "SHA256");
	return -ENOKEY;
}

/* Content, as it lies in the JSON: decoded once, opened for whoever has the content key. */
struct content {
	struct buf box; /* ciphertext ‖ tag */
	struct buf iv;
	struct buf aad; /* protected, and "." ‖ aad where there is one: RFC 7516 §5.1 step 14 */
};

static void content_deinit(struct content *c)
{
	buf_deinit(&c->box);
	buf_deinit(&c->iv);
	buf_deinit(&c->aad);
}

static int content_open(struct buf *plain, const struct content *c, const struct secret *cek)
{
	freed(aead) struct aead *a = NULL;
	int r = aead_new(&a);

	if (r < 0)
		return r;
	buf_zero(plain, c->box.size - AEAD_TAG_SIZE);
	if (buf_failed(plain))
		return -ENOMEM;
	r = aead_open_with(a, plain->data, c->box.data, c->box.size, cek, c->iv.data, c->aad.data,
			   c->aad.size);
	if (r < 0)
		buf_deinit(plain);
	return r == -EBADMSG ? -ENOKEY : r;
}

static int try_recipient(struct buf *plain, const struct content *c, const struct headers *h,
			 const json_t *recipient, EVP_PKEY *key)
{
	const struct jwa_curve *curve = jwa_curve_of(key);
	cleanup_buf struct buf wrapped = {.max = JWA_MAX_RSA_BYTES};
	cleanup_secret struct secret cek;
	int r;

	/* compressed content and extensions that must be understood are of no writer that we read */
	if (!header_is(h, "enc", "A256GCM") || header_present(h, "zip") || header_present(h, "crit"))
		return -ENOKEY;
	if (take_member(&wrapped, recipient, "encrypted_key") < 0)
		return -ENOKEY;
	r = curve ? unwrap_ec(&cek, h, &wrapped, key, curve) : unwrap_rsa(&cek, h, &wrapped, key);
	return r < 0 ? r : content_open(plain, c, &cek);
}

static int content_take(struct content *c, const json_t *j, struct err *e)
{
	const json_t *protected = json_object_get(j, "protected"), *aad = json_object_get(j, "aad");
	size_t tag_at;

	if ((protected && !json_is_string(protected)) || (aad && !json_is_string(aad)))
		return err_set(e, -EINVAL, "JWE: protected or aad is not a string");
	if (protected)
		buf_put(&c->aad, json_string_value(protected), json_string_length(protected));
	if (aad) {
		buf_u8(&c->aad, '.');
		buf_put(&c->aad, json_string_value(aad), json_string_length(aad));
	}
	if (take_member(&c->iv, j, "iv") < 0 || c->iv.size != AEAD_NONCE_SIZE)
		return err_set(e, -EINVAL, "JWE: iv is not %d bytes", AEAD_NONCE_SIZE);
	if (take_member(&c->box, j, "ciphertext") < 0)
		return err_set(e, -EINVAL, "JWE: no ciphertext");
	tag_at = c->box.size;
	if (take_member(&c->box, j, "tag") < 0 || c->box.size != tag_at + AEAD_TAG_SIZE)
		return err_set(e, -EINVAL, "JWE: tag is not %d bytes", AEAD_TAG_SIZE);
	return buf_failed(&c->aad) ? -ENOMEM : 0;
}

static int parse(json_t **out, const void *text, size_t n, const char *what, struct err *e)
{
	int r = json_object_parse(out, text, n, JWE_MAX_SIZE, what, e);

	return r < 0 && r != -ENOMEM ? -EINVAL : r;
}

/* The protected header, which is JSON inside base64url; NULL and 0 when there is none. */
static int take_protected(json_t **out, const json_t *j, struct err *e)
{
	cleanup_buf struct buf text = {.max = JWE_MAX_SIZE};

	if (!json_object_get(j, "protected"))
		return 0;
	if (take_member(&text, j, "protected") < 0)
		return err_set(e, -EINVAL, "JWE: protected is not in base64url");
	return parse(out, text.data, text.size, "JWE: protected", e);
}

static int try_recipients(struct buf *plain, const struct content *c, const json_t *j,
			  const json_t *protected, EVP_PKEY *key, struct err *e)
{
	const json_t *recipients = json_object_get(j, "recipients");
	struct headers h = {protected, json_object_get(j, "unprotected"), json_object_get(j, "header")};

	if (!recipients)
		return try_recipient(plain, c, &h, j, key);
	/* go-jose repeats the first recipient's encrypted_key beside the list, so that one is not held
	 * against it */
	if (!json_is_array(recipients) || h.own || json_array_size(recipients) > JWE_MAX_RECIPIENTS)
		return err_set(e, -EINVAL, "JWE: neither flattened nor general with at most %d recipients",
			       JWE_MAX_RECIPIENTS);
	for (size_t i = 0; i < json_array_size(recipients); i++) {
		const json_t *recipient = json_array_get(recipients, i);
		int r;

		h.own = json_object_get(recipient, "header");
		r = try_recipient(plain, c, &h, recipient, key);
		if (r != -ENOKEY)
			return r;
	}
	return -ENOKEY;
}

int jwe_open(struct buf *plain, const char *json, size_t n, EVP_PKEY *key, struct err *e)
{
	__attribute__((cleanup(content_deinit))) struct content c = {
		.box = {.max = JWE_MAX_SIZE},
		.iv = {.max = AEAD_NONCE_SIZE},
		.aad = {.max = JWE_MAX_SIZE},
	};
	cleanup_json json_t *j = NULL, *protected = NULL;
	int r;

	r = parse(&j, json, n, "JWE", e);
	if (r < 0)
		return r;
	r = content_take(&c, j, e);
	if (r == 0)
		r = take_protected(&protected, j, e);
	if (r == 0)
		r = try_recipients(plain, &c, j, protected, key, e);
	return r == -ENOKEY ? err_set(e, r, "JWE: no recipient that this key opens") : r;
}
