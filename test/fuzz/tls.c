/* SPDX-License-Identifier: Apache-2.0
 * What a stranger sends to a host that expects TLS, and what one in the host's place sends to a guest: the
 * first byte says whose side is tried. No call may block or succeed, and each side must see the end. */
#include "crypto/tls.h"
#include "proto/base/io.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tls_endpoint *host, *guest;

/* A key and its certificate in memory that has a path. */
static void write_key(char path[static 64])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *pem = BIO_new(BIO_s_mem());
	char *text;
	long n;

	(void)snprintf(path, 64, "/dev/shm/cocoon-fuzz-%d.pem", (int)getpid());
	fuzz_assert(key && x && pem && X509_set_pubkey(x, key) == 1 &&
		    ASN1_TIME_set(X509_getm_notBefore(x), 0) && ASN1_TIME_set(X509_getm_notAfter(x), 1) &&
		    X509_sign(x, key, EVP_sha256()) > 0 &&
		    PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		    PEM_write_bio_X509(pem, x) == 1);
	n = BIO_get_mem_data(pem, &text);
	fuzz_assert(file_write(AT_FDCWD, path, text, (size_t)n, 0600, NULL) == 0);
	(void)BIO_free(pem);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void start(void)
{
	char path[64];
	struct tls_options options = {.certificate = path, .key = path};

	write_key(path);
	fuzz_assert(tls_host_new(&host, &options, NULL) == 0);
	options = (struct tls_options){.pins = tls_endpoint_pin(host), .n_pins = 1};
	fuzz_assert(tls_guest_new(&guest, &options, NULL) == 0);
	(void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {""};
	struct tls *t;
	int pair[2], r;

	if (!host)
		start();
	if (size < 1 || size > 65536)
		return 0;
	fuzz_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	fuzz_assert(tls_new(&t, data[0] & 1 ? guest : host, pair[0]) == 0);
	r = tls_handshake(t, &e);
	fuzz_assert(r == TLS_WANT_READ);
	fuzz_assert(write_full(pair[1], data + 1, size - 1) == 0);
	for (int i = 0; i < 100 && r > 0; i++)
		r = tls_handshake(t, &e);
	fuzz_assert(r == TLS_WANT_READ || (r < 0 && e.text[0]));
	(void)shutdown(pair[1], SHUT_WR);
	if (r > 0)
		r = tls_handshake(t, &e);
	fuzz_assert(r == -EPROTO || r == -ECONNRESET || r == -EKEYREJECTED);
	fuzz_assert(!tls_peer(t));
	tls_free(t);
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}
