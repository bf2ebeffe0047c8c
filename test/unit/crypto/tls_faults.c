/* SPDX-License-Identifier: Apache-2.0
 * Every call that TLS makes to OpenSSL, to the socket and to malloc fails once: an error with words, or the
 * handshake of the two that were meant, and never one with somebody else. */
#include "crypto/tls.h"
#include "test/unit/fault.h"
#include "tls_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tls_key host_key;
static struct tls_endpoint *guests, *hosts;

static void open_all(void)
{
	scratch_open();
	tls_key_make(&host_key, "host.pem");
	guests = tls_endpoint_make(tls_guest_new, NULL, &host_key);
	hosts = tls_endpoint_make(tls_host_new, &host_key, NULL);
}

static void close_all(void)
{
	tls_endpoint_free(guests);
	tls_endpoint_free(hosts);
	scratch_close();
}

TestSuite(tls_faults, .init = open_all, .fini = close_all, .timeout = 60);

static int endpoint_anew(struct err *e)
{
	const struct tls_options options = {
		.certificate = host_key.path, .key = host_key.path, .pins = &host_key.pin, .n_pins = 1};
	struct tls_endpoint *endpoint;
	int r;

	*e = (struct err){""};
	r = tls_host_new(&endpoint, &options, e);
	if (r == 0)
		tls_endpoint_free(endpoint);
	return r;
}

Test(tls_faults, an_endpoint)
{
	struct err e;
	int r;

	each_fault (r, endpoint_anew(&e)) {
		cr_assert_lt(r, 0, "%s", fault_name());
		cr_assert_neq(e.text[0], '\0', "%s", fault_name());
		cr_assert_eq(ERR_peek_error(), 0, "%s leaves an error for the next", fault_name());
	}
	cr_assert_eq(r, 0, "%s", e.text);
}

/* A handshake between two new connections, then a byte. 0 or the first error. */
static int connection_anew(struct err *e)
{
	struct tls *guest = NULL, *host = NULL;
	int g = TLS_WANT_READ, h = TLS_WANT_READ, fds[2], r;
	uint8_t byte;
	size_t n;

	*e = (struct err){""};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	r = tls_new(&guest, guests, fds[0]);
	if (r == 0)
		r = tls_new(&host, hosts, fds[1]);
	for (int i = 0; r == 0 && i < 100 && (g > 0 || h > 0); i++) {
		if (g > 0)
			g = tls_handshake(guest, e);
		if (h > 0)
			h = tls_handshake(host, e);
		r = g < 0 ? g : h < 0 ? h : 0;
	}
	if (r == 0) {
		cr_assert(g == 0 && h == 0, "%s: neither done nor failed", fault_name());
		cr_assert(digest_equal(tls_peer(guest), &host_key.pin), "%s", fault_name());
		while ((r = tls_send(host, "x", 1, &n)) > 0)
			;
		while (r == 0 && (r = tls_receive(guest, &byte, 1, &n)) > 0)
			r = 0;
	}
	tls_free(guest);
	tls_free(host);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r;
}

Test(tls_faults, a_connection)
{
	struct err e;
	int r;

	each_fault (r, connection_anew(&e)) {
		cr_assert(r == 0 || r == -ENOMEM || r == -EPROTO, "%s: %d %s", fault_name(), r, e.text);
		cr_assert_eq(ERR_peek_error(), 0, "%s", fault_name());
	}
	cr_assert_eq(r, 0, "%s", e.text);
}

static int garbage_anew(void)
{
	struct tls *guest;
	int fds[2], r;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(write(fds[1], "HTTP/1.1 400\r\n", 14), 14);
	r = tls_new(&guest, guests, fds[0]);
	if (r == 0) {
		while ((r = tls_handshake(guest, NULL)) > 0)
			;
		tls_free(guest);
	}
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r;
}

/* What is no record is told from what there was no memory for, which may be tried again. */
Test(tls_faults, openssl_without_memory)
{
	bool told = false;
	int r;

	each_fault (r, garbage_anew())
		told = told || (r == -ENOMEM && strcmp(fault_name(), "ERR_peek_error") == 0);
	cr_assert_eq(r, -EPROTO);
	cr_assert(told);
}

Test(tls_faults, what_is_no_socket)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err e = {""};
	struct tls *t;

	cr_assert_eq(tls_new(&t, guests, fd), 0);
	cr_assert_eq(tls_handshake(t, &e), -ENOTSOCK);
	cr_assert_neq(e.text[0], '\0');
	tls_free(t);
	(void)close(fd);
}
