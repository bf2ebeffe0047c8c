/* SPDX-License-Identifier: Apache-2.0
 * The guest's process: it mounts, several readers ask at random for all that an image can give, and every
 * answer is held against the reference: right bytes, or a failure that says nothing else, in time. */
#include "erofs_fixture.h"
#include "guestfs/erofs_reader.h"
#include "guestfs/image.h"
#include "guestfs/source_wire.h"
#include "sim.h"

#include <errno.h>
#include <string.h>

#define MAX_READERS 6
#define MAX_READ (128u << 10)
#define NOTHING 0xa5	     /* what is in a buffer before */
#define IN_MEMORY (200 * MS) /* to read again what is kept: other threads may run meanwhile */

static struct {
	struct image *image;
	bool stopped;
	bool verified; /* one reader did */
	unsigned int left;
} g;

static uint8_t buffers[MAX_READERS + 1][MAX_READ];

static int64_t timeout(void)
{
	return plan.timeout_ms * MS;
}

/* A call may wait for memory and, when its own time is nearly over, begin to ask for the index, a page of the
 * map, the index again and chunks, each with a deadline of its own; and for others that do so. */
static int64_t call_limit(void)
{
	return 5 * timeout() + 2 * SECOND;
}

/* After this much time with a host that behaves everything works again: what was lost before is waited for
 * until its deadline, and a frame that never ends for WIRE_STALL_SECONDS. */
static int64_t grace(void)
{
	return 2 * timeout() + 35 * SECOND;
}

static bool may_fail(void)
{
	if (g.stopped)
		return true;
	return plan.temper == HOSTILE && (!plan.healed || sim_now() < plan.healed_at + grace());
}

static void begin(int64_t limit, const char *what)
{
	sim_promise(sim_now() + limit, what);
	if (g.stopped)
		sim_promise(sim_now() + 3 * SECOND, what);
	totals.calls++;
}

/* A call came to `r`. True: it worked. */
static bool ended(int64_t since, const char *what, int r, const struct err *e)
{
	int64_t took = sim_now() - since;

	sim_promise(0, NULL);
	trace(what, r, took);
	if (took > totals.longest)
		totals.longest = took;
	sim_check(r <= 0, "%s gives %d, which is no answer", what, r);
	if (r == 0)
		return true;
	totals.calls_failed++;
	trace_words(e->text);
	sim_check(may_fail(), "%s fails with %d: %s", what, r, e->text);
	sim_check(r != -EINVAL && r != -EUCLEAN && r != -ERANGE && r != -ENXIO,
		  "%s fails with %d, which is no failure of the host: %s", what, r, e->text);
	return false;
}

static bool all_are(const uint8_t *p, uint8_t what, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != what)
			return false;
	return true;
}

static bool read_range(uint8_t *to, uint64_t offset, size_t n)
{
	int64_t since = sim_now();
	struct err e = {""};
	int r;

	memset(to, NOTHING, n + 1);
	begin(call_limit(), "a read");
	r = image_pread(g.image, to, n, offset, &e);
	if ((sim_now() - since) * 100 / timeout() > totals.patience)
		totals.patience = (sim_now() - since) * 100 / timeout();
	sim_check(to[n] == NOTHING, "a read of %zu bytes gives more", n);
	if (!ended(since, "read", r, &e)) {
		sim_check(all_are(to, 0, n), "a failed read leaves bytes");
		return false;
	}
	sim_check(memcmp(to, plan.image->plain + offset, n) == 0, "WRONG BYTES in [%llu, %llu)",
		  (unsigned long long)offset, (unsigned long long)(offset + n));
	totals.bytes += n;
	return true;
}

/* What has been read and is kept needs no host. */
static void read_again(uint8_t *to, uint64_t offset, size_t n)
{
	int64_t since = sim_now();
	struct err e = {""};
	int r;

	if (plan.cache_bytes < 2 * plan.image->size || plan.pressure || g.stopped)
		return;
	r = image_pread(g.image, to, n, offset, &e);
	sim_check(r == 0, "what was read a moment ago cannot be read: %d: %s", r, e.text);
	sim_check(sim_now() - since < IN_MEMORY, "what is in memory waits for the host");
	sim_check(memcmp(to, plan.image->plain + offset, n) == 0, "WRONG BYTES from memory");
}

