/* SPDX-License-Identifier: Apache-2.0
 * cocoon-guestfs: opens one image, mounts it, and stays until the mount is gone or a signal comes. */
#include "crypto/process.h"
#include "guestfs/background.h"
#include "guestfs/check.h"
#include "guestfs/early_end.h"
#include "guestfs/front.h"
#include "guestfs/keeper.h"
#include "guestfs/kernel_options.h"
#include "guestfs/options.h"
#include "guestfs/pods/serve.h"
#include "guestfs/privileges.h"
#include "guestfs/signals.h"
#include "guestfs/source_wire.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define IDLE_MS 10000
#define GRACE_MS 5000 /* for the last users of a busy mount that was taken away */

struct guestfs {
	struct keeper *keeper;
	struct tls_endpoint *tls; /* NULL: the host is spoken to without */
	struct image *image;
	struct front *front;
	int signals;
	bool alone; /* the keeper has ended */
};

static int block_signals(struct err *e)
{
	static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};

	(void)signal(SIGPIPE, SIG_IGN);
	return signals_open(handled, sizeof(handled) / sizeof(handled[0]), e);
}

static int open_image(struct guestfs *g, struct options *o, struct err *e)
{
	struct source_wire_options source_options = {.address = o->host,
						     .reference = &o->image,
						     .dial = keeper_connect,
						     .dial_arg = g->keeper,
						     .tls = g->tls,
						     .timeout_ms = o->timeout_ms,
						     .wait_ms = o->wait_ms};
	struct image_options options = {
		.cache_bytes = o->cache_bytes,
		.timeout_ms = o->timeout_ms,
		.want_manifest = o->image.has_digest ? &o->image.digest : NULL,
		.want_either = o->has_digest ? &o->digest : NULL,
		.policy = o->has_policy ? &o->policy : NULL,
		.find_key = key_specs_find,
		.find_key_arg = &o->keys,
	};
	struct source *source;
	int r = source_wire_new(&source, &source_options, e);

	if (r < 0)
		return r;
	r = image_open(&g->image, source, &options, e);
	key_specs_wipe(&o->keys);
	if (r < 0)
		source->ops->close(source);
	return r;
}

static void log_mounted(const struct guestfs *g, const struct options *o)
{
	char reference[REFERENCE_TEXT_SIZE], manifest[DIGEST_TEXT_SIZE], descriptor[DIGEST_TEXT_SIZE];

	log_info("mounted image=%s manifest=%s descriptor=%s target=%s front=%s",
		 reference_text(&o->image, reference), digest_text(image_manifest_digest(g->image), manifest),
		 digest_text(image_descriptor_digest(g->image), descriptor), o->target, front_name(g->front));
}

static void log_stats(const struct image *i)
{
	struct image_stats s;

	image_stats(i, &s);
	log_info("stats stored_bytes=%llu plain_bytes=%llu chunks=%llu failures=%llu reconnects=%llu "
		 "timeouts=%llu",
		 (unsigned long long)s.stored_bytes, (unsigned long long)s.plain_bytes,
		 (unsigned long long)s.chunks, (unsigned long long)s.failures,
		 (unsigned long long)s.source.reconnects, (unsigned long long)s.source.timeouts);
}

