/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end: guests in TLS and strangers who try, names by the kind of connection, limits that
 * end with the connections that they counted. */
#include "../crypto/tls_fixture.h"
#include "chunkstore/chunk_server.h"
#include "chunkstore/clock.h"
#include "chunkstore/peer.h"
#include "proto/wire/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HANDSHAKE_MS 400

static struct chunkstore *store;
static struct chunk_server *server;
static struct tls_key host_key, guest_key, other_key;
static struct sockaddr_in where;

static in_port_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	(void)close(fd);
	return a.sin_port;
}

static void start_server(struct chunk_server_config config)
{
	char address[64];
	struct err e = {""};
	int r;

	where = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = free_port(), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	(void)snprintf(address, sizeof(address), "tls:127.0.0.1:%u", ntohs(where.sin_port));
	config.listen = (const char *const[]){address};
	config.n_listen = 1;
	config.tls_certificate = config.tls_key = host_key.path;
	config.handshake_ms = HANDSHAKE_MS;
	config.stall_ms = 500;
	r = chunk_server_start(&server, &config, store, &e);
	cr_assert_eq(r, 0, "%s", e.text);
}

static void open_all(void)
{
	struct chunkstore_config config = {.cache_max_bytes = 64 << 20};
	struct err e = {""};

	(void)signal(SIGPIPE, SIG_IGN);
	scratch_open();
	config.root = scratch_path("root");
	cr_assert_eq(chunkstore_open(&store, &config, &e), 0, "%s", e.text);
	tls_key_make(&host_key, "host.pem");
	tls_key_make(&guest_key, "guest.pem");
	tls_key_make(&other_key, "other.pem");
}

static void close_all(void)
{
	chunk_server_stop(server);
	chunkstore_close(store);
	scratch_close();
}

TestSuite(guests, .init = open_all, .fini = close_all, .timeout = 60);

/* ---- A guest ---- */

struct guest {
	int fd;
	struct tls_endpoint *endpoint;
	struct tls *tls;
};

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
	return fd;
}

static void wait_want(const struct guest *g, int want)
{
	struct pollfd p = {.fd = g->fd, .events = want == TLS_WANT_READ ? POLLIN : POLLOUT};

	cr_assert_eq(poll(&p, 1, 10000), 1, "the host says nothing");
}

/* The handshake's result. */
static int guest_begin(struct guest *g, const struct tls_key *own)
{
	int r;

	g->fd = dial();
	g->endpoint = tls_endpoint_make(tls_guest_new, own, &host_key);
	cr_assert_eq(tls_new(&g->tls, g->endpoint, g->fd), 0);
	while ((r = tls_handshake(g->tls, NULL)) > 0)
		wait_want(g, r);
	return r;
}

static void guest_end(struct guest *g)
{
	tls_free(g->tls);
	tls_endpoint_free(g->endpoint);
	(void)close(g->fd);
}

static int receive(struct guest *g, uint8_t *to, size_t n)
{
	while (n > 0) {
		size_t got = 0;
		int r = tls_receive(g->tls, to, n, &got);

		if (r < 0)
			return r;
		if (r > 0)
			wait_want(g, r);
		to += got;
		n -= got;
	}
	return 0;
}

/* HELLO and its answer: 0, or what came instead. */
static int greet(struct guest *g)
{
	uint8_t raw[WIRE_HEADER_SIZE], answer[WIRE_HEADER_SIZE + 16];
	struct wire_header h = {.type = WIRE_HELLO, .id = 1};
	struct buf hello, frame;
	size_t sent = 0;
	int r;

	buf_init(&hello, 64);
	buf_init(&frame, 128);
	wire_hello_encode(&hello);
	h.size = (uint32_t)hello.size;
	wire_header_encode(&h, raw);
	buf_put(&frame, raw, sizeof(raw));
	buf_put(&frame, hello.data, hello.size);
	r = tls_send(g->tls, frame.data, frame.size, &sent);
	if (r == 0)
		r = receive(g, answer, sizeof(answer));
	if (r == 0) {
		cr_assert_eq(sent, frame.size);
		cr_assert_eq(wire_header_decode(&h, answer, false, NULL), 0);
		cr_assert_eq(h.status, WIRE_OK);
	}
	buf_deinit(&hello);
	buf_deinit(&frame);
	return r;
}

static struct chunk_server_stats stats(void)
{
	struct chunk_server_stats s;

	chunk_server_stats(server, &s);
	return s;
}