static int pread_image(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	(void)arg;
	return image_pread(g.image, to, n, offset, e);
}

struct seen {
	unsigned int n;
	bool wrong;
};

static int see_entry(void *arg, const struct erofs_entry *x)
{
	struct seen *s = arg;
	char name[16];
	const char *want = s->n == 0 ? "." : s->n == 1 ? ".." : name;

	if (s->n > 1)
		fixture_name(name, s->n - 2);
	if (x->name_size != strlen(want) || memcmp(x->name, want, x->name_size) != 0)
		s->wrong = true;
	s->n++;
	return 0;
}

/* A listing is whole, or fails; a name that is there is found, or the lookup fails with something else. */
static void browse(void)
{
	int64_t since = sim_now();
	struct err e = {""};
	struct seen seen = {0};
	struct erofs_inode dir = {0};
	struct erofs fs;
	char name[16];
	uint64_t nid = 0;
	uint8_t type;
	int r;

	begin(6 * call_limit(), "a walk");
	r = erofs_open(&fs, pread_image, NULL, FIXTURE_SIZE, &e);
	if (r == 0)
		r = erofs_inode_read(&fs, &dir, NID_DIR, &e);
	if (r == 0)
		r = erofs_readdir(&fs, &dir, 0, see_entry, &seen, &e);
	sim_check(!seen.wrong && (r < 0 || seen.n == FIXTURE_NAMES + 2), "a listing of %u names, not %u",
		  seen.n, FIXTURE_NAMES + 2);
	if (r == 0) {
		fixture_name(name, dice_below(OF_GUEST, FIXTURE_NAMES));
		r = erofs_lookup(&fs, &dir, name, strlen(name), &nid, &type, &e);
		sim_check(r != 0 || nid == NID_FIFO, "a name leads elsewhere");
	}
	(void)ended(since, "walk", r, &e);
}

static void read_config(void)
{
	int64_t since = sim_now();
	struct err e = {""};
	struct buf to;
	bool right;
	int r;

	buf_init(&to, 4096);
	begin(call_limit(), "reading the config");
	r = image_config(g.image, &to, &e);
	right = to.size == strlen(plan.image->true_config) &&
		memcmp(to.data, plan.image->true_config, to.size) == 0;
	buf_deinit(&to);
	if (ended(since, "config", r, &e))
		sim_check(right, "WRONG BYTES in the config");
}

static void verify(void)
{
	int64_t since = sim_now();
	struct err e = {""};

	g.verified = true;
	totals.verifies++;
	begin(20 * call_limit(), "verify");
	(void)ended(since, "verify", image_verify(g.image, NULL, NULL, &e), &e);
}

static void one_call(uint8_t *buffer)
{
	uint64_t offset = dice_below(OF_GUEST, (uint32_t)plan.image->size);
	size_t n = dice_below(OF_GUEST, dice_chance(OF_GUEST, 300) ? MAX_READ - 1 : 8192) + 1;
	uint32_t kind = dice_below(OF_GUEST, 100);

	if (n > plan.image->size - offset)
		n = (size_t)(plan.image->size - offset);
	if (kind < 70) {
		if (read_range(buffer, offset, n))
			read_again(buffer, offset, n);
	} else if (kind < 80) {
		image_will_need(g.image, offset, n * 4);
	} else if (kind < 92) {
		browse();
	} else if (kind < 97 || !plan.verify || g.verified) {
		read_config();
	} else {
		verify();
	}
}

static void *reader(void *arg)
{
	uint8_t *buffer = arg;

	for (unsigned int k = 0; k < plan.n_ops && !(g.stopped && k > 2); k++) {
		one_call(buffer);
		if (plan.think && dice_chance(OF_GUEST, 600))
			sim_sleep(dice_range(OF_GUEST, 0, plan.think));
	}
	if (--g.left == 0)
		sim_wake_all(&g.left);
	return NULL;
}

/* What is under way ends soon then, whatever the host does. */
static void stop_in_the_middle(void)
{
	while (g.left > 0 && sim_now() < plan.stop_at)
		(void)sim_wait(&g.left, plan.stop_at);
	trace("stop", g.left, 0);
	g.stopped = true;
	image_stop(g.image);
	sim_promise_all(GUEST, sim_now() + 3 * SECOND);
}

