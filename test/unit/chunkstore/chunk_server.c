/* SPDX-License-Identifier: Apache-2.0
 * The server as its guests see it, well-behaved ones and hostile ones. */
#include "chunkstore/chunk_server.h"
#include "../scratch.h"
#include "chunkstore/clock.h"
#include "fake_registry.h"
#include "proto/base/io.h"
#include "proto/wire/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct fake_registry fake;
static struct fake_image image;
static struct chunkstore *store;
static struct chunk_server *server;
static char reference[128];

static void start_server(struct chunk_server_config config)
{
	struct err e;

	config.stall_ms = config.stall_ms ? config.stall_ms : 500;
	cr_assert_eq(chunk_server_start(&server, &config, store, &e), 0, "%s", e.text);
}

static void open_all(void)
{
	struct chunkstore_config config = {
		.registry = {.patience_ms = 800, .docker_config = "/dev/null/none"}};
	struct err e;

	scratch_open();
	fake_start(&fake);
	config.registry.plain_http = (const char *const[]){fake.host};
	config.registry.n_plain_http = 1;
	config.root = scratch_path("root");
	cr_assert_eq(chunkstore_open(&store, &config, &e), 0, "%s", e.text);
	(void)snprintf(reference, sizeof(reference), "%s/a/b:1", fake.host);
	image = (struct fake_image){.n_chunks = 1000, .n_meta = 3, .chunk_size = 10000, .seed = 7};
	fake_image_make(&image);
	fake_image_add(&fake, &image, "1");
	start_server((struct chunk_server_config){.n_listen = 0});
}

static void close_all(void)
{
	registry_client_stop(store->registry);
	chunk_server_stop(server);
	chunkstore_close(store);
	fake_image_free(&image);
	fake_stop(&fake);
	scratch_close();
}

TestSuite(chunk_server, .init = open_all, .fini = close_all, .timeout = 60);

/* A guest: one end of a socket, and the answer that came last. */
static int guest = -1;
static struct wire_header answer;
static uint8_t payload[WIRE_MAX_PAYLOAD];

static void join_server(void)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(chunk_server_adopt(server, pair[0], "test"), 0);
	if (guest >= 0)
		(void)close(guest);
	guest = pair[1];
}

static void send_frame(enum wire_type type, uint64_t id, const struct buf *b)
{
	struct wire_header h = {(uint32_t)b->size, type, WIRE_OK, id};
	uint8_t raw[WIRE_HEADER_SIZE];

	wire_header_encode(&h, raw);
	cr_assert_eq(write_full(guest, raw, sizeof(raw)), 0);
	cr_assert_eq(write_full(guest, b->data, b->size), 0);
}

/* False: the server closed. */
static bool receive(void)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	struct err e;

	if (read_full(guest, raw, sizeof(raw)) < 0)
		return false;
	cr_assert_eq(wire_header_decode(&answer, raw, false, &e), 0, "%s", e.text);
	return read_full(guest, payload, answer.size) == 0;
}

static void say_hello(void)
{
	struct buf b;
	uint32_t max;

	buf_init(&b, 100);
	wire_hello_encode(&b);
	send_frame(WIRE_HELLO, 1, &b);
	buf_deinit(&b);
	cr_assert(receive());
	cr_assert_eq(answer.status, WIRE_OK);
	cr_assert_eq(wire_welcome_decode(&max, payload, answer.size, NULL), 0);
	cr_assert_eq(max, 64);
}

static void ask_open(uint64_t id, const char *text)
{
	struct buf b;

	buf_init(&b, 2000);
	wire_open_encode(&b, text, strlen(text));
	send_frame(WIRE_OPEN, id, &b);
	buf_deinit(&b);
}

static void open_image(void)
{
	struct wire_opened o;

	ask_open(2, reference);
	cr_assert(receive());
	cr_assert_eq(answer.status, WIRE_OK, "%.*s", (int)answer.size - 4, (char *)payload + 4);
	cr_assert_eq(wire_opened_decode(&o, payload, answer.size, NULL), 0);
	cr_assert_eq(o.handle, 0);
	cr_assert_eq(o.manifest_size, strlen(image.manifest));
	cr_assert_eq(memcmp(o.manifest, image.manifest, o.manifest_size), 0);
	cr_assert_eq(memcmp(o.descriptor, image.index + image.index_size - DESCRIPTOR_SIZE, DESCRIPTOR_SIZE),
		     0);
}

