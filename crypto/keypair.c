/* SPDX-License-Identifier: Apache-2.0
 * Generating a key pair and writing both halves as PEM. */
#include "crypto/keypair.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_EXCL and not a rename: a key that exists is never replaced, not even in a race. */
static int write_new(const char *path, BIO *pem, mode_t mode, struct err *e)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char *text;
	long n = BIO_get_mem_data(pem, &text);
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	r = write_full(fd, text, (size_t)n);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r < 0) {
		(void)unlink(path);
		return err_errno(e, r, "%s", path);
	}
	return 0;
}

int keypair_write(const char *private_path, const char *public_path, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *private_pem = BIO_new(BIO_s_secmem()), *public_pem = BIO_new(BIO_s_mem());
	int r = -ENOMEM;

	if (key && private_pem && public_pem &&
	    PEM_write_bio_PKCS8PrivateKey(private_pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    PEM_write_bio_PUBKEY(public_pem, key) == 1) {
		r = write_new(private_path, private_pem, 0600, e);
		if (r == 0) {
			r = write_new(public_path, public_pem, 0644, e);
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