static int find_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	(void)arg, (void)manifest, (void)descriptor;
	for (unsigned int k = 0; k < N_IMAGES; k++) {
		if (digest_equal(&images[k].descriptor, digest)) {
			memcpy(key->bytes, images[k].sealed.image_key, SECRET_SIZE);
			return 0;
		}
	}
	return err_set(e, -ENOKEY, "no key for it");
}

static int try_mount(struct err *e)
{
	static const char text[] = "registry.test/a/b:1";
	const struct image_options options = {.cache_bytes = plan.cache_bytes,
					      .timeout_ms = plan.timeout_ms,
					      .want_descriptor = &plan.image->descriptor,
					      .want_manifest =
						      plan.want_digest ? &plan.image->manifest : NULL,
					      .find_key = find_key};
	struct reference reference;
	struct source *s;
	int r = reference_parse(&reference, text, e);

	if (r == 0 && plan.want_digest) {
		reference.has_digest = true;
		reference.digest = plan.image->manifest;
	}
	if (r == 0)
		r = source_wire_new(&s,
				    &(struct source_wire_options){.address = plan.vsock ? "vsock:2:7681"
											: "unix:/run/chunks",
								  .reference = &reference,
								  .timeout_ms = plan.timeout_ms,
								  .wait_ms = plan.wait_ms},
				    e);
	if (r < 0)
		return r;
	r = image_open(&g.image, s, &options, e);
	if (r < 0)
		s->ops->close(s);
	return r;
}

/* The start-up list, asked for before the first read. */
static int prefetch(struct err *e)
{
	int r;

	sim_promise(sim_now() + 20 * call_limit(), "the start-up list");
	r = plan.prefetch ? image_prefetch_startup(g.image, e) : 0;
	if (r < 0)
		image_close(g.image);
	sim_check(r <= 0 || r == STARTUP_CUT, "the start-up list gives %d", r);
	return r < 0 ? r : 0;
}

/* A mount fails clearly, or works; in the end it works. */
static void mount_image(void)
{
	for (;;) {
		struct err e = {""};
		int64_t since = sim_now();
		int r;

		sim_promise(since + call_limit() + plan.wait_ms * MS, "a mount");
		r = try_mount(&e);
		if (r == 0)
			r = prefetch(&e);
		sim_promise(0, NULL);
		trace("mount", r, sim_now() - since);
		totals.mounts++;
		if (r == 0)
			return;
		totals.mounts_failed++;
		trace_words(e.text);
		sim_check(r < 0 && e.text[0], "a mount fails with %d and no words", r);
		sim_check(plan.temper != CALM, "a mount fails with %d: %s", r, e.text);
		sim_check(!plan.healed || sim_now() < plan.healed_at + grace(),
			  "a mount fails though the host behaves, with %d: %s", r, e.text);
		sim_sleep(dice_range(OF_GUEST, 10 * MS, 2 * SECOND));
	}
}

static bool read_all(uint8_t *buffer)
{
	bool right = true;

	for (size_t at = 0; at < plan.image->size && right; at += MAX_READ / 2) {
		size_t n = plan.image->size - at < MAX_READ / 2 ? plan.image->size - at : MAX_READ / 2;

		right = read_range(buffer, at, n);
	}
	return right;
}

static void check_all_right(uint8_t *buffer)
{
	while (!plan.healed)
		(void)sim_wait(&plan.healed, -1);
	while (!read_all(buffer))
		sim_sleep(100 * MS);
	browse();
	read_config();
	if (plan.verify)
		verify();
	sim_check(read_all(buffer), "what could be read cannot be read again");
}

void *guest_main(void *arg)
{
	struct fiber *readers[MAX_READERS];

	(void)arg;
	memset(&g, 0, sizeof(g));
	mount_image();
	g.left = plan.n_readers;
	for (unsigned int k = 0; k < plan.n_readers; k++)
		readers[k] = sim_spawn(GUEST, "reader", reader, buffers[k]);
	if (plan.stop)
		stop_in_the_middle();
	for (unsigned int k = 0; k < plan.n_readers; k++)
		sim_join(readers[k]);
	if (!plan.stop)
		check_all_right(buffers[MAX_READERS]);
	sim_promise(sim_now() + 5 * SECOND, "the close");
	image_close(g.image);
	sim_promise(0, NULL);
	return NULL;
}
