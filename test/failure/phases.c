/* SPDX-License-Identifier: Apache-2.0
 * Each phase arms the fault around one part of an image's life. A failure must be an error with the right
 * code and with words; afterwards the same image, or the next one, works as if nothing had been. */
#include "phases.h"
#include "crypto/process.h"
#include "guestfs/key_spec.h"
#include "guestfs/options.h"
#include "guestfs/source_wire.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REFERENCE "localhost:5000/failure/test:1"
#define TIMEOUT_MS 2000
#define SHORT_TIMEOUT_MS 200 /* where it will pass anyway */
#define TIMEOUTS_MAX 2	     /* who has seen as many in a row needs to see no more */
#define ROUNDS 4

static const struct inject_fault *fault_of(const struct trial *t)
{
	return &inject_faults[t->fault];
}

static void arm(const struct trial *t)
{
	inject_arm(t->fault, t->at, t->always, t->trace);
}

static void disarm(struct outcome *o)
{
	inject_disarm();
	o->seen = inject_order->seen;
	o->failed = inject_order->failed;
}

__attribute__((format(printf, 2, 3))) static void wrong(struct outcome *o, const char *format, ...)
{
	va_list args;

	if (o->wrong)
		return;
	o->wrong = true;
	va_start(args, format);
	(void)vsnprintf(o->words, sizeof(o->words), format, args);
	va_end(args);
}

/* May this fault lead to this error? */
static bool fits(const struct trial *t, int r)
{
	const struct inject_fault *f = fault_of(t);

	if (r == -f->error || (t->always && r == -ETIMEDOUT))
		return true;
	if (f->error == INJECT_END)
		return r == -ECONNRESET;
	/* pthread_create(3) says so when there is no memory for a thread */
	return f->call == CALL_MEMORY && r == -EAGAIN;
}

/* Connections are made again, so a passing failure of one is not to be seen. */
static bool passes(const struct trial *t, bool opened)
{
	const struct inject_fault *f = fault_of(t);

	if (t->always)
		return false;
	return (f->flags & HARMLESS) || (opened && f->call != CALL_MEMORY && f->error != ENOMEM);
}

/* What came of something while calls failed. */
static void judge(const struct trial *t, struct outcome *o, int r, const struct err *e, const char *what,
		  bool opened)
{
	if (r == 0)
		return;
	if (r > 0)
		wrong(o, "%s: a wrong answer", what);
	else if (passes(t, opened))
		wrong(o, "%s: should have gone on, but %d: %s", what, r, e->text);
	else if (!fits(t, r))
		wrong(o, "%s: of all errors %s: %s", what, strerrorname_np(-r), e->text);
	else if (!e->text[0])
		wrong(o, "%s: an error without words", what);
	else if (o->clean++ == 0 && !o->wrong)
		(void)snprintf(o->words, sizeof(o->words), "%s: %s", what, e->text);
}

static int open_image(const struct trial *t, const char *key, struct image **out, struct err *e)
{
	struct reference reference;
	struct key_specs keys = {0};
	struct source_wire_options source_options = {.address = t->subject->address,
						     .reference = &reference,
						     .timeout_ms = t->always ? SHORT_TIMEOUT_MS : TIMEOUT_MS};
	/* a cache that is full at once: chunks come anew for most questions */
	struct image_options options = {
		.cache_bytes = 128 << 10, .find_key = key_specs_find, .find_key_arg = &keys};
	struct source *source;
	int r = reference_parse(&reference, REFERENCE, e);

	if (r == 0)
		r = key_specs_add(&keys, key, e);
	if (r == 0)
		r = source_wire_new(&source, &source_options, e);
	if (r < 0)
		return r;
	key_specs_load(&keys);
	r = image_open(out, source, &options, e);
	key_specs_wipe(&keys);
	if (r < 0) {
		source->ops->close(source);
		return r;
	}
	r = image_prefetch_startup(*out, e);
	if (r >= 0)
		return 0; /* also when the list is larger than the cache */
	image_close(*out);
	*out = NULL;
	return r;
}

/* A host that failed us is asked again a little later, not at every read: then a reader
 * has to come back. */
static bool come_back(unsigned int *times)
{
	(void)usleep(20000);
	return ++*times < 250;
}