static void join_and_open(void)
{
	join_server();
	say_hello();
	open_image();
}

static void ask_chunks(uint64_t id, uint32_t handle, bool ahead, uint32_t first, uint32_t count)
{
	struct wire_chunks q = {.handle = handle, .ahead = ahead, .n_runs = 1, .runs = {{first, count}}};
	struct buf b;

	buf_init(&b, 2000);
	wire_chunks_encode(&b, &q);
	send_frame(WIRE_CHUNKS, id, &b);
	buf_deinit(&b);
}

/* The next answer is a chunk of this image; its number. */
static uint32_t receive_chunk(uint64_t id)
{
	const uint8_t *stored;
	uint32_t number;
	size_t n;

	cr_assert(receive());
	cr_assert_eq(answer.id, id);
	cr_assert_eq(answer.status, WIRE_OK, "%.*s", (int)answer.size - 4, (char *)payload + 4);
	cr_assert_eq(wire_chunk_decode(&number, &stored, &n, payload, answer.size, NULL), 0);
	cr_assert_eq(n, image.entries[number].stored_size);
	cr_assert_eq(memcmp(stored, fake_chunk(&image, number), n), 0);
	return number;
}

static void expect_failure(uint64_t id, enum wire_status status)
{
	cr_assert(receive());
	cr_assert_eq(answer.id, id);
	cr_assert_eq(answer.status, status, "%u: %.*s", answer.status, (int)answer.size - 4,
		     (char *)payload + 4);
}

static void expect_closed(void)
{
	uint8_t byte;

	cr_assert_leq(recv(guest, &byte, 1, 0), 0);
}

Test(chunk_server, serves_an_image)
{
	bool seen[256] = {false};
	struct buf b;

	join_and_open();
	ask_chunks(3, 0, false, 0, 256);
	for (int i = 0; i < 256; i++)
		seen[receive_chunk(3)] = true;
	for (int i = 0; i < 256; i++)
		cr_assert(seen[i]);
	/* from the cache now */
	FAKE_SET(&fake, fail_next, 1000);
	FAKE_SET(&fake, fail_status, 404);
	ask_chunks(4, 0, true, 100, 3);
	for (int i = 0; i < 3; i++)
		(void)receive_chunk(4);
	buf_init(&b, 100);
	wire_index_encode(&b, &(struct wire_index){0, 500, 64});
	send_frame(WIRE_INDEX, 5, &b);
	buf_deinit(&b);
	cr_assert(receive());
	cr_assert_eq(answer.size, 500);
	cr_assert_eq(memcmp(payload, image.index + 64, 500), 0);
}

Test(chunk_server, answers_a_number_as_often_as_it_was_asked)
{
	struct wire_chunks q = {.n_runs = 3, .runs = {{7, 1}, {7, 1}, {6, 2}}};
	unsigned sevens = 0;
	struct buf b;

	join_and_open();
	buf_init(&b, 100);
	wire_chunks_encode(&b, &q);
	send_frame(WIRE_CHUNKS, 3, &b);
	buf_deinit(&b);
	for (int i = 0; i < 4; i++)
		sevens += receive_chunk(3) == 7;
	cr_assert_eq(sevens, 3);
}

Test(chunk_server, gives_the_same_image_the_same_handle)
{
	join_and_open();
	open_image();
}

