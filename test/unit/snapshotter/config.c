/* SPDX-License-Identifier: Apache-2.0
 * The configuration file: defaults, every field, and refusals that say where. */
#include "snapshotter/config.h"

#include "test/unit/scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TLS(address, guests)                                                                                 \
	"chunks:\n  tls:\n    certificate: /c\n    key: /k\n    " address "\n    " guests "\n"

static int load(const char *text, struct config *c, struct err *e)
{
	const char *path = scratch_path("config.yaml");
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
	return config_load(c, path, e);
}

TestSuite(config, .init = scratch_open, .fini = scratch_close);

Test(config, has_defaults)
{
	struct config c;

	cr_assert_eq(config_load(&c, NULL, NULL), 0);
	cr_assert_eq(config_complete(&c), 0);
	cr_assert_str_eq(c.address, "/run/cocoon/snapshotter.sock");
	cr_assert_str_eq(c.root, "/var/lib/cocoon");
	cr_assert_str_eq(c.chunk_socket, "/run/cocoon/chunks.sock");
	cr_assert_eq(c.vsock_port, 0);
	cr_assert_eq(c.n_hybrid_sockets, 4);
	cr_assert_null(c.tls.address);
	cr_assert_str_eq(c.hybrid_sockets[0], "/run/vc/vm/*/clh.sock");
	cr_assert_eq(c.cache_max_bytes, 20ull << 30);
	cr_assert_str_eq(c.local.guestfs, "cocoon-guestfs");
	cr_assert_str_eq(c.local.snapshotter, "cocoon");
	cr_assert_str_eq(c.kata.snapshotter, "cocoon-kata");
	cr_assert_str_eq(c.kata.plain_images, "host");
	cr_assert_str_eq(c.local.front, "auto");
	cr_assert_eq(c.local.timeout_seconds, 60);
	cr_assert_null(c.metrics);
	config_deinit(&c);
}

Test(config, hybrid_sockets_can_be_none)
{
	struct config c;
	struct err e = {""};

	cr_assert_eq(load("chunks:\n  hybrid_sockets: [ none ]\n", &c, &e), 0, "%s", e.text);
	cr_assert_eq(c.n_hybrid_sockets, 0);
	config_deinit(&c);
	cr_assert_eq(load("chunks:\n  hybrid_sockets: [ \"v\" ]\n", &c, &e), -EINVAL);
	cr_assert_not_null(strstr(e.text, "absolute"));
}

Test(config, another_root_has_its_own_chunk_socket)
{
	struct config c;

	cr_assert_eq(load("root: /srv/c\n", &c, NULL), 0);
	cr_assert_eq(config_complete(&c), 0);
	cr_assert_str_eq(c.chunk_socket, "/srv/c/chunks.sock");
	config_deinit(&c);
}

Test(config, reads_every_field)
{
	static const char text[] =
		"address: /a\nroot: /r\n"
		"chunks:\n  socket: /c\n  vsock_port: 7681\n  hybrid_sockets: [ \"/v/*\" ]\n  "
		"cache_max_bytes: 1000\n  max_connections: 9\n"
		"  tls:\n    address: tls:10.1.2.3:7681\n    certificate: /cert\n    key: /key\n"
		"    guests: [ \"" PIN "\" ]\n"
		"registry:\n  ca_file: /ca\n  docker_config: /d\n  plain_http: [ \"h:1\", \"h:2\" ]\n"
		"  allowed: [ \"h:1\" ]\n"
		"kata:\n  snapshotter: k\n  plain_images: guest\n"
		"local:\n  snapshotter: l\n  guestfs: /g\n  front: tree\n  keys:\n    - file:/k\n  "
		"cache_bytes: 5\n"
		"  timeout_seconds: 7\n"
		"metrics:\n  address: 127.0.0.1:1\n";
	struct config c;
	struct err e = {""};

	cr_assert_eq(load(text, &c, &e), 0, "%s", e.text);
	cr_assert_str_eq(c.address, "/a");
	cr_assert_str_eq(c.root, "/r");
	cr_assert_str_eq(c.chunk_socket, "/c");
	cr_assert_eq(c.vsock_port, 7681);
	cr_assert_eq(c.n_hybrid_sockets, 1);
	cr_assert_str_eq(c.hybrid_sockets[0], "/v/*");
	cr_assert_eq(c.cache_max_bytes, 1000);
	cr_assert_eq(c.max_connections, 9);
	cr_assert_str_eq(c.tls.address, "tls:10.1.2.3:7681");
	cr_assert_str_eq(c.tls.certificate, "/cert");
	cr_assert_str_eq(c.tls.key, "/key");
	cr_assert_eq(c.tls.n_guests, 1);
	cr_assert_eq(c.tls.guests[0].bytes[31], 0xff);
	cr_assert_str_eq(c.registry.ca_file, "/ca");
	cr_assert_str_eq(c.registry.docker_config, "/d");
	cr_assert_eq(c.registry.n_plain_http, 2);
	cr_assert_str_eq(c.registry.plain_http[1], "h:2");
	cr_assert_eq(c.registry.n_allowed, 1);
	cr_assert_str_eq(c.registry.allowed[0], "h:1");
	cr_assert_str_eq(c.local.snapshotter, "l");
	cr_assert_str_eq(c.kata.snapshotter, "k");
	cr_assert_str_eq(c.kata.plain_images, "guest");
	cr_assert_str_eq(c.local.guestfs, "/g");
	cr_assert_str_eq(c.local.front, "tree");
	cr_assert_eq(c.local.n_keys, 1);
	cr_assert_str_eq(c.local.keys[0], "file:/k");
	cr_assert_eq(c.local.cache_bytes, 5);
	cr_assert_eq(c.local.timeout_seconds, 7);
	cr_assert_str_eq(c.metrics, "127.0.0.1:1");
	config_deinit(&c);
}