/* Everything in the book, while nothing fails. */
static void ask_again(const struct trial *t, struct outcome *o, struct image *i)
{
	unsigned int times = 0;
	struct err e = {""};

	for (size_t k = 0; k < t->book->n && !o->wrong; k++) {
		int r;

		do
			r = book_ask(t->book, k, i, &e);
		while (r < 0 && come_back(&times));
		if (r != 0)
			wrong(o, "question %zu afterwards: %d: %s", k, r, e.text);
	}
}

static void key_of(const struct trial *t, const char *kind, char text[static 128])
{
	const struct subject *s = t->subject;

	if (strcmp(kind, "file") == 0)
		(void)snprintf(text, 128, "file:%s", s->key);
	else
		(void)snprintf(text, 128, "recipient:%s", strcmp(kind, "ec") == 0 ? s->ec : s->rsa);
}

static void try_open(const struct trial *t, struct outcome *o, const char *kind, bool cold)
{
	struct image *i = NULL;
	unsigned int times = 0;
	struct err e = {""};
	char key[128];
	int r;

	key_of(t, kind, key);
	arm(t);
	r = open_image(t, key, &i, &e);
	disarm(o);
	judge(t, o, r, &e, "open", false);
	if (r < 0 && !cold) {
		do
			r = open_image(t, key, &i, &e);
		while (r < 0 && come_back(&times));
		if (r < 0)
			wrong(o, "open afterwards: %d: %s", r, e.text);
	}
	if (i)
		ask_again(t, o, i);
	image_close(i);
}

static struct image *must_open(const struct trial *t, struct outcome *o)
{
	struct image *i = NULL;
	unsigned int times = 0;
	struct err e = {""};
	char key[128];
	int r;

	key_of(t, "file", key);
	do
		r = open_image(t, key, &i, &e);
	while (r < 0 && come_back(&times));
	if (r < 0)
		wrong(o, "open before: %d: %s", r, e.text);
	return i;
}

static void ask_failing(const struct trial *t, struct outcome *o, struct image *i)
{
	unsigned int timeouts = 0;

	image_will_need(i, 0, 1 << 20);
	for (size_t k = 0; k < t->book->n && timeouts < TIMEOUTS_MAX; k++) {
		struct err e = {""};
		char what[32];
		int r = book_ask(t->book, k, i, &e);

		timeouts = r == -ETIMEDOUT ? timeouts + 1 : 0;
		(void)snprintf(what, sizeof(what), "question %zu", k);
		judge(t, o, r, &e, what, true);
	}
}

static void live(const struct trial *t, struct outcome *o)
{
	struct image *i = must_open(t, o);

	if (!i)
		return;
	arm(t);
	ask_failing(t, o, i);
	disarm(o);
	ask_again(t, o, i);
	image_close(i);
}

/* Every socket of this process loses its other end. */
static void lose_connections(void)
{
	for (int fd = 3; fd < 64; fd++)
		(void)shutdown(fd, SHUT_RDWR);
}

static void reconnect(const struct trial *t, struct outcome *o)
{
	struct image *i = must_open(t, o);

	if (!i)
		return;
	lose_connections();
	arm(t);
	ask_failing(t, o, i);
	disarm(o);
	ask_again(t, o, i);
	image_close(i);
}

static void verify(const struct trial *t, struct outcome *o)
{
	struct image *i = must_open(t, o);
	unsigned int times = 0;
	struct err e = {""};
	int r;

	if (!i)
		return;
	arm(t);
	r = image_verify(i, NULL, NULL, &e);
	disarm(o);
	judge(t, o, r, &e, "verify", true);
	do
		r = image_verify(i, NULL, NULL, &e);
	while (r < 0 && come_back(&times));
	if (r < 0)
		wrong(o, "verify afterwards: %d: %s", r, e.text);
	ask_again(t, o, i);
	image_close(i);
}

/* An end cannot fail. */
static void close_image(const struct trial *t, struct outcome *o)
{
	struct image *i = must_open(t, o);

	if (!i)
		return;
	ask_again(t, o, i);
	image_will_need(i, 0, 1 << 20);
	arm(t);
	image_close(i);
	disarm(o);
}

static int parse(const struct trial *t, const char *const *arguments, struct err *e)
{
	char storage[12][128], *argv[13] = {0};
	struct options o;
	int argc = 0, r;

	for (; arguments[argc]; argc++) {
		(void)snprintf(storage[argc], sizeof(storage[argc]), "%s%s", arguments[argc],
			       arguments[argc][0] && arguments[argc][strlen(arguments[argc]) - 1] == ':'
				       ? t->subject->key
				       : "");
		argv[argc] = storage[argc];
	}
	optind = 0;
	r = options_parse(&o, argc, argv, e);
	options_deinit(&o);
	return r;
}