Test(chunk_server, tells_what_went_wrong)
{
	struct buf b;

	join_and_open();
	ask_chunks(3, 0, false, 999, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert(receive());
		cr_assert_eq(answer.status, get_le32(payload) == 999 ? WIRE_OK : WIRE_NOT_FOUND);
	}
	ask_chunks(4, 1, false, 5, 2);
	expect_failure(4, WIRE_INVALID);
	expect_failure(4, WIRE_INVALID);
	buf_init(&b, 100);
	wire_index_encode(&b, &(struct wire_index){0, 1, image.descriptor.meta_offset});
	send_frame(WIRE_INDEX, 5, &b);
	expect_failure(5, WIRE_INVALID);
	buf_deinit(&b);
	ask_open(6, "not a name!");
	expect_failure(6, WIRE_INVALID);
	(void)snprintf(reference, sizeof(reference), "%s/a/b:none", fake.host);
	ask_open(7, reference);
	expect_failure(7, WIRE_NOT_FOUND);
	FAKE_SET(&fake, fail_next, 1);
	FAKE_SET(&fake, fail_status, 403);
	ask_open(8, reference);
	expect_failure(8, WIRE_DENIED);
	FAKE_SET(&fake, fail_next, 1000);
	FAKE_SET(&fake, fail_status, 500);
	ask_open(9, reference);
	expect_failure(9, WIRE_UNAVAILABLE);
	ask_chunks(10, 0, false, 800, 1);
	expect_failure(10, WIRE_UNAVAILABLE);
	cr_assert_eq(get_le32(payload), 800);
}

Test(chunk_server, opens_only_registries_that_are_allowed)
{
	chunk_server_stop(server);
	start_server((struct chunk_server_config){.registries = (const char *const[]){"example.org"},
						  .n_registries = 1});
	join_server();
	say_hello();
	ask_open(2, reference);
	expect_failure(2, WIRE_DENIED);
	cr_assert_eq(fake_count(&fake, &fake.requests), 0);
}

