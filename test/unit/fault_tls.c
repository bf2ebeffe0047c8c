/* SPDX-License-Identifier: Apache-2.0
 * More functions that can be made to fail: those of TLS and of sockets, for programs that link libssl. */
#include "test/unit/fault_list.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* clang-format off: a line each */
FAULT(recv, ssize_t, (errno = EINTR, -1), (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
FAULT(send, ssize_t, (errno = EINTR, -1), (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))

FAULT(BIO_meth_new, BIO_METHOD *, NULL, (int type, const char *name), (type, name))
FAULT(BIO_meth_set_ctrl, int, 0, (BIO_METHOD * m, long (*f)(BIO *, int, long, void *)), (m, f))
FAULT(BIO_meth_set_read, int, 0, (BIO_METHOD * m, int (*f)(BIO *, char *, int)), (m, f))
FAULT(BIO_meth_set_write, int, 0, (BIO_METHOD * m, int (*f)(BIO *, const char *, int)), (m, f))
FAULT(SSL_CTX_new, SSL_CTX *, NULL, (const SSL_METHOD *m), (m))
FAULT(SSL_CTX_set_max_early_data, int, 0, (SSL_CTX * c, uint32_t n), (c, n))
FAULT(SSL_CTX_set_num_tickets, int, 0, (SSL_CTX * c, size_t n), (c, n))
FAULT(SSL_CTX_use_certificate, int, 0, (SSL_CTX * c, X509 *x), (c, x))
FAULT(SSL_CTX_use_PrivateKey, int, 0, (SSL_CTX * c, EVP_PKEY *k), (c, k))
FAULT(SSL_new, SSL *, NULL, (SSL_CTX * c), (c))
FAULT(SSL_set_ex_data, int, 0, (SSL * s, int i, void *p), (s, i, p))
FAULT(i2d_X509_PUBKEY, int, -1, (X509_PUBKEY * k, unsigned char **to), (k, to))
/* clang-format on */

/* The first thing that was not as it should be: no memory, as far as OpenSSL's own calls go. */
#define FAULT_BY_HAND(name)
FAULT_BY_HAND(ERR_peek_error)
unsigned long __real_ERR_peek_error(void);
unsigned long __wrap_ERR_peek_error(void);
unsigned long __wrap_ERR_peek_error(void)
{
	unsigned long why = __real_ERR_peek_error();

	return why && fault_now("ERR_peek_error") ? ERR_PACK(ERR_LIB_SSL, 0, ERR_R_MALLOC_FAILURE) : why;
}

/* Of what goes through this door only the bounds of the version are asked for their result. */
FAULT_BY_HAND(SSL_CTX_ctrl)
long __real_SSL_CTX_ctrl(SSL_CTX *c, int command, long n, void *p);
long __wrap_SSL_CTX_ctrl(SSL_CTX *c, int command, long n, void *p);
long __wrap_SSL_CTX_ctrl(SSL_CTX *c, int command, long n, void *p)
{
	bool fails =
		(command == SSL_CTRL_SET_MIN_PROTO_VERSION || command == SSL_CTRL_SET_MAX_PROTO_VERSION) &&
		fault_now("SSL_CTX_ctrl");

	return fails ? 0 : __real_SSL_CTX_ctrl(c, command, n, p);
}
