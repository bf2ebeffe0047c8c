/* SPDX-License-Identifier: Apache-2.0
 * Everything a guest can send, to a real server with one image on disk, no registry behind it and small
 * limits. The server must end the connection when the guest does, with nothing left. */
#include "chunkstore/chunk_server.h"
#include "proto/base/io.h"
#include "test/fuzz/fuzz.h"
#include "test/unit/chunkstore/fake_image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody listens there. */
#define REGISTRY "127.0.0.1:1"

static char root[] = "/dev/shm/cocoon-fuzz-XXXXXX"; /* no disk, so that nothing but us is slow */
static struct chunkstore *store;
static struct chunk_server *server;

static void remove_root(void)
{
	char command[64];

	chunk_server_stop(server);
	chunkstore_close(store);
	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	fuzz_assert(system(command) == 0);
}

/* As the image store keeps it; named REGISTRY/a/b:1. */
static void write_image(void)
{
	struct fake_image i = {.n_chunks = 100, .n_meta = 2, .chunk_size = 500, .seed = 1};
	char path[256], hex[DIGEST_HEX_SIZE];
	int dir;

	fake_image_make(&i);
	fake_image_documents(&i);
	(void)snprintf(path, sizeof(path), "%s/images/%s", root, digest_hex(&i.manifest_digest, hex));
	fuzz_assert(make_directories(path, NULL) == 0);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_assert(dir >= 0);
	fuzz_assert(file_write(dir, "manifest", i.manifest, strlen(i.manifest), 0600, NULL) == 0);
	fuzz_assert(file_write(dir, "config", i.config, strlen(i.config), 0600, NULL) == 0);
	fuzz_assert(file_write(dir, "index", i.index, i.descriptor.meta_offset, 0600, NULL) == 0);
	fuzz_assert(file_write(dir, "descriptor", i.index + i.index_size - DESCRIPTOR_SIZE, DESCRIPTOR_SIZE,
			       0600, NULL) == 0);
	fuzz_assert(file_write(dir, "names", "1 " REGISTRY "/a/b:1\n", strlen("1 " REGISTRY "/a/b:1\n"), 0600,
			       NULL) == 0);
	(void)close(dir);
	fake_image_free(&i);
}

/* Every second chunk is in the cache. */
static void fill_cache(void)
{
	struct fake_image i = {.n_chunks = 100, .n_meta = 2, .chunk_size = 500, .seed = 1};

	fake_image_make(&i);
	for (uint32_t k = 0; k < i.n_chunks; k += 2)
		fuzz_assert(chunk_cache_put(store->cache, &i.entries[k].id, fake_chunk(&i, k),
					    i.entries[k].stored_size) == 0);
	fake_image_free(&i);
}

static void start(void)
{
	static const char *const registries[] = {REGISTRY};
	struct chunkstore_config config = {.root = root,
					   .registry = {.patience_ms = 1, .docker_config = "/dev/null/none"},
					   .fetcher = {.threads = 2}};
	struct chunk_server_config serving = {.max_open = 4,
					      .max_chunks = 300,
					      .max_fetch_bytes = 1000,
					      .stall_ms = 200,
					      .registries = registries,
					      .n_registries = 1};
	struct err e;

	fuzz_assert(mkdtemp(root) != NULL);
	write_image();
	fuzz_assert(chunkstore_open(&store, &config, &e) == 0);
	fill_cache();
	fuzz_assert(chunk_server_start(&server, &serving, store, &e) == 0);
	(void)atexit(remove_root);
}

/* Write all, read all, until the server closes. */
static void converse(int fd, const uint8_t *data, size_t size)
{
	uint8_t sink[4096];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (size ? POLLOUT : 0))};

		if (poll(&p, 1, 60000) < 0 && errno == EINTR)
			continue; /* libFuzzer's alarm */
		fuzz_assert(p.revents);
		if (size && (p.revents & POLLOUT)) {
			ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

			if (n < 0 && errno != EAGAIN)
				return;
			if (n > 0) {
				data += n;
				size -= (size_t)n;
			}
			if (size == 0)
				(void)shutdown(fd, SHUT_WR);
		}
		if ((p.revents & (POLLIN | POLLHUP)) && recv(fd, sink, sizeof(sink), MSG_DONTWAIT) <= 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];

	if (!server)
		start();
	if (size == 0)
		return 0;
	fuzz_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	if (chunk_server_adopt(server, pair[0], "test") == 0)
		converse(pair[1], data, size);
	(void)close(pair[1]);
	return 0;
}