/* Until the server has no connection any more. */
static void expect_none(void)
{
	for (int i = 0; i < 200 && stats().connections > 0; i++)
		(void)usleep(20000);
	cr_assert_eq(stats().connections, 0);
}

static bool is_closed(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[4096];

	while (poll(&p, 1, timeout_ms) == 1)
		if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			return true;
	return false;
}

Test(guests, are_served_in_tls)
{
	struct guest g;

	start_server((struct chunk_server_config){0});
	cr_assert_eq(guest_begin(&g, NULL), 0);
	cr_assert_eq(greet(&g), 0);
	guest_end(&g);
	expect_none();
	cr_assert_eq(stats().broken, 0, "going without a word is no fault");
}

Test(guests, are_known_by_their_keys)
{
	struct guest known, other, none;

	start_server((struct chunk_server_config){.tls_guests = &guest_key.pin, .n_tls_guests = 1});
	cr_assert_eq(guest_begin(&known, &guest_key), 0);
	cr_assert_eq(greet(&known), 0);
	cr_assert_eq(guest_begin(&other, &other_key), 0);
	cr_assert_lt(greet(&other), 0);
	cr_assert_eq(guest_begin(&none, NULL), 0);
	cr_assert_lt(greet(&none), 0);
	cr_assert_eq(stats().broken, 2);
	cr_assert_eq(stats().requests, 1);
	guest_end(&known);
	guest_end(&other);
	guest_end(&none);
}

/* What is no TLS, or not enough of it, ends by the handshake's deadline at the latest. */
Test(guests, strangers_are_let_go)
{
	static const char *const openings[] = {
		"", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\n\r\n", "COCOONW1", "\x16\x03\x01\x00\x00",
	};
	int64_t began;

	start_server((struct chunk_server_config){0});
	for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
		int fd = dial();

		began = now_ms();
		cr_assert_eq(write(fd, openings[i], strlen(openings[i])), (ssize_t)strlen(openings[i]));
		cr_assert(is_closed(fd, 10000), "%zu", i);
		cr_assert_lt(now_ms() - began, HANDSHAKE_MS + 2000, "%zu", i);
		(void)close(fd);
	}
	expect_none();
	cr_assert_eq(stats().broken, sizeof(openings) / sizeof(openings[0]));
}

/* A byte now and then does not push the deadline away. */
Test(guests, a_slow_handshake_has_one_deadline)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, for ever";
	int64_t began = now_ms();
	int fd;

	start_server((struct chunk_server_config){0});
	fd = dial();
	for (size_t i = 0; i < sizeof(hello) - 1 && !is_closed(fd, HANDSHAKE_MS / 4); i++)
		if (send(fd, hello + i, 1, MSG_NOSIGNAL) != 1)
			break;
	cr_assert_lt(now_ms() - began, HANDSHAKE_MS + 2000);
	(void)close(fd);
	expect_none();
}

/* They count, they leave room for guests, and their room comes back. */
Test(guests, strangers_have_a_limit_of_their_own)
{
	int fds[20], alive = 0;
	struct guest g;

	start_server((struct chunk_server_config){.max_connections = 16});
	for (int i = 0; i < 20; i++)
		fds[i] = dial();
	(void)usleep(HANDSHAKE_MS * 1000 / 4);
	for (int i = 0; i < 20; i++)
		alive += !is_closed(fds[i], 0);
	cr_assert_eq(alive, 4, "%d", alive);
	cr_assert_eq(stats().refused, 16);
	for (int i = 0; i < 20; i++)
		cr_assert(is_closed(fds[i], 5000));
	for (int i = 0; i < 20; i++)
		(void)close(fds[i]);
	expect_none();
	cr_assert_eq(guest_begin(&g, NULL), 0);
	cr_assert_eq(greet(&g), 0);
	guest_end(&g);
}

Test(guests, half_a_record_stalls_nobody)
{
	static const char half[] = "\x17\x03\x03\x40\x00 half";
	struct guest g, other;

	start_server((struct chunk_server_config){0});
	cr_assert_eq(guest_begin(&g, NULL), 0);
	cr_assert_eq(greet(&g), 0);
	cr_assert_eq(write(g.fd, half, sizeof(half)), (ssize_t)sizeof(half));
	cr_assert_eq(guest_begin(&other, NULL), 0);
	cr_assert_eq(greet(&other), 0);
	guest_end(&other);
	chunk_server_stop(server); /* ends although the record never does */
	server = NULL;
	cr_assert(is_closed(g.fd, 5000));
	guest_end(&g);
}

