/* SPDX-License-Identifier: Apache-2.0
 * TLS between two of ours, and against a stranger at the other end: another key, another version, garbage,
 * half a record, floods. The stranger is OpenSSL itself, with everything that ours turns off. */
#include "crypto/tls.h"
#include "tls_fixture.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tls_key host_key, guest_key, other_key;
static int fds[2]; /* the guest's, the host's */
static struct tls *guest, *host;
static struct tls_endpoint *guests, *hosts;

static void open_all(void)
{
	scratch_open();
	(void)signal(SIGPIPE, SIG_IGN); /* the stranger's */
	tls_key_make(&host_key, "host.pem");
	tls_key_make(&guest_key, "guest.pem");
	tls_key_make(&other_key, "other.pem");
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_all(void)
{
	tls_free(guest);
	tls_free(host);
	tls_endpoint_free(guests);
	tls_endpoint_free(hosts);
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	scratch_close();
}

TestSuite(tls, .init = open_all, .fini = close_all, .timeout = 30);

/* `pinned` by the guest; the host takes `known`, or everybody. */
static void begin(const struct tls_key *pinned, const struct tls_key *own, const struct tls_key *known)
{
	guests = tls_endpoint_make(tls_guest_new, own, pinned);
	hosts = tls_endpoint_make(tls_host_new, &host_key, known);
	cr_assert_eq(tls_new(&guest, guests, fds[0]), 0);
	cr_assert_eq(tls_new(&host, hosts, fds[1]), 0);
}

/* Both in turns until each is done, well or not. */
static void shake(int *guest_result, int *host_result, struct err *guest_words, struct err *host_words)
{
	int g = TLS_WANT_READ, h = TLS_WANT_READ;

	for (int i = 0; i < 100 && (g > 0 || h > 0); i++) {
		if (g > 0)
			g = tls_handshake(guest, guest_words);
		if (g < 0)
			(void)shutdown(fds[0], SHUT_WR);
		if (h > 0)
			h = tls_handshake(host, host_words);
		if (h < 0)
			(void)shutdown(fds[1], SHUT_WR);
	}
	*guest_result = g;
	*host_result = h;
}

static void must_shake(void)
{
	struct err ge = {""}, he = {""};
	int g, h;

	shake(&g, &h, &ge, &he);
	cr_assert_eq(g, 0, "guest: %d %s", g, ge.text);
	cr_assert_eq(h, 0, "host: %d %s", h, he.text);
}

Test(tls, carries_bytes_both_ways)
{
	static uint8_t sent[100000], received[100000];
	size_t there = 0, back = 0, n;
	int r;

	begin(&host_key, NULL, NULL);
	must_shake();
	cr_assert(digest_equal(tls_peer(guest), &host_key.pin));
	cr_assert_null(tls_peer(host));
	cr_assert_null(tls_endpoint_pin(guests));
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7);
	while (back < sizeof(sent)) {
		r = there < sizeof(sent) ? tls_send(host, sent + there, sizeof(sent) - there, &n) : 1;
		cr_assert_geq(r, 0);
		there += r == 0 ? n : 0;
		r = tls_receive(guest, received + back, sizeof(received) - back, &n);
		cr_assert_geq(r, 0);
		back += r == 0 ? n : 0;
	}
	cr_assert_eq(memcmp(sent, received, sizeof(sent)), 0);
	cr_assert_eq(tls_receive(guest, received, 1, &n), TLS_WANT_READ);
	cr_assert_eq(tls_send(guest, "x", 1, &n), 0);
	cr_assert_eq(tls_receive(host, received, 10, &n), 0);
	cr_assert_eq(n, 1);
}

Test(tls, refuses_a_host_whose_key_is_not_pinned)
{
	struct err ge = {""}, he = {""};
	char pin[DIGEST_TEXT_SIZE];
	int g, h;

	begin(&other_key, NULL, NULL);
	shake(&g, &h, &ge, &he);
	cr_assert_eq(g, -EKEYREJECTED, "%d %s", g, ge.text);
	cr_assert_not_null(strstr(ge.text, digest_text(&host_key.pin, pin)), "%s", ge.text);
	cr_assert_eq(h, -EPROTO, "%d %s", h, he.text);
}

Test(tls, knows_guests_by_their_keys)
{
	begin(&host_key, &guest_key, &guest_key);
	must_shake();
	cr_assert(digest_equal(tls_peer(host), &guest_key.pin));
}

Test(tls, refuses_a_guest_whose_key_is_not_pinned)
{
	struct err ge = {""}, he = {""};
	uint8_t byte;
	size_t n;
	int g, h;

	begin(&host_key, &other_key, &guest_key);
	shake(&g, &h, &ge, &he);
	cr_assert_eq(h, -EKEYREJECTED, "%d %s", h, he.text);
	cr_assert_eq(g, 0, "TLS 1.3 tells a guest afterwards: %d %s", g, ge.text);
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), -EACCES);
}