Test(chunk_server, ends_connections_that_break_the_rules)
{
	const struct {
		const char *what;
		uint8_t bytes[64];
		size_t n;
		bool greeted;
	} cases[] = {
		{"an HTTP request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, false},
		{"a size of 2^31", {0, 0, 0, 0x80, 1, 0, 0, 0, 1}, 16, false},
		{"a size of 2^32-1", {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1}, 16, false},
		{"a size that no request has", {0, 8, 0, 0, 2, 0, 0, 0, 1}, 16, true},
		{"type 0", {0, 0, 0, 0, 0, 0, 0, 0, 1}, 16, true},
		{"type 5", {0, 0, 0, 0, 5, 0, 0, 0, 1}, 16, true},
		{"a status", {0, 0, 0, 0, 3, 0, 1, 0, 1}, 16, true},
		{"id 0", {16, 0, 0, 0, 3, 0, 0, 0, 0}, 16, true},
		{"open before hello",
		 {5, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'x'},
		 21,
		 false},
		{"hello twice",
		 {16, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 'C', 'O', 'C', 'O', 'O', 'N', 'W', '1', 1},
		 32,
		 true},
		{"an empty open", {4, 0, 0, 0, 2, 0, 0, 0, 9}, 20, true},
		{"chunks of no range", {12, 0, 0, 0, 4, 0, 0, 0, 9}, 28, true},
		{"an empty range",
		 {20, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		 36,
		 true},
		{"an index of 0 bytes", {16, 0, 0, 0, 3, 0, 0, 0, 9}, 32, true},
	};
	struct chunk_server_stats s;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		join_server();
		if (cases[i].greeted)
			say_hello();
		cr_assert_eq(write_full(guest, cases[i].bytes, cases[i].n), 0);
		expect_closed();
	}
	chunk_server_stats(server, &s);
	cr_assert_eq(s.broken, sizeof(cases) / sizeof(cases[0]));
	join_and_open();
}

Test(chunk_server, ends_a_connection_that_uses_an_open_id_again)
{
	join_and_open();
	FAKE_SET(&fake, delay_ms, 100);
	ask_chunks(3, 0, false, 500, 1);
	ask_chunks(3, 0, false, 501, 1);
	expect_closed();
}

Test(chunk_server, refuses_another_version)
{
	static const uint8_t hello[] = {16,  0,	  0,   0,   1,	 0,   0,   0,	9, 0, 0, 0, 0, 0, 0, 0,
					'C', 'O', 'C', 'O', 'O', 'N', 'W', '1', 2, 0, 0, 0, 0, 0, 0, 0};

	join_server();
	cr_assert_eq(write_full(guest, hello, sizeof(hello)), 0);
	expect_failure(9, WIRE_UNSUPPORTED);
	expect_closed();
}

Test(chunk_server, ends_a_frame_that_stalls)
{
	int64_t start = now_ms();

	join_and_open();
	cr_assert_eq(write_full(guest, "\x10\0\0", 3), 0);
	expect_closed();
	cr_assert_geq(now_ms() - start, 450);
}

Test(chunk_server, lets_a_silent_guest_live)
{
	join_and_open();
	(void)usleep(700000);
	ask_chunks(3, 0, false, 5, 1);
	(void)receive_chunk(3);
}

Test(chunk_server, ends_a_guest_that_does_not_read)
{
	struct chunk_server_stats s;

	join_and_open();
	for (uint64_t id = 10; id < 20; id++)
		ask_chunks(id, 0, false, 0, 256);
	for (int i = 0; i < 60; i++) {
		(void)usleep(50000);
		chunk_server_stats(server, &s);
		if (s.broken > 0)
			break;
	}
	cr_assert_eq(s.broken, 1);
}

Test(chunk_server, answers_busy_over_the_limit_of_open_requests)
{
	unsigned busy = 0, ok = 0;

	join_and_open();
	FAKE_SET(&fake, delay_ms, 300);
	for (uint64_t id = 10; id < 10 + 70; id++)
		ask_chunks(id, 0, false, 500 + (uint32_t)id, 1);
	for (int i = 0; i < 70; i++) {
		cr_assert(receive());
		busy += answer.status == WIRE_BUSY;
		ok += answer.status == WIRE_OK;
	}
	cr_assert_eq(ok + busy, 70);
	cr_assert_geq(ok, 64);
	cr_assert_gt(busy, 0);
}

Test(chunk_server, is_never_busy_for_a_guest_that_keeps_the_limit)
{
	uint64_t id = 100;

	join_and_open();
	for (; id < 100 + 64; id++)
		ask_chunks(id, 0, false, 5, 1);
	for (int i = 0; i < 5000; i++) {
		cr_assert(receive());
		cr_assert_eq(answer.status, WIRE_OK);
		ask_chunks(id++, 0, false, 5, 1);
	}
}

/* A guest sends OPEN behind HELLO, before it has been told the limit. */
Test(chunk_server, does_not_count_hello_among_open_requests)
{
	uint8_t frames[2 * WIRE_HEADER_SIZE + 400];
	struct buf hello, ask;
	struct wire_header h;

	chunk_server_stop(server);
	start_server((struct chunk_server_config){.n_listen = 0, .max_open = 1});
	buf_init(&hello, 100);
	buf_init(&ask, 300);
	wire_hello_encode(&hello);
	wire_open_encode(&ask, reference, strlen(reference));
	for (int i = 0; i < 100; i++) {
		join_server();
		h = (struct wire_header){(uint32_t)hello.size, WIRE_HELLO, WIRE_OK, 1};
		wire_header_encode(&h, frames);
		memcpy(frames + WIRE_HEADER_SIZE, hello.data, hello.size);
		h = (struct wire_header){(uint32_t)ask.size, WIRE_OPEN, WIRE_OK, 2};
		wire_header_encode(&h, frames + WIRE_HEADER_SIZE + hello.size);
		memcpy(frames + 2 * WIRE_HEADER_SIZE + hello.size, ask.data, ask.size);
		cr_assert_eq(write_full(guest, frames, 2 * WIRE_HEADER_SIZE + hello.size + ask.size), 0);
		cr_assert(receive());
		cr_assert_eq(answer.type, WIRE_HELLO);
		cr_assert(receive());
		cr_assert_eq(answer.type, WIRE_OPEN);
		cr_assert_eq(answer.status, WIRE_OK);
	}
	buf_deinit(&hello);
	buf_deinit(&ask);
}

Test(chunk_server, serves_all_of_a_request_larger_than_may_be_fetched_at_once)
{
	chunk_server_stop(server);
	start_server((struct chunk_server_config){.max_fetch_bytes = 25000, .max_chunks = 100});
	join_and_open();
	for (uint64_t id = 10; id < 13; id++)
		ask_chunks(id, 0, false, 256 * (uint32_t)(id - 10), 200);
	for (int i = 0; i < 600; i++) {
		cr_assert(receive());
		cr_assert_eq(answer.status, WIRE_OK);
	}
}

Test(chunk_server, lets_demand_pass_what_is_ahead_of_need)
{
	join_and_open();
	ask_chunks(3, 0, false, 0, 256);
	for (int i = 0; i < 256; i++)
		(void)receive_chunk(3);
	ask_chunks(4, 0, true, 0, 256); /* 2.5 MB: more than the socket holds */
	(void)usleep(50000);
	ask_chunks(5, 0, false, 1, 1);
	for (int i = 0; i < 257; i++) {
		cr_assert(receive());
		if (answer.id == 5) {
			cr_assert_lt(i, 250);
			return;
		}
	}
	cr_assert(false);
}

Test(chunk_server, survives_guests_that_vanish_while_chunks_come)
{
	struct fetcher_stats s;

	FAKE_SET(&fake, delay_ms, 20);
	for (uint32_t round = 0; round < 20; round++) {
		join_and_open();
		ask_chunks(3, 0, false, round * 40, 40);
		ask_chunks(4, 0, true, 900, 100);
		if (round % 2)
			(void)usleep(round * 2000);
	}
	(void)close(guest);
	guest = -1;
	for (int i = 0; i < 100; i++) {
		(void)usleep(20000);
		fetcher_stats(store->fetcher, &s);
		if (s.waiting == 0)
			break;
	}
	cr_assert_eq(s.waiting, 0);
	join_and_open();
	ask_chunks(3, 0, false, 77, 1);
	(void)receive_chunk(3);
}

static unsigned count_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

Test(chunk_server, holds_a_thousand_connections_to_its_limit)
{
	int fds[1000];
	unsigned refused = 0, before;
	struct chunk_server_stats s;

	chunk_server_stop(server);
	start_server((struct chunk_server_config){.max_connections = 50});
	before = count_fds();
	for (int i = 0; i < 1000; i++) {
		int pair[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		fds[i] = pair[1];
		refused += chunk_server_adopt(server, pair[0], "test") == -EBUSY;
	}
	cr_assert_eq(refused, 950);
	for (int i = 0; i < 1000; i++)
		(void)close(fds[i]);
	for (int i = 0; i < 100; i++) {
		(void)usleep(50000);
		chunk_server_stats(server, &s);
		if (s.connections == 0)
			break;
	}
	cr_assert_eq(s.connections, 0);
	cr_assert_leq(count_fds(), before);
	join_and_open();
}

Test(chunk_server, listens_on_a_unix_socket)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct chunk_server_config config = {.n_listen = 1, .unix_mode = 0666};
	struct chunk_server *second;
	char address[128];
	struct stat st;
	struct err e;
	int stale;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", scratch);
	(void)snprintf(address, sizeof(address), "unix:%s", a.sun_path);
	config.listen = (const char *const[]){address};
	/* somebody who died left this */
	stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(stale, (struct sockaddr *)&a, sizeof(a)), 0);
	(void)close(stale);
	chunk_server_stop(server);
	start_server(config);
	cr_assert_eq(stat(a.sun_path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0666);
	cr_assert_eq(chunk_server_start(&second, &config, store, &e), -EADDRINUSE);
	guest = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(guest, (struct sockaddr *)&a, sizeof(a)), 0);
	say_hello();
	open_image();
	chunk_server_stop(server);
	cr_assert_neq(access(a.sun_path, F_OK), 0);
	expect_closed();
	start_server((struct chunk_server_config){.n_listen = 0});
}