Test(config, the_example_is_valid_and_holds_the_defaults)
{
	char path[PATH_MAX];
	struct config c, defaults;
	struct err e = {""};

	(void)snprintf(path, sizeof(path), "%s/contrib/cocoon-snapshotter.yaml", getenv("COCOON_SOURCE_DIR"));
	cr_assert_eq(config_load(&c, path, &e), 0, "%s", e.text);
	cr_assert_eq(config_load(&defaults, NULL, &e), 0);
	cr_assert_str_eq(c.address, defaults.address);
	cr_assert_eq(c.cache_max_bytes, defaults.cache_max_bytes);
	cr_assert_str_eq(c.kata.snapshotter, defaults.kata.snapshotter);
	config_deinit(&c);
	config_deinit(&defaults);
}

Test(config, tls_for_every_guest_is_said)
{
	struct config c;
	struct err e = {""};

	cr_assert_eq(load(TLS("address: \"tls:[::]:5\"", "guests: [ any ]"), &c, &e), 0, "%s", e.text);
	cr_assert_str_eq(c.tls.address, "tls:[::]:5");
	cr_assert_eq(c.tls.n_guests, 0);
	config_deinit(&c);
}

Test(config, refuses_and_says_where)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{"adress: /a\n", "adress"},
		{"root: /r\n\nchunks:\n  vsock_port: many\n", "line: 4"},
		{"chunks: [ 1 ]\n", "chunks"},
		{"chunks:\n  vsock_port: 4294967296\n", "line: 2"},
		{"local:\n  keys: /k\n", "keys"},
		{"root: relative\n", "absolute"},
		{"chunks:\n  socket: relative\n", "absolute"},
		{"local:\n  front: side\n", "front"},
		{"local:\n  timeout_seconds: 100000\n", "timeout_seconds"},
		{"local:\n  snapshotter: cocoon-kata\n", "the same"},
		{"kata:\n  plain_images: nobody\n", "plain_images"},
		{"kata:\n  keys: [ file:/k ]\n", "keys"},
		{TLS("", "guests: [ any ]"), "address"},
		{TLS("address: tls:1.2.3.4:5", ""), "guests"},
		{TLS("address: tls:1.2.3.4:5", "guests: [ ]"), "guests"},
		{TLS("address: tls:1.2.3.4:5", "guests: [ some ]"), "some"},
		{TLS("address: tls:1.2.3.4:5", "guests: [ any, any ]"), "any"},
		{TLS("address: tls:1.2.3.4", "guests: [ any ]"), "tls:ADDRESS:PORT"},
		{TLS("address: vsock:any:5", "guests: [ any ]"), "tls:ADDRESS:PORT"},
		{"chunks:\n  tls:\n    address: tls:1.2.3.4:5\n    guests: [ any ]\n", "certificate"},
		{"root: /a\nroot: *x\n", ""},
		{": : :\n", ""},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config c;
		struct err e = {""};

		cr_assert_eq(load(bad[i].text, &c, &e), -EINVAL, "%s", bad[i].text);
		cr_assert_not_null(strstr(e.text, bad[i].words), "%s: %s", bad[i].text, e.text);
		cr_assert_not_null(strstr(e.text, "config.yaml"), "%s", e.text);
	}
	cr_assert_eq(config_load(&(struct config){0}, "/nothing/here", NULL), -ENOENT);
}
