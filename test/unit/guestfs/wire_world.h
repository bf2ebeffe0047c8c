/* SPDX-License-Identifier: Apache-2.0
 * A fake host that serves a sealed image, and an image opened at it over the wire: what the tests of the
 * wire's guest side have in common. Test(a, b, .init = set_up, .fini = tear_down) { … w.host … must_open() …
 * } */
#ifndef COCOON_TEST_WIRE_WORLD_H
#define COCOON_TEST_WIRE_WORLD_H

#include "guestfs/image.h"
#include "guestfs/source_wire.h"
#include "seal_fixture.h"
#include "source_memory.h"
#include "wire_host.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (2u << 20)
#define LITTLE_WHILE_US 50000 /* after it a host that has just failed is asked again */

struct world {
	char directory[64], path[80], address[96];
	uint8_t *plain;
	struct sealed sealed;
	struct wire_host host;
};

static struct world w;

static inline void set_up(void)
{
	uint32_t x = 99;

	(void)snprintf(w.directory, sizeof(w.directory), "/tmp/cocoon-wire-XXXXXX");
	cr_assert(mkdtemp(w.directory));
	(void)snprintf(w.path, sizeof(w.path), "%s/s", w.directory);
	(void)snprintf(w.address, sizeof(w.address), "unix:%s", w.path);
	w.plain = malloc(SIZE);
	cr_assert(w.plain);
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		w.plain[i] = (uint8_t)(x >> 28);
	}
	seal(&w.sealed, w.plain, SIZE, &(struct seal_options){.cut = 16384, .n_data_blobs = 3});
	wire_host_start(&w.host, &w.sealed, w.path);
}

static inline void tear_down(void)
{
	wire_host_stop(&w.host);
	seal_free(&w.sealed);
	free(w.plain);
	(void)unlink(w.path);
	(void)rmdir(w.directory);
}

static inline int open_and_wait(struct image **out, const char *reference, unsigned int timeout_ms,
				unsigned int wait_ms, struct err *e)
{
	struct reference ref;
	struct source *s;
	int r;

	cr_assert_eq(reference_parse(&ref, reference, e), 0);
	r = source_wire_new(&s,
			    &(struct source_wire_options){.address = w.address,
							  .reference = &ref,
							  .timeout_ms = timeout_ms,
							  .wait_ms = wait_ms},
			    e);
	cr_assert_eq(r, 0, "%s", e->text);
	r = image_open(out, s,
		       &(struct image_options){.find_key = find_given_key,
					       .find_key_arg = w.sealed.image_key,
					       .cache_bytes = 262144},
		       e);
	if (r < 0)
		s->ops->close(s);
	return r;
}

static inline int try_open(struct image **out, const char *reference, unsigned int timeout_ms, struct err *e)
{
	return open_and_wait(out, reference, timeout_ms, 0, e);
}

static inline struct image *must_open(unsigned int timeout_ms)
{
	struct image *i = NULL;
	struct err e = {""};
	int r = try_open(&i, "localhost:5000/a/b:tag", timeout_ms, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
	return i;
}

static inline int read_all(struct image *i, struct err *e)
{
	uint8_t got[65536];
	int r = 0;

	for (size_t at = 0; at < SIZE && r == 0; at += sizeof(got)) {
		r = image_pread(i, got, sizeof(got), at, e);
		if (r == 0)
			cr_assert_eq(memcmp(got, w.plain + at, sizeof(got)), 0);
	}
	return r;
}

static inline void must_read_all(struct image *i)
{
	struct err e = {""};
	int r = read_all(i, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
}

/* The same once the host is asked again, which after a failure is not before the next second. */
static inline void will_read_all(struct image *i)
{
	for (int k = 0; k < 30 && read_all(i, NULL) < 0; k++)
		(void)usleep(LITTLE_WHILE_US);
	must_read_all(i);
}

#endif