Test(chunk_server, listens_on_vsock)
{
	struct chunk_server_config config = {.n_listen = 1};
	struct chunk_server *second;
	char address[64];
	struct err e = {""};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return; /* a kernel without vsock */
	(void)close(fd);
	(void)snprintf(address, sizeof(address), "vsock:any:%d", 100000 + (int)getpid());
	config.listen = (const char *const[]){address};
	cr_assert_eq(chunk_server_start(&second, &config, store, &e), 0, "%s", e.text);
	chunk_server_stop(second);
}

Test(chunk_server, leaves_alone_what_is_not_a_socket)
{
	struct chunk_server_config config = {.n_listen = 1};
	struct chunk_server *second;
	char address[128];
	struct err e;
	int fd;

	(void)snprintf(address, sizeof(address), "unix:%s/file", scratch);
	config.listen = (const char *const[]){address};
	fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
	(void)close(fd);
	cr_assert_eq(chunk_server_start(&second, &config, store, &e), -EEXIST);
	cr_assert_eq(access(address + 5, F_OK), 0);
}

static void *one_guest(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	uint8_t raw[WIRE_HEADER_SIZE], *got = malloc(WIRE_MAX_PAYLOAD);
	char name[32];
	int pair[2];
	struct buf b;
	bool ok = true;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	(void)snprintf(name, sizeof(name), "guest %d", pair[1]); /* of a machine each */
	cr_assert_eq(chunk_server_adopt(server, pair[0], name), 0);
	buf_init(&b, 1 << 20);
	for (unsigned id = 1; ok && id < 60; id++) {
		struct wire_header h = {.id = id,
					.type = id == 1	  ? WIRE_HELLO
						: id == 2 ? WIRE_OPEN
							  : WIRE_CHUNKS};
		struct wire_chunks q = {.n_runs = 1, .runs = {{(seed * 37 + id * 101) % 900, id % 30 + 1}}};
		uint32_t answers = id < 3 ? 1 : q.runs[0].count;

		b.size = 0;
		if (id == 1)
			wire_hello_encode(&b);
		else if (id == 2)
			wire_open_encode(&b, reference, strlen(reference));
		else
			wire_chunks_encode(&b, &q);
		h.size = (uint32_t)b.size;
		wire_header_encode(&h, raw);
		ok = write_full(pair[1], raw, sizeof(raw)) == 0 && write_full(pair[1], b.data, b.size) == 0;
		for (; ok && answers > 0; answers--) {
			ok = read_full(pair[1], raw, sizeof(raw)) == 0 &&
			     wire_header_decode(&h, raw, false, NULL) == 0 && h.status == WIRE_OK &&
			     h.id == id && read_full(pair[1], got, h.size) == 0;
			if (ok && id > 2)
				ok = memcmp(got + 4, fake_chunk(&image, get_le32(got)), h.size - 4) == 0;
		}
	}
	buf_deinit(&b);
	free(got);
	(void)close(pair[1]);
	return ok ? arg : NULL;
}

