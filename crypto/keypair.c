/* SPDX-License-Identifier: Apache-2.0
 * Generating a key pair and writing both halves as PEM. */
#include "crypto/keypair.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

static int write_pem(const char *path, BIO *pem, unsigned mode, struct err *e)
{
	char *text;
	long n = BIO_get_mem_data(pem, &text);

	return file_create(AT_FDCWD, path, text, (size_t)n, mode, e);
}

int keypair_write(const char *private_path, const char *public_path, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *private_pem = BIO_new(BIO_s_secmem()), *public_pem = BIO_new(BIO_s_mem());
	int r = -ENOMEM;

	if (key && private_pem && public_pem &&
	    PEM_write_bio_PKCS8PrivateKey(private_pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    PEM_write_bio_PUBKEY(public_pem, key) == 1) {
		r = write_pem(private_path, private_pem, 0600, e);
		if (r == 0) {
			r = write_pem(public_path, public_pem, 0644, e);
			if (r < 0)
				(void)unlink(private_path);
		}
	} else {
		(void)err_set(e, r, "cannot make a key pair");
	}
	/* memory BIOs wipe what they free */
	(void)BIO_free(private_pem);
	(void)BIO_free(public_pem);
	EVP_PKEY_free(key);
	return r;
}
