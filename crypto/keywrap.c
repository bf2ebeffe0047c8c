/* SPDX-License-Identifier: Apache-2.0
 * Recipients' keys from PEM files, and ocicrypt's private options around the image key. The JWE itself is
 * jwe.c. */
#include "crypto/keywrap.h"
#include "crypto/jwa.h"
#include "crypto/jwe.h"
#include "crypto/pem.h"
#include "crypto/private_options.h"
#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>

DEFINE_CLEANUP(pkey, EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(bio, BIO *, BIO_vfree)

#define freed(type) __attribute__((cleanup(cleanup_##type)))

static EVP_PKEY *read_public(BIO *bio)
{
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, pem_no_passphrase, NULL);
	X509 *certificate;

	if (key)
		return key;
	(void)BIO_reset(bio); /* back to the beginning of the memory */
	certificate = PEM_read_bio_X509(bio, NULL, pem_no_passphrase, NULL);
	if (certificate)
		key = X509_get_pubkey(certificate);
	X509_free(certificate);
	return key;
}

static int read_pem(struct buf *pem, const char *path, struct err *e)
{
	int r = file_read(AT_FDCWD, path, pem, e);

	return r == -E2BIG ? err_set(e, -EINVAL, "%s: too long for a key", path) : r;
}

static int decode_key(EVP_PKEY **out, const struct buf *pem, const char *path, bool private, struct err *e)
{
	freed(bio) BIO *bio = NULL;
	EVP_PKEY *key;

	if (pem->size > 0)
		bio = BIO_new_mem_buf(pem->data, (int)pem->size);
	if (!bio)
		return err_set(e, pem->size ? -ENOMEM : -EINVAL, "%s: %s", path,
			       pem->size ? "out of memory" : "empty");
	key = private ? PEM_read_bio_PrivateKey(bio, NULL, pem_no_passphrase, NULL) : read_public(bio);
	/* reasons are in the thread's queue, where others (TLS) would take them for theirs */
	ERR_clear_error();
	if (!key)
		return err_set(e, -EINVAL, "%s: not %s", path,
			       private ? "a private key in PEM without a passphrase"
				       : "a public key or certificate in PEM");
	if (!jwa_is_rsa(key) && !jwa_curve_of(key)) {
		EVP_PKEY_free(key);
		return err_set(e, -EINVAL,
			       "%s: neither RSA of %d bits or more nor EC on P-256, P-384 or P-521", path,
			       JWA_MIN_RSA_BITS);
	}
	*out = key;
	return 0;
}

int keywrap_wrap(struct buf *to, const struct secret *image_key, const struct digest *descriptor,
		 const char *path, struct err *e)
{
	freed(pkey) EVP_PKEY *key = NULL;
	cleanup_buf struct buf pem = {.max = KEYWRAP_MAX_PEM, .secret = true};
	cleanup_buf struct buf options = {.max = PRIVATE_OPTIONS_MAX, .secret = true};
	cleanup_buf struct buf jwe = {.max = JWE_MAX_SIZE};
	int r = read_pem(&pem, path, e);

	if (r == 0)
		r = decode_key(&key, &pem, path, false, e);
	if (r < 0)
		return r;
	private_options_encode(&options, image_key, descriptor);
	r = buf_failed(&options) ? -ENOMEM : jwe_seal(&jwe, options.data, options.size, key);
	ERR_clear_error();
	if (r < 0)
		return err_errno(e, r, "%s: cannot wrap the image key", path);
	if (to->size > 0)
		buf_u8(to, ',');
	base64_encode(to, BASE64_STANDARD, jwe.data, jwe.size);
	return buf_failed(to)
		       ? err_set(e, -E2BIG, "%s: more recipients than fit into %zu bytes", path, to->max)
		       : 0;
}

/* One JWE, n characters of base64. */
static int unwrap_one(struct secret *image_key, const char *text, size_t n, const struct digest *descriptor,
		      EVP_PKEY *key, struct err *e)
{
	cleanup_buf struct buf jwe = {.max = JWE_MAX_SIZE};
	cleanup_buf struct buf options = {.max = JWE_MAX_SIZE, .secret = true};
	int r;

	if (n == 0 || base64_decode(&jwe, BASE64_STANDARD, text, n) < 0)
		return err_set(e, -EINVAL, "not base64");
	r = jwe_open(&options, (const char *)jwe.data, jwe.size, key, e);
	return r < 0 ? r : private_options_decode(image_key, &options, descriptor, e);
}

int keywrap_unwrap_pem(struct secret *image_key, const char *annotation, const struct digest *descriptor,
		       const struct buf *pem, const char *path, struct err *e)
{
	freed(pkey) EVP_PKEY *key = NULL;
	unsigned n_tried = 0;
	int r;

	if (strnlen(annotation, KEYWRAP_MAX_ANNOTATION + 1) > KEYWRAP_MAX_ANNOTATION)
		return err_set(e, -EINVAL, "wrapped keys: over %u bytes", KEYWRAP_MAX_ANNOTATION);
	r = decode_key(&key, pem, path, true, e);
	if (r < 0)
		return r;
	for (const char *at = annotation;; at++) {
		size_t n = strcspn(at, ",");

		n_tried++;
		r = unwrap_one(image_key, at, n, descriptor, key, e);
		at += n;
		if (r != -ENOKEY || *at == '\0')
			break;
	}
	ERR_clear_error();
	if (r == -ENOKEY)
		return err_set(e, r, "%s opens none of the %u wrapped keys of this image", path, n_tried);
	return r < 0 ? err_prefix(e, r, "wrapped key %u", n_tried) : 0;
}

int keywrap_unwrap(struct secret *image_key, const char *annotation, const struct digest *descriptor,
		   const char *path, struct err *e)
{
	cleanup_buf struct buf pem = {.max = KEYWRAP_MAX_PEM, .secret = true};
	int r = read_pem(&pem, path, e);

	return r < 0 ? r : keywrap_unwrap_pem(image_key, annotation, descriptor, &pem, path, e);
}
