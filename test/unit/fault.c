/* SPDX-License-Identifier: Apache-2.0
 * The functions that can be made to fail, by the linker's --wrap: crypto/CMakeLists.txt reads their names
 * from the lines that begin with FAULT. */
#include "test/unit/fault_list.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static atomic_uint countdown;
static _Atomic(const char *) fired, last;

void fault_arm(unsigned nth)
{
	atomic_store(&fired, NULL);
	atomic_store(&countdown, nth);
}

bool fault_fired(void)
{
	atomic_store(&countdown, 0);
	return atomic_exchange(&fired, NULL) != NULL;
}

const char *fault_name(void)
{
	return atomic_load(&last);
}

bool fault_now(const char *name)
{
	unsigned n = atomic_load(&countdown);

	while (n > 0 && !atomic_compare_exchange_weak(&countdown, &n, n - 1))
		;
	if (n != 1)
		return false;
	atomic_store(&last, name);
	atomic_store(&fired, name);
	return true;
}

/* clang-format off: a line each */
FAULT(malloc, void *, NULL, (size_t n), (n))
FAULT(calloc, void *, NULL, (size_t n, size_t size), (n, size))
FAULT(realloc, void *, NULL, (void *p, size_t n), (p, n))
FAULT(aligned_alloc, void *, NULL, (size_t to, size_t n), (to, n))
FAULT(getrandom, ssize_t, (errno = EINTR, -1), (void *p, size_t n, unsigned flags), (p, n, flags))
FAULT(pthread_create, int, EAGAIN, (pthread_t * t, const pthread_attr_t *a, void *(*f)(void *), void *arg),
      (t, a, f, arg))

FAULT(BIO_new, BIO *, NULL, (const BIO_METHOD *m), (m))
FAULT(BIO_new_mem_buf, BIO *, NULL, (const void *p, int n), (p, n))
FAULT(BN_bn2binpad, int, -1, (const BIGNUM *b, unsigned char *to, int n), (b, to, n))
FAULT(EVP_CIPHER_CTX_ctrl, int, 0, (EVP_CIPHER_CTX * c, int type, int n, void *p), (c, type, n, p))
FAULT(EVP_CIPHER_CTX_new, EVP_CIPHER_CTX *, NULL, (void), ())
FAULT(EVP_CIPHER_fetch, EVP_CIPHER *, NULL, (OSSL_LIB_CTX * l, const char *name, const char *p), (l, name, p))
FAULT(EVP_DecryptInit_ex2, int, 0,
      (EVP_CIPHER_CTX * c, const EVP_CIPHER *t, const unsigned char *key, const unsigned char *iv,
       const OSSL_PARAM *p),
      (c, t, key, iv, p))
FAULT(EVP_DecryptUpdate, int, 0,
      (EVP_CIPHER_CTX * c, unsigned char *to, int *n, const unsigned char *p, int size), (c, to, n, p, size))
FAULT(EVP_DigestFinal_ex, int, 0, (EVP_MD_CTX * c, unsigned char *to, unsigned *n), (c, to, n))
FAULT(EVP_DigestInit_ex2, int, 0, (EVP_MD_CTX * c, const EVP_MD *t, const OSSL_PARAM *p), (c, t, p))
FAULT(EVP_DigestUpdate, int, 0, (EVP_MD_CTX * c, const void *p, size_t n), (c, p, n))
FAULT(EVP_EncryptFinal_ex, int, 0, (EVP_CIPHER_CTX * c, unsigned char *to, int *n), (c, to, n))
FAULT(EVP_EncryptInit_ex2, int, 0,
      (EVP_CIPHER_CTX * c, const EVP_CIPHER *t, const unsigned char *key, const unsigned char *iv,
       const OSSL_PARAM *p),
      (c, t, key, iv, p))
FAULT(EVP_EncryptUpdate, int, 0,
      (EVP_CIPHER_CTX * c, unsigned char *to, int *n, const unsigned char *p, int size), (c, to, n, p, size))