/* Wait for a signal or the mount's end; 0 for the latter, and for nothing within timeout_ms. */
static int next_signal(struct guestfs *g, int timeout_ms, bool *ended)
{
	struct pollfd p[3] = {{.fd = front_ended_fd(g->front), .events = POLLIN},
			      {.fd = g->signals, .events = POLLIN},
			      {.fd = g->alone ? -1 : keeper_ended_fd(g->keeper), .events = POLLIN}};
	struct signalfd_siginfo info;

	if (poll(p, 3, timeout_ms) < 0)
		(void)usleep(20000); /* without memory for it, it is tried again, not for ever at once */
	*ended = p[0].revents != 0;
	if (p[2].revents) {
		g->alone = true;
		log_error("the process that keeps the mount has ended: umount still works, a signal only "
			  "ends us, "
			  "and a broken connection stays broken");
	}
	if (*ended || !p[1].revents || read(g->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}

/* Take the mount away; who still uses it has a little time. A second signal ends even that. */
static bool unmount(struct guestfs *g)
{
	bool ended;
	int r = front_unmount(g->front, false);

	if (r == -EBUSY) {
		log_warn("busy, unmounting lazily grace_ms=%d", GRACE_MS);
		r = front_unmount(g->front, true);
	}
	if (r < 0)
		log_error("unmount failed error=%d", -r);
	(void)next_signal(g, GRACE_MS, &ended);
	return ended;
}

/* After a load that is over, give back to the kernel what the allocator keeps for the next one. */
static void trim(const struct image *i, uint64_t *chunks, bool *trimmed)
{
	struct image_stats s;

	image_stats(i, &s);
	if (s.chunks != *chunks) {
		*chunks = s.chunks;
		*trimmed = false;
	} else if (!*trimmed) {
		(void)malloc_trim(0);
		*trimmed = true;
	}
}

/* Until the end. Returns whether it came by itself. */
static bool serve(struct guestfs *g)
{
	bool ended = false, trimmed = false;
	uint64_t chunks = 0;

	while (!ended) {
		int signal = next_signal(g, IDLE_MS, &ended);

		if (signal == 0)
			trim(g->image, &chunks, &trimmed);
		else if (signal == SIGUSR1)
			log_stats(g->image);
		else if (signal == SIGTERM || signal == SIGINT)
			return unmount(g);
	}
	return true;
}

static int prefetch_startup(struct image *i, struct err *e)
{
	int r = image_prefetch_startup(i, e);

	if (r != STARTUP_CUT)
		return r;
	log_warn("the start-up list is larger than the cache, the rest of it is read on demand");
	return 0;
}

/* --print-manifest: for a program that has mounted. */
static void say_outcome(const struct image *i, int error, const struct options *o, struct background *b)
{
	char line[BACKGROUND_LINE_SIZE];

	if (!o->print_manifest)
		return;
	if (i)
		(void)digest_text(image_manifest_digest(i), line);
	else
		(void)snprintf(line, sizeof(line), "error=%d", -error);
	background_say(b, line);
}

static int run(struct guestfs *g, struct options *o, struct background *background)
{
	struct early_end *early = NULL;
	struct err e = {""};
	int r = early_end_start(&early, g->signals, background, &e);

	if (r == 0)
		r = open_image(g, o, &e);

	if (r == 0)
		r = prefetch_startup(g->image, &e);
	if (r == 0)
		r = front_start(&g->front, g->image, g->keeper, o->front.kind, &e);
	early_end_stop(early);
	if (r < 0) {
		image_close(g->image);
		say_outcome(NULL, r, o, background);
		background_failed(background, EXIT_MOUNT, e.text);
		return EXIT_MOUNT;
	}
	log_mounted(g, o);
	say_outcome(g->image, 0, o, background);
	r = background_ready(background);
	if (r < 0 ? unmount(g) : serve(g)) {
		front_close(g->front, false);
	} else {
		image_stop(g->image);
		front_close(g->front, true);
	}
	log_stats(g->image);
	image_close(g->image);
	log_info("unmounted target=%s", o->target);
	if (r == 0)
		return EXIT_GOOD;
	say_outcome(NULL, r, o, background);
	background_failed(background, EXIT_SYSTEM, "the mount would have ended with this command");
	return EXIT_SYSTEM;
}

/* The keeper is forked before keys are read, and keys are read before nothing can be opened any more. */
static int become(struct guestfs *g, struct options *o, struct background *background, struct err *e)
{
	struct address host;
	struct tls_options tls = {
		.certificate = o->tls_identity, .key = o->tls_identity, .pins = &host.pin, .n_pins = 1};
	int r = process_hide_memory(); /* locks on memory do not survive a fork */

	if (r < 0)
		return err_errno(e, r, "turning core files off");
	privileges_spare_from_oom();
	g->signals = block_signals(e);
	if (g->signals < 0)
		return g->signals;
	r = address_parse_host(&host, o->host, e);
	if (r == 0)
		r = kernel_options_check(&(struct kernel_use){.front = o->front.kind, .host = &host},
					 kernel_ask, e);
	if (r == 0)
		r = keeper_start(&g->keeper, &(struct keeper_options){&host, o->target, &o->front}, e);
	if (r == 0 && host.tls)
		r = tls_guest_new(&g->tls, &tls, e);
	if (r < 0)
		return r;
	key_specs_load(&o->keys);
	background_manager(background);
	(void)!chdir("/"); /* hold no directory, least of all the one that is mounted on */
	return privileges_drop(e);
}

int main(int argc, char **argv)
{
	struct background background = {.fd = -1, .notify = -1};
	struct guestfs g = {.signals = -1};
	struct options o;
	struct err e = {""};
	int r;

	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check_main(argc - 1, argv + 1);
	r = options_parse(&o, argc, argv, &e);
	if (r != 0) {
		if (r < 0)
			(void)fprintf(stderr, "cocoon-guestfs: %s\n", e.text);
		options_deinit(&o);
		return r < 0 ? EXIT_USAGE : EXIT_GOOD;
	}
	/* chunks come and go in sizes of many pages: without this each is a mapping of its own, faulted in
	 * anew */
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 8 << 20); /* trim() does that when a load is over */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a huge page is resident for the sake of a small one */
	r = o.foreground ? 0 : background_begin(&background, &e);
	log_init("cocoon-guestfs", o.log_level); /* by now it is known whether to the journal */
	if (r == 0)
		r = become(&g, &o, &background, &e);
	if (r < 0) {
		background_failed(&background, EXIT_SYSTEM, e.text);
		r = EXIT_SYSTEM;
	} else {
		r = run(&g, &o, &background);
	}
	tls_endpoint_free(g.tls);
	keeper_stop(g.keeper);
	options_deinit(&o);
	return r;
}
