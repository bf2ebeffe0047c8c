/* SPDX-License-Identifier: Apache-2.0
 * A stream in TLS keeps its caller's deadlines, whatever the host does: stalls in the handshake or in a
 * record, reads nothing, talks without saying anything, has another key. */
#include "guestfs/wire_stream.h"
#include "../crypto/tls_fixture.h"
#include "guestfs/source_wire.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#define SOON_MS 300u
#define LATE_MS 5000u

static struct tls_key host_key, other_key;
static int fds[2]; /* the guest's, the host's */
static struct tls_endpoint *pinned, *hosts;
static struct stream stream;
static uint64_t began_ms;

static void open_all(void)
{
	scratch_open();
	(void)signal(SIGPIPE, SIG_IGN);
	tls_key_make(&host_key, "host.pem");
	tls_key_make(&other_key, "other.pem");
	pinned = tls_endpoint_make(tls_guest_new, NULL, &host_key);
	hosts = tls_endpoint_make(tls_host_new, &host_key, NULL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(stream_open(&stream, dup(fds[0]), pinned, NULL), 0);
	began_ms = monotonic_ms();
}

static void close_all(void)
{
	stream_close(&stream);
	(void)close(fds[0]);
	(void)close(fds[1]);
	tls_endpoint_free(pinned);
	tls_endpoint_free(hosts);
	scratch_close();
}

TestSuite(wire_stream, .init = open_all, .fini = close_all, .timeout = 60);

/* ---- The host's side ---- */

static struct tls *host;

static void *shake(void *unused)
{
	int r;

	(void)unused;
	cr_assert_eq(tls_new(&host, hosts, fds[1]), 0);
	while ((r = tls_handshake(host, NULL)) > 0) {
		struct pollfd p = {.fd = fds[1], .events = r == TLS_WANT_READ ? POLLIN : POLLOUT};

		(void)poll(&p, 1, 1000);
	}
	return NULL;
}

static void connect_both(void)
{
	struct deadline deadline = deadline_after(10000);
	struct err e = {""};
	pthread_t thread;
	int r;

	cr_assert_eq(pthread_create(&thread, NULL, shake, NULL), 0);
	r = stream_connected(&stream, &deadline, &e);
	cr_assert_eq(r, 0, "%d %s", r, e.text);
	(void)pthread_join(thread, NULL);
	began_ms = monotonic_ms();
}

static void expect_soon(int got, int expected)
{
	uint64_t took_ms = monotonic_ms() - began_ms;

	cr_assert_eq(got, expected, "%d", got);
	cr_assert(took_ms >= SOON_MS - 50 && took_ms < LATE_MS, "%llu ms", (unsigned long long)took_ms);
}

Test(wire_stream, a_stalled_handshake_meets_the_deadline_and_can_go_on)
{
	struct deadline soon = deadline_after(SOON_MS);
	struct err e = {""};

	expect_soon(stream_connected(&stream, &soon, &e), -ETIMEDOUT);
	cr_assert_not_null(strstr(e.text, "TLS"), "%s", e.text);
	connect_both();
	tls_free(host);
}

Test(wire_stream, half_a_record_meets_the_deadline)
{
	static const char half[] = "\x17\x03\x03\x40\x00 half of it";
	struct deadline soon;
	uint8_t bytes[16];

	connect_both();
	cr_assert_eq(write(fds[1], half, sizeof(half)), (ssize_t)sizeof(half));
	soon = deadline_after(SOON_MS);
	expect_soon(stream_receive(&stream, bytes, sizeof(bytes), &soon), -ETIMEDOUT);
	tls_free(host);
}

Test(wire_stream, bytes_that_nobody_reads_meet_the_deadline)
{
	size_t n = 16 << 20;
	uint8_t *much = calloc(1, n);
	struct deadline soon;

	connect_both();
	soon = deadline_after(SOON_MS);
	expect_soon(stream_send(&stream, much, n, &soon), -ETIMEDOUT);
	free(much);
	tls_free(host);
}

/* OpenSSL's own host, that renews its keys again and again. */
static void *flood(void *unused)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL *ssl;

	(void)unused;
	cr_assert(SSL_CTX_use_certificate_file(context, host_key.path, SSL_FILETYPE_PEM) == 1 &&
		  SSL_CTX_use_PrivateKey_file(context, host_key.path, SSL_FILETYPE_PEM) == 1);
	ssl = SSL_new(context);
	cr_assert_eq(SSL_set_fd(ssl, fds[1]), 1);
	cr_assert_eq(SSL_accept(ssl), 1);
	for (int i = 0; i < 50; i++)
		cr_assert(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
			  SSL_do_handshake(ssl) == 1);
	SSL_free(ssl);
	SSL_CTX_free(context);
	return NULL;
}