/* On a busy machine a guest among many may be late to read. */
static void start_patient_server(void)
{
	chunk_server_stop(server);
	start_server((struct chunk_server_config){.stall_ms = 30000});
}

Test(chunk_server, serves_many_guests_and_fetches_once)
{
	pthread_t threads[20];
	struct fetcher_stats s;

	start_patient_server();
	for (uintptr_t i = 0; i < 20; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, one_guest, (void *)(i + 1)), 0);
	for (int i = 0; i < 20; i++) {
		void *result;

		(void)pthread_join(threads[i], &result);
		cr_assert_not_null(result);
	}
	fetcher_stats(store->fetcher, &s);
	cr_assert_leq(s.chunks, 997);
	cr_assert_eq(s.failures, 0);
}

Test(chunk_server, fetches_once_for_a_hundred_guests_of_one_image)
{
	enum { GUESTS = 100, SEED = 5 };
	bool wanted[1000] = {false};
	pthread_t threads[GUESTS];
	uint64_t n = 0, bytes = 0;
	struct fetcher_stats s;

	start_patient_server();
	/* what one_guest() asks for */
	for (unsigned id = 3; id < 60; id++)
		for (unsigned k = 0; k < id % 30 + 1; k++)
			wanted[(SEED * 37 + id * 101) % 900 + k] = true;
	for (uint32_t k = image.n_meta; k < 1000; k++) { /* the metadata came along with the small index */
		n += wanted[k];
		bytes += wanted[k] ? image.entries[k].stored_size : 0;
	}
	for (int i = 0; i < GUESTS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, one_guest, (void *)(uintptr_t)SEED), 0);
	for (int i = 0; i < GUESTS; i++) {
		void *result;

		(void)pthread_join(threads[i], &result);
		cr_assert_not_null(result);
	}
	fetcher_stats(store->fetcher, &s);
	cr_assert_eq(s.chunks, n);
	cr_assert_leq(s.bytes, bytes + s.requests * (64u << 10)); /* and what lies between them */
}