Test(tls, refuses_a_guest_that_shows_no_key)
{
	struct err ge = {""}, he = {""};
	uint8_t byte;
	size_t n;
	int g, h;

	begin(&host_key, NULL, &guest_key);
	shake(&g, &h, &ge, &he);
	cr_assert_eq(h, -EPROTO, "%d %s", h, he.text);
	cr_assert_eq(g, 0, "%d %s", g, ge.text);
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), -EACCES);
}

Test(tls, end_of_the_stream_is_a_lost_connection)
{
	uint8_t byte;
	size_t n;

	begin(&host_key, NULL, NULL);
	must_shake();
	(void)shutdown(fds[1], SHUT_WR); /* nothing was said before */
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), -ECONNRESET);
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), -ECONNRESET);
}

Test(tls, a_damaged_record_is_none)
{
	static const uint8_t record[] = {23, 3,	 3,  0,	 20, 1,	 2,  3,	 4,  5,	 6,  7, 8,
					 9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
	uint8_t byte;
	size_t n;

	begin(&host_key, NULL, NULL);
	must_shake();
	cr_assert_eq(write(fds[1], record, 7), 7);
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), TLS_WANT_READ, "half a record is none yet");
	cr_assert_eq(write(fds[1], record + 7, sizeof(record) - 7), (ssize_t)sizeof(record) - 7);
	cr_assert_eq(tls_receive(guest, &byte, 1, &n), -EPROTO);
}

Test(tls, garbage_is_no_handshake)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"COCOONW1",
		"\x16\x03\x01\xff\xff\x01\xff\xff\xff and more, and more",
		"\x15\x03\x03",
	};

	for (size_t i = 0; i < 2 * sizeof(garbage) / sizeof(garbage[0]); i++) {
		const char *text = garbage[i / 2];
		bool to_host = i % 2;
		struct err e = {""};
		int r;

		begin(&host_key, NULL, NULL);
		cr_assert_gt(write(fds[!to_host], text, strlen(text)), 0);
		(void)shutdown(fds[!to_host], SHUT_WR);
		r = tls_handshake(to_host ? host : guest, &e);
		cr_assert(r == -EPROTO || r == -ECONNRESET, "%s: %d", text, r);
		cr_assert_neq(e.text[0], '\0');
		close_all();
		guest = host = NULL;
		guests = hosts = NULL;
		open_all();
	}
}

/* ---- Strangers ---- */

/* Half a connection of OpenSSL's own, on a blocking socket and a thread. */
struct stranger {
	pthread_t thread;
	SSL_CTX *context;
	SSL *ssl;
	int shaken;
	void (*then)(struct stranger *s);
};

static void *stranger_thread(void *arg)
{
	struct stranger *s = arg;

	s->shaken = SSL_do_handshake(s->ssl);
	if (s->shaken == 1 && s->then)
		s->then(s);
	ERR_clear_error();
	return NULL;
}

/* `fd`: whose end it plays. */
static void stranger_start(struct stranger *s, bool as_host, int version, void (*then)(struct stranger *))
{
	*s = (struct stranger){.context = SSL_CTX_new(as_host ? TLS_server_method() : TLS_client_method()),
			       .then = then};
	cr_assert(SSL_CTX_set_min_proto_version(s->context, version) == 1 &&
		  SSL_CTX_set_max_proto_version(s->context, version) == 1);
	if (as_host)
		cr_assert(SSL_CTX_use_certificate_file(s->context, host_key.path, SSL_FILETYPE_PEM) == 1 &&
			  SSL_CTX_use_PrivateKey_file(s->context, host_key.path, SSL_FILETYPE_PEM) == 1);
	s->ssl = SSL_new(s->context);
	cr_assert_eq(SSL_set_fd(s->ssl, fds[as_host]), 1);
	if (as_host)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	cr_assert_eq(pthread_create(&s->thread, NULL, stranger_thread, s), 0);
}

static void stranger_end(struct stranger *s)
{
	(void)pthread_join(s->thread, NULL);
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
}

static int handshake_until(struct tls *t, int fd, struct err *e)
{
	int r;

	while ((r = tls_handshake(t, e)) > 0) {
		struct pollfd p = {.fd = fd, .events = r == TLS_WANT_READ ? POLLIN : POLLOUT};

		cr_assert_eq(poll(&p, 1, 10000), 1);
	}
	return r;
}

Test(tls, a_host_of_version_1_2_is_refused)
{
	struct err e = {""};
	struct stranger s;

	begin(&host_key, NULL, NULL);
	stranger_start(&s, true, TLS1_2_VERSION, NULL);
	cr_assert_eq(handshake_until(guest, fds[0], &e), -EPROTO, "%s", e.text);
	(void)shutdown(fds[0], SHUT_RDWR);
	stranger_end(&s);
	cr_assert_neq(s.shaken, 1);
}