/* There is always something to read, and never what is wanted. */
Test(wire_stream, a_flood_does_not_outlast_the_deadline)
{
	struct deadline deadline = deadline_after(10000);
	pthread_t thread;
	uint8_t byte;

	cr_assert_eq(pthread_create(&thread, NULL, flood, NULL), 0);
	cr_assert_eq(stream_connected(&stream, &deadline, NULL), 0);
	(void)pthread_join(thread, NULL);
	deadline = deadline_after(0);
	cr_assert_eq(stream_receive(&stream, &byte, 1, &deadline), -ETIMEDOUT);
	cr_assert_eq(recv(fds[0], &byte, 1, MSG_PEEK | MSG_DONTWAIT), 1, "it was all read");
}

Test(wire_stream, a_shutdown_ends_a_wait_without_a_deadline)
{
	uint8_t byte;
	size_t got;

	connect_both();
	(void)shutdown(fds[1], SHUT_RDWR); /* the host says nothing more, not even that */
	cr_assert_eq(stream_receive_some(&stream, &byte, 1, &got, NULL), -ECONNRESET);
	tls_free(host);
}

/* ---- A source over it ---- */

static int dial(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return dup(fds[0]);
}

static int source_new(struct source **out, const char *address, const struct tls_endpoint *tls, struct err *e)
{
	static struct reference reference;

	cr_assert_eq(reference_parse(&reference, "localhost:5000/a:1", e), 0);
	return source_wire_new(out,
			       &(struct source_wire_options){.address = address,
							     .reference = &reference,
							     .dial = dial,
							     .tls = tls,
							     .timeout_ms = 20000,
							     .wait_ms = 20000},
			       e);
}

#define TLS_ADDRESS "tls:127.0.0.1:1:sha256:0000000000000000000000000000000000000000000000000000000000000000"

static int opened;

static void *open_it(void *source)
{
	uint8_t descriptor[DESCRIPTOR_SIZE];
	struct buf manifest = {.max = MAX_MANIFEST_SIZE};
	struct source *s = source;
	struct err e = {""};

	opened = s->ops->open(s, &manifest, descriptor, &e);
	buf_deinit(&manifest);
	return NULL;
}

Test(wire_stream, a_stop_ends_a_handshake)
{
	struct source *s;
	struct err e = {""};
	pthread_t thread;

	cr_assert_eq(source_new(&s, TLS_ADDRESS, pinned, &e), 0, "%s", e.text);
	cr_assert_eq(pthread_create(&thread, NULL, open_it, s), 0);
	(void)usleep(SOON_MS * 1000);
	s->ops->stop(s);
	(void)pthread_join(thread, NULL);
	cr_assert_lt(opened, 0);
	cr_assert_lt(monotonic_ms() - began_ms, LATE_MS);
	s->ops->close(s);
}

/* That will not change by waiting. */
Test(wire_stream, another_key_is_told_at_once)
{
	struct tls_endpoint *others = tls_endpoint_make(tls_guest_new, NULL, &other_key);
	struct source *s;
	struct err e = {""};
	pthread_t thread;

	cr_assert_eq(source_new(&s, TLS_ADDRESS, others, &e), 0, "%s", e.text);
	cr_assert_eq(pthread_create(&thread, NULL, shake, NULL), 0);
	(void)open_it(s);
	cr_assert_eq(opened, -EKEYREJECTED, "%d", opened);
	cr_assert_lt(monotonic_ms() - began_ms, LATE_MS);
	(void)pthread_join(thread, NULL);
	s->ops->close(s);
	tls_free(host);
	tls_endpoint_free(others);
}

Test(wire_stream, no_address_is_spoken_to_otherwise_than_it_says)
{
	struct source *s;
	struct err e = {""};

	cr_assert_eq(source_new(&s, TLS_ADDRESS, NULL, &e), -EINVAL);
	cr_assert_eq(source_new(&s, "unix:/x", pinned, &e), -EINVAL);
	cr_assert_eq(source_new(&s, "tls:127.0.0.1:1", pinned, &e), -EINVAL);
}