Test(guests, a_damaged_record_ends_one_connection)
{
	static const char damaged[] = "\x17\x03\x03\x00\x14"
				      "01234567890123456789";
	struct guest g;

	start_server((struct chunk_server_config){0});
	cr_assert_eq(guest_begin(&g, NULL), 0);
	cr_assert_eq(greet(&g), 0);
	cr_assert_eq(write(g.fd, damaged, sizeof(damaged) - 1), (ssize_t)sizeof(damaged) - 1);
	cr_assert(is_closed(g.fd, 5000));
	cr_assert_eq(stats().broken, 1);
	guest_end(&g);
}

/* A CID, a path or an address is somebody else's tomorrow. */
Test(guests, no_limit_outlives_the_connections_it_counts)
{
	int pairs[3][2];

	start_server((struct chunk_server_config){.max_connections_per_peer = 2});
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++) {
			cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
			cr_assert_eq(chunk_server_adopt(server, pairs[i][0], "vsock:77"), i < 2 ? 0 : -EBUSY);
		}
		for (int i = 0; i < 3; i++)
			(void)close(pairs[i][1]);
		expect_none();
	}
}

/* ---- Names ---- */

static const char *name_of(const void *from, size_t size, int r, const char *machine)
{
	static struct peer p;
	struct sockaddr_storage storage = {0};
	int got;

	memcpy(&storage, from, size);
	got = peer_identify(&p, -1, &storage, NULL);
	cr_assert_eq(got, r, "%s: %d", p.name, got);
	cr_assert_str_eq(p.machine, machine);
	return p.name;
}

Test(guests, have_names_by_vsock)
{
	const struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = 3, .svm_port = 1024},
				 local = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = 7},
				 host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 7};

	cr_assert_str_eq(name_of(&a, sizeof(a), 0, "vsock:3"), "vsock:3:1024");
	cr_assert_str_eq(name_of(&local, sizeof(local), -EACCES, "vsock:1"), "vsock:1:7");
	cr_assert_str_eq(name_of(&host, sizeof(host), -EACCES, "vsock:2"), "vsock:2:7");
}

Test(guests, have_names_by_ip)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(99)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(99)};

	cr_assert_eq(inet_pton(AF_INET, "10.1.2.3", &in.sin_addr), 1);
	cr_assert_str_eq(name_of(&in, sizeof(in), 0, "tls:10.1.2.3"), "tls:10.1.2.3:99");
	cr_assert_eq(inet_pton(AF_INET6, "::ffff:10.1.2.3", &in6.sin6_addr), 1);
	cr_assert_str_eq(name_of(&in6, sizeof(in6), 0, "tls:10.1.2.3"), "tls:10.1.2.3:99");
	/* who has one address of a network of 2^64 has them all */
	cr_assert_eq(inet_pton(AF_INET6, "fd00:1:2:3:4:5:6:7", &in6.sin6_addr), 1);
	cr_assert_str_eq(name_of(&in6, sizeof(in6), 0, "tls:fd00:1:2:3::"), "tls:[fd00:1:2:3:4:5:6:7]:99");
}

Test(guests, have_names_by_unix_socket)
{
	const struct sockaddr_storage from = {.ss_family = AF_UNIX};
	char expected[64];
	struct peer p;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(peer_identify(&p, pair[0], &from, NULL), 0);
	(void)snprintf(expected, sizeof(expected), "unix:uid=%u,pid=%d", (unsigned)getuid(), (int)getpid());
	cr_assert_str_eq(p.name, expected);
	cr_assert_str_eq(p.machine, "", "who comes by the unix socket may be anybody");
	peer_set(&p, "hybrid:/x");
	cr_assert_str_eq(p.machine, "hybrid:/x");
	(void)close(pair[0]);
	(void)close(pair[1]);
}

Test(guests, a_key_is_part_of_the_name)
{
	struct digest pin = {{0}};
	struct peer p;

	peer_set(&p, "tls:[fd00:1111:2222:3333:4444:5555:6666:7777]:65535");
	peer_add_key(&p, &pin);
	cr_assert_str_eq(p.name, "tls:[fd00:1111:2222:3333:4444:5555:6666:7777]:65535,key=sha256:"
				 "0000000000000000000000000000000000000000000000000000000000000000");
	peer_set(&p, "tls:x");
	peer_add_key(&p, NULL);
	cr_assert_str_eq(p.name, "tls:x,key=none");
}