FAULT(EVP_MD_CTX_new, EVP_MD_CTX *, NULL, (void), ())
FAULT(EVP_MD_fetch, EVP_MD *, NULL, (OSSL_LIB_CTX * l, const char *name, const char *p), (l, name, p))
FAULT(EVP_PKEY_CTX_new, EVP_PKEY_CTX *, NULL, (EVP_PKEY * k, ENGINE *e), (k, e))
FAULT(EVP_PKEY_CTX_new_from_name, EVP_PKEY_CTX *, NULL, (OSSL_LIB_CTX * l, const char *name, const char *p),
      (l, name, p))
FAULT(EVP_PKEY_CTX_set_rsa_mgf1_md_name, int, 0, (EVP_PKEY_CTX * c, const char *name, const char *p),
      (c, name, p))
FAULT(EVP_PKEY_CTX_set_rsa_oaep_md_name, int, 0, (EVP_PKEY_CTX * c, const char *name, const char *p),
      (c, name, p))
FAULT(EVP_PKEY_CTX_set_rsa_padding, int, 0, (EVP_PKEY_CTX * c, int padding), (c, padding))
FAULT(EVP_PKEY_decrypt_init, int, 0, (EVP_PKEY_CTX * c), (c))
FAULT(EVP_PKEY_derive, int, 0, (EVP_PKEY_CTX * c, unsigned char *to, size_t *n), (c, to, n))
FAULT(EVP_PKEY_derive_init, int, 0, (EVP_PKEY_CTX * c), (c))
FAULT(EVP_PKEY_derive_set_peer_ex, int, 0, (EVP_PKEY_CTX * c, EVP_PKEY *peer, int check), (c, peer, check))
FAULT(EVP_PKEY_encrypt, int, 0,
      (EVP_PKEY_CTX * c, unsigned char *to, size_t *n, const unsigned char *p, size_t size),
      (c, to, n, p, size))
FAULT(EVP_PKEY_encrypt_init, int, 0, (EVP_PKEY_CTX * c), (c))
FAULT(EVP_PKEY_fromdata_init, int, 0, (EVP_PKEY_CTX * c), (c))
FAULT(EVP_PKEY_get_bn_param, int, 0, (const EVP_PKEY *k, const char *name, BIGNUM **to), (k, name, to))
FAULT(EVP_PKEY_get_group_name, int, 0, (const EVP_PKEY *k, char *to, size_t size, size_t *n),
      (k, to, size, n))
FAULT(HMAC, unsigned char *, NULL,
      (const EVP_MD *t, const void *key, int key_size, const unsigned char *p, size_t n, unsigned char *to,
       unsigned *size),
      (t, key, key_size, p, n, to, size))
FAULT(OSSL_PARAM_BLD_new, OSSL_PARAM_BLD *, NULL, (void), ())
FAULT(OSSL_PARAM_BLD_push_octet_string, int, 0,
      (OSSL_PARAM_BLD * b, const char *name, const void *p, size_t n), (b, name, p, n))
FAULT(OSSL_PARAM_BLD_push_utf8_string, int, 0,
      (OSSL_PARAM_BLD * b, const char *name, const char *p, size_t n), (b, name, p, n))
FAULT(OSSL_PARAM_BLD_to_param, OSSL_PARAM *, NULL, (OSSL_PARAM_BLD * b), (b))
FAULT(PEM_write_bio_PKCS8PrivateKey, int, 0,
      (BIO * b, const EVP_PKEY *k, const EVP_CIPHER *t, const char *p, int n, pem_password_cb *f, void *arg),
      (b, k, t, p, n, f, arg))
FAULT(PEM_write_bio_PUBKEY, int, 0, (BIO * b, const EVP_PKEY *k), (b, k))
/* clang-format on */

/* Variadic: the name of a curve, or the bits of an RSA key. */
#define FAULT_BY_HAND(name)
FAULT_BY_HAND(EVP_PKEY_Q_keygen)
EVP_PKEY *__real_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *l, const char *p, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *l, const char *p, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *l, const char *p, const char *type, ...)
{
	EVP_PKEY *key = NULL;
	va_list args;

	va_start(args, type);
	if (strcmp(type, "EC") == 0)
		key = fault_now("EVP_PKEY_Q_keygen")
			      ? NULL
			      : __real_EVP_PKEY_Q_keygen(l, p, type, va_arg(args, char *));
	else
		key = __real_EVP_PKEY_Q_keygen(l, p, type, va_arg(args, size_t));
	va_end(args);
	return key;
}