Test(tls, a_guest_of_version_1_2_is_refused)
{
	struct err e = {""};
	struct stranger s;

	begin(&host_key, NULL, NULL);
	stranger_start(&s, false, TLS1_2_VERSION, NULL);
	cr_assert_eq(handshake_until(host, fds[1], &e), -EPROTO, "%s", e.text);
	(void)shutdown(fds[1], SHUT_RDWR);
	stranger_end(&s);
	cr_assert_neq(s.shaken, 1);
}

static void say_goodbye(struct stranger *s)
{
	(void)SSL_shutdown(s->ssl);
}

Test(tls, a_goodbye_is_a_lost_connection)
{
	struct err e = {""};
	struct stranger s;
	uint8_t byte;
	size_t n;
	int r;

	begin(&host_key, NULL, NULL);
	stranger_start(&s, true, TLS1_3_VERSION, say_goodbye);
	cr_assert_eq(handshake_until(guest, fds[0], &e), 0, "%s", e.text);
	stranger_end(&s);
	/* his tickets come first */
	do
		r = tls_receive(guest, &byte, 1, &n);
	while (r > 0);
	cr_assert_eq(r, -ECONNRESET);
}

static bool has_session;

static void remember_session(struct stranger *s)
{
	char byte;
	SSL_SESSION *session;

	(void)SSL_read(s->ssl, &byte, 1); /* tickets would come with the first byte */
	session = SSL_get1_session(s->ssl);
	has_session = SSL_SESSION_is_resumable(session) == 1;
	SSL_SESSION_free(session);
}

Test(tls, the_host_lets_nobody_resume)
{
	struct err e = {""};
	struct stranger s;
	size_t n;

	has_session = true;
	begin(&host_key, NULL, NULL);
	stranger_start(&s, false, TLS1_3_VERSION, remember_session);
	cr_assert_eq(handshake_until(host, fds[1], &e), 0, "%s", e.text);
	cr_assert_eq(tls_send(host, "x", 1, &n), 0);
	stranger_end(&s);
	cr_assert_eq(s.shaken, 1);
	cr_assert_not(has_session);
}

#define FLOOD 50u

/* Messages that are no data. */
static void flood(struct stranger *s)
{
	for (unsigned i = 0; i < FLOOD; i++)
		if (SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
		    SSL_do_handshake(s->ssl) != 1)
			return;
}

/* Each comes back to the caller, so that he sees his deadline pass. */
Test(tls, a_flood_of_messages_holds_nobody)
{
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	struct err e = {""};
	struct stranger s;
	unsigned wants = 0;
	uint8_t byte;
	size_t n;

	begin(&host_key, NULL, NULL);
	stranger_start(&s, true, TLS1_3_VERSION, flood);
	cr_assert_eq(handshake_until(guest, fds[0], &e), 0, "%s", e.text);
	(void)pthread_join(s.thread, NULL);
	for (; poll(&p, 1, 0) == 1; wants++)
		cr_assert_gt(tls_receive(guest, &byte, 1, &n), 0);
	cr_assert_geq(wants, FLOOD, "%u", wants);
	cr_assert_eq(tls_send(guest, "x", 1, &n), 0);
	SSL_free(s.ssl);
	SSL_CTX_free(s.context);
}

/* ---- Files ---- */

static void expect_refused(const char *certificate, const char *key, int error, const char *words)
{
	const struct tls_options options = {.certificate = certificate, .key = key};
	struct tls_endpoint *unused;
	struct err e = {""};
	int r = tls_host_new(&unused, &options, &e);

	cr_assert_eq(r, error, "%d %s", r, e.text);
	cr_assert_not_null(strstr(e.text, words), "%s", e.text);
}

Test(tls, says_what_is_wrong_with_files)
{
	FILE *f = fopen(scratch_path("empty"), "w");

	(void)fclose(f);
	expect_refused(scratch_path("none"), host_key.path, -ENOENT, "none");
	expect_refused(scratch_path("empty"), host_key.path, -EINVAL, "not a certificate");
	expect_refused(host_key.path, scratch_path("empty"), -EINVAL, "not a private key");
	expect_refused(host_key.path, other_key.path, -EINVAL, "not the private key of");
	expect_refused(host_key.path, NULL, -EINVAL, "needs a certificate");
	expect_refused(NULL, NULL, -EINVAL, "needs a certificate");
}

Test(tls, a_guest_without_a_pin_is_impossible)
{
	const struct tls_options options = {0};
	struct tls_endpoint *unused;
	struct err e = {""};

	cr_assert_eq(tls_guest_new(&unused, &options, &e), -EINVAL);
}
