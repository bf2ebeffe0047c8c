/* SPDX-License-Identifier: Apache-2.0
 * Files are read into memory that wipes itself; nobody is asked for a passphrase. */
#include "crypto/tls_files.h"
#include "crypto/pem.h"
#include "crypto/sha256.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>

#define MAX_FILE (64u << 10)

int tls_files_pin(struct digest *out, const X509 *certificate)
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der), r;

	if (n <= 0)
		return -ENOMEM;
	r = sha256(out, der, (size_t)n);
	OPENSSL_free(der);
	return r;
}

/* A file as OpenSSL reads it. */
static int open_pem(BIO **out, struct buf *text, const char *path, struct err *e)
{
	int r;

	buf_init_secret(text, MAX_FILE);
	r = file_read(AT_FDCWD, path, text, e);
	if (r < 0)
		return r;
	*out = BIO_new_mem_buf(text->size > 0 ? (const void *)text->data : "", (int)text->size);
	return *out ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int use_certificate(SSL_CTX *context, const char *path, struct digest *pin, struct err *e)
{
	cleanup_buf struct buf text;
	BIO *pem = NULL;
	X509 *certificate;
	int r = open_pem(&pem, &text, path, e);

	if (r < 0)
		return r;
	certificate = PEM_read_bio_X509(pem, NULL, pem_no_passphrase, NULL);
	if (!certificate || SSL_CTX_use_certificate(context, certificate) != 1)
		r = err_set(e, -EINVAL, "%s: not a certificate in PEM that TLS takes", path);
	else if (tls_files_pin(pin, certificate) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	X509_free(certificate);
	(void)BIO_free(pem);
	return r;
}

static int use_key(SSL_CTX *context, const char *path, struct err *e)
{
	cleanup_buf struct buf text;
	BIO *pem = NULL;
	EVP_PKEY *key;
	int r = open_pem(&pem, &text, path, e);

	if (r < 0)
		return r;
	key = PEM_read_bio_PrivateKey(pem, NULL, pem_no_passphrase, NULL);
	if (!key)
		r = err_set(e, -EINVAL, "%s: not a private key in PEM without a passphrase", path);
	else if (SSL_CTX_use_PrivateKey(context, key) != 1)
		r = err_set(e, -EINVAL, "%s: not the private key of the certificate", path);
	EVP_PKEY_free(key);
	(void)BIO_free(pem);
	return r;
}

int tls_files_use(SSL_CTX *context, const char *certificate, const char *key, struct digest *pin,
		  struct err *e)
{
	int r = use_certificate(context, certificate, pin, e);

	return r < 0 ? r : use_key(context, key, e);
}
