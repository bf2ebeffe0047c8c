/* SPDX-License-Identifier: Apache-2.0
 * A table of images by chain ID. What is true about a mount is asked from the kernel (mount table, lock of
 * the process) each time; the table only makes sure that one thread at a time changes an image, and that
 * nothing that is held is swept. So a restarted daemon needs no memory: a live mount is found where it
 * belongs, and a dead one is cleared away when it is needed. */
#include "snapshotter/local_road.h"

#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"
#include "snapshotter/guestfs_process.h"
#include "snapshotter/mount_table.h"
#include "snapshotter/worker_pool.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#define DEFAULT_TIMEOUT_MS 60000u
#define AHEAD_THREADS 2
#define AHEAD_WAITING 64
#define MAX_ROOT 3000u

struct image_entry {
	struct image_entry *next;
	struct digest chain;
	bool busy;	/* a thread is mounting or unmounting it */
	unsigned holds; /* and callers that wait for it */
};

struct local_road {
	struct local_road_config config; /* borrows the strings that follow */
	char *guestfs, *host, *front, **keys;
	char *dir;		/* ROOT/mounts */
	pthread_mutex_t lock;	/* guards entries; never held while mounting */
	pthread_cond_t changed; /* an entry is no longer busy */
	struct image_entry *entries;
	int cancel;		   /* readable once local_road_cancel() was called */
	struct worker_pool *ahead; /* mounts nobody waits for yet */
};

DEFINE_CLEANUP(local_road, struct local_road *, local_road_close)

static int copy_config(struct local_road *r, const struct local_road_config *from)
{
	r->keys = calloc(from->n_keys + 1, sizeof(*r->keys));
	r->guestfs = strdup(from->guestfs);
	r->host = strdup(from->host);
	r->front = strdup(from->front);
	if (!r->keys || !r->guestfs || !r->host || !r->front)
		return -ENOMEM;
	for (; r->config.n_keys < from->n_keys; r->config.n_keys++) {
		r->keys[r->config.n_keys] = strdup(from->keys[r->config.n_keys]);
		if (!r->keys[r->config.n_keys])
			return -ENOMEM;
	}
	r->config.guestfs = r->guestfs;
	r->config.host = r->host;
	r->config.front = r->front;
	r->config.keys = (const char *const *)r->keys;
	r->config.cache_bytes = from->cache_bytes;
	r->config.timeout_ms = from->timeout_ms ? from->timeout_ms : DEFAULT_TIMEOUT_MS;
	return 0;
}

int local_road_open(struct local_road **out, const struct local_road_config *config, struct err *e)
{
	__attribute__((cleanup(cleanup_local_road))) struct local_road *r = calloc(1, sizeof(*r));
	int result;

	if (!r)
		return -ENOMEM;
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->changed, NULL);
	r->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->cancel < 0)
		return err_errno(e, -errno, "eventfd");
	if (*config->root != '/' || strlen(config->root) > MAX_ROOT)
		return err_set(e, -EINVAL, "root %.64s… is not an absolute path of at most %u bytes",
			       config->root, MAX_ROOT);
	if (copy_config(r, config) < 0 || asprintf(&r->dir, "%s/mounts", config->root) < 0) {
		r->dir = NULL;
		return -ENOMEM;
	}
	if (make_directories(r->dir, e) < 0)
		return err_prefix(e, -EIO, "making %s", r->dir);
	result = worker_pool_open(&r->ahead, AHEAD_THREADS, AHEAD_WAITING, e);
	if (result < 0)
		return result;
	*out = take_ptr(r);
	return 0;
}

void local_road_cancel(struct local_road *r)
{
	(void)eventfd_write(r->cancel, 1);
}