static void options(const struct trial *t, struct outcome *o)
{
	static const char *const command[] = {"cocoon-guestfs", "--key",     "file:",	"--cache-size", "1M",
					      "--host",		"vsock:2:7", REFERENCE, "/tmp",		NULL};
	static const char *const helper[] = {
		"mount.cocoon", REFERENCE, "/tmp", "-o", "host=unix:/none,timeout=3,nodev,key=file:", NULL};
	const char *const *const forms[] = {command, helper};

	for (size_t k = 0; k < 2; k++) {
		struct err e = {""};
		struct outcome one = {0};
		struct trial here = *t;
		int r;

		/* indices of the second form follow those of the first */
		here.at = t->at > o->seen ? t->at - o->seen : UINT64_MAX;
		arm(t->always && t->at <= o->seen
			    ? &(struct trial){.fault = t->fault, .at = 1, .always = true}
			    : &here);
		r = parse(t, forms[k], &e);
		disarm(&one);
		o->seen += one.seen;
		o->failed += one.failed;
		judge(t, o, r, &e, forms[k][0], false);
		r = parse(t, forms[k], &e);
		if (r < 0)
			wrong(o, "%s afterwards: %d: %s", forms[k][0], r, e.text);
	}
}

static void open_file(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "file", false);
}

static void open_ec(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "ec", false);
}

static void open_rsa(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "rsa", false);
}

static void cold_file(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "file", true);
}

static void cold_ec(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "ec", true);
}

static void cold_rsa(const struct trial *t, struct outcome *o)
{
	try_open(t, o, "rsa", true);
}

const struct phase phases[] = {
	{"open-file", false, open_file}, {"open-ec", false, open_ec},	  {"open-rsa", false, open_rsa},
	{"cold-file", true, cold_file},	 {"cold-ec", true, cold_ec},	  {"cold-rsa", true, cold_rsa},
	{"live", false, live},		 {"reconnect", false, reconnect}, {"verify", false, verify},
	{"close", false, close_image},	 {"options", false, options},
};
const size_t n_phases = sizeof(phases) / sizeof(phases[0]);

/* ---- leaks ---- */

struct held {
	long allocations;
	int descriptors, threads;
};

static int count(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n;
}

static struct held held_now(void)
{
	struct held h;

	/* a joined thread is still listed for a moment */
	for (int wait = 0; wait < 200 && count("/proc/self/task") > 3; wait++)
		(void)usleep(500);
	ERR_clear_error(); /* OpenSSL keeps words about the last few failures of a thread */
	h.allocations = inject_live;
	h.descriptors = count("/proc/self/fd");
	h.threads = count("/proc/self/task");
	return h;
}

/* One round may leave what a library makes at its first failure; each round leaving something is a leak. */
static void look_for_leaks(const struct phase *p, const struct trial *t, struct outcome *o,
			   struct held before)
{
	long least = LONG_MAX;
	struct held after = held_now();

	for (int round = 1;; round++) {
		struct outcome again = {0};

		if (after.descriptors > before.descriptors)
			wrong(o, "%d descriptors are left open", after.descriptors - before.descriptors);
		if (after.threads > before.threads)
			wrong(o, "%d threads are left", after.threads - before.threads);
		if (after.allocations - before.allocations < least)
			least = after.allocations - before.allocations;
		if (least <= 0 || o->wrong || round == ROUNDS)
			break;
		before = held_now();
		p->run(t, &again);
		after = held_now();
	}
	if (least > 0 && least != LONG_MAX)
		wrong(o, "%ld allocations are left", least);
}

void phase_run(const struct phase *p, const struct trial *t, struct outcome *o)
{
	struct trial calm = *t;
	struct held before;

	*o = (struct outcome){0};
	(void)process_own_openssl(); /* as in the daemon, but without hiding this process from its tools */
	if (!p->cold) {
		calm.at = UINT64_MAX;
		p->run(&calm, o);
		if (o->wrong)
			return;
		*o = (struct outcome){0};
	}
	before = held_now();
	p->run(t, o);
	if (!p->cold && !o->wrong)
		look_for_leaks(p, t, o, before);
}