void local_road_close(struct local_road *r)
{
	if (!r)
		return;
	worker_pool_close(r->ahead);
	for (struct image_entry *x = r->entries; x;) {
		struct image_entry *next = x->next;

		free(x);
		x = next;
	}
	for (size_t i = 0; i < r->config.n_keys; i++)
		free(r->keys[i]);
	free(r->keys);
	free(r->guestfs);
	free(r->host);
	free(r->front);
	free(r->dir);
	if (r->cancel >= 0)
		(void)close(r->cancel);
	(void)pthread_cond_destroy(&r->changed);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

static void paths_of(const struct local_road *r, const struct digest *chain, struct guestfs_paths *p)
{
	char hex[DIGEST_HEX_SIZE];

	(void)digest_hex(chain, hex);
	(void)snprintf(p->mount, sizeof(p->mount), "%s/%s", r->dir, hex);
	(void)snprintf(p->lock, sizeof(p->lock), "%s/%s.lock", r->dir, hex);
	(void)snprintf(p->log, sizeof(p->log), "%s/%s.log", r->dir, hex);
}

/* With the lock held: the image's entry, made when missing. */
static struct image_entry *entry_of(struct local_road *r, const struct digest *chain)
{
	struct image_entry *x;

	for (x = r->entries; x; x = x->next)
		if (digest_equal(&x->chain, chain))
			return x;
	x = calloc(1, sizeof(*x));
	if (x) {
		x->chain = *chain;
		x->next = r->entries;
		r->entries = x;
	}
	return x;
}

static void drop_entry(struct local_road *r, struct image_entry *x)
{
	struct image_entry **at = &r->entries;

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	free(x);
}

/* Take what is dead, or half there, out of the way. */
static int clear(const struct local_road *r, const struct guestfs_paths *p, struct err *e)
{
	int result = mount_table_unmount(p->mount, e);

	if (result == 0 && guestfs_wait_end(p, r->config.timeout_ms) < 0)
		result = err_set(e, -ETIMEDOUT, "the cocoon-guestfs of %s does not end", p->mount);
	return result;
}

/* The image is busy for this thread. */
static int ensure_mounted(struct local_road *r, const char *reference, const struct guestfs_paths *p,
			  struct err *e)
{
	int mounted = mount_table_has(p->mount, e), result;

	if (mounted < 0)
		return mounted;
	if (mounted > 0 && guestfs_is_alive(p))
		return 0;
	if (mounted > 0)
		log_warn("image mount dead path=%s: mounting it again", p->mount);
	result = clear(r, p, e);
	if (result < 0)
		return result;
	if (mkdir(p->mount, 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "%s", p->mount);
	result = guestfs_start(&r->config, reference, p, r->cancel, e);
	if (result == 0) {
		mounted = mount_table_has(p->mount, e);
		if (mounted < 0)
			return mounted;
		if (mounted == 0)
			result = err_set(e, -EIO, "%s ended and mounted nothing", r->config.guestfs);
	}
	if (result < 0)
		(void)clear(r, p, NULL);
	return result;
}

int local_road_mount(struct local_road *r, const struct digest *chain, const char *reference,
		     char path[static PATH_MAX], struct err *e)
{
	struct guestfs_paths p;
	struct image_entry *x;
	int result;

	paths_of(r, chain, &p);
	(void)pthread_mutex_lock(&r->lock);
	x = entry_of(r, chain);
	if (!x) {
		(void)pthread_mutex_unlock(&r->lock);
		return -ENOMEM;
	}
	x->holds++;
	while (x->busy)
		(void)pthread_cond_wait(&r->changed,
					&r->lock); /* as long as timeout_ms: mounting has its own deadline */
	x->busy = true;
	(void)pthread_mutex_unlock(&r->lock);

	result = ensure_mounted(r, reference, &p, e);

	(void)pthread_mutex_lock(&r->lock);
	x->busy = false;
	(void)pthread_cond_broadcast(&r->changed);
	(void)pthread_mutex_unlock(&r->lock);
	if (result < 0) {
		local_road_release(r, chain);
		return err_prefix(e, result, "mounting %s", reference);
	}
	memcpy(path, p.mount, sizeof(p.mount));
	return 0;
}

void local_road_release(struct local_road *r, const struct digest *chain)
{
	struct image_entry *x;

	(void)pthread_mutex_lock(&r->lock);
	x = entry_of(r, chain);
	if (x && --x->holds == 0 && !x->busy)
		drop_entry(r, x);
	(void)pthread_mutex_unlock(&r->lock);
}

struct ahead {
	struct job job;
	struct local_road *road;
	struct digest chain;
	char reference[];
};

static void mount_ahead(struct job *job)
{
	struct ahead *a = (struct ahead *)((char *)job - offsetof(struct ahead, job));
	char path[PATH_MAX];
	struct err e = {""};

	if (local_road_mount(a->road, &a->chain, a->reference, path, &e) == 0)
		local_road_release(a->road, &a->chain);
	else
		log_debug("not mounted ahead: %s", e.text);
	free(a);
}

void local_road_mount_ahead(struct local_road *r, const struct digest *chain, const char *reference)
{
	struct ahead *a = malloc(sizeof(*a) + strlen(reference) + 1);

	if (!a)
		return;
	a->job.run = mount_ahead;
	a->road = r;
	a->chain = *chain;
	memcpy(a->reference, reference, strlen(reference) + 1);
	if (worker_pool_submit(r->ahead, &a->job) < 0)
		free(a);
}

/* Unmount the image if it may go; its lock and log go with it. */
static int sweep_one(struct local_road *r, const struct digest *chain, local_road_keep *keep, void *arg,
		     struct err *e)
{
	struct guestfs_paths p;
	struct image_entry *x;
	int result = 0;

	paths_of(r, chain, &p);
	(void)pthread_mutex_lock(&r->lock);
	x = entry_of(r, chain);
	if (!x || x->holds > 0 || x->busy) {
		(void)pthread_mutex_unlock(&r->lock);
		return x ? 0 : -ENOMEM;
	}
	x->busy = true;
	(void)pthread_mutex_unlock(&r->lock);

	/* Whoever wants to use the image from here on waits, and mounts it anew. */
	if (!keep(arg, chain)) {
		result = clear(r, &p, e);
		if (result == 0) {
			(void)rmdir(p.mount);
			(void)unlink(p.lock);
			(void)unlink(p.log);
			log_info("image unmounted path=%s", p.mount);
		}
	}

	(void)pthread_mutex_lock(&r->lock);
	x->busy = false;
	(void)pthread_cond_broadcast(&r->changed);
	if (x->holds == 0)
		drop_entry(r, x);
	(void)pthread_mutex_unlock(&r->lock);
	return result;
}

/* A name in mounts/ that is a chain ID: the directory of a mount. */
static bool chain_of(const char *name, struct digest *chain)
{
	char text[DIGEST_TEXT_SIZE];

	if (strlen(name) != DIGEST_HEX_SIZE - 1)
		return false;
	(void)snprintf(text, sizeof(text), "sha256:%s", name);
	return digest_parse(chain, text) == 0;
}

int local_road_sweep(struct local_road *r, local_road_keep *keep, void *arg, struct err *e)
{
	cleanup_closedir DIR *dir = opendir(r->dir);
	struct dirent *entry;
	int first = 0;

	if (!dir)
		return err_errno(e, -errno, "%s", r->dir);
	while ((entry = readdir(dir))) {
		struct digest chain;
		int result;

		if (!chain_of(entry->d_name, &chain))
			continue;
		result = sweep_one(r, &chain, keep, arg, first == 0 ? e : NULL);
		if (result < 0 && first == 0)
			first = result;
	}
	return first;
}

unsigned local_road_count(struct local_road *r)
{
	cleanup_closedir DIR *dir = opendir(r->dir);
	struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir))) {
		struct guestfs_paths p;
		struct digest chain;

		if (!chain_of(entry->d_name, &chain))
			continue;
		paths_of(r, &chain, &p);
		n += guestfs_is_alive(&p);
	}
	return n;
}
