/* SPDX-License-Identifier: Apache-2.0
 * Blobs wait in files that have no name; committing hands them to the layout writer or pushes them. */
#include "publisher/destination.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/layout_writer.h"
#include "publisher/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUSH_THREADS 4

struct destination {
	struct reference ref;
	struct repository *repository; /* registry; NULL for a layout */
	const char *mount_from;	       /* borrowed, or NULL */
	char temp_dir[4096];
	struct waiting_blob *blobs; /* owned; each digest once */
	size_t n_blobs;
};

static int open_registry(struct destination *d, const struct remote *remote, struct err *e)
{
	const char *temp = getenv("TMPDIR");

	if (d->ref.has_digest)
		return err_set(e, -EINVAL, "an image is pushed under a tag, not under a digest");
	/* an image may be larger than what /tmp in memory can hold */
	(void)snprintf(d->temp_dir, sizeof(d->temp_dir), "%s", temp && temp[0] ? temp : "/var/tmp");
	return repository_open(&d->repository, &d->ref, remote, e);
}

int destination_open(struct destination **out, const struct reference *ref, const struct remote *remote,
		     struct err *e)
{
	struct destination *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	d->ref = *ref;
	if (!d->ref.tag[0])
		memcpy(d->ref.tag, "latest", sizeof("latest"));
	r = ref->layout ? layout_prepare(ref->path, d->temp_dir, e) : open_registry(d, remote, e);
	if (r < 0) {
		destination_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void destination_mount_from(struct destination *d, const char *repository)
{
	d->mount_from = repository;
}

void destination_close(struct destination *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_blobs; i++)
		(void)close(d->blobs[i].fd);
	free(d->blobs);
	repository_close(d->repository);
	free(d);
}

int destination_temp(struct destination *d, int *fd, struct err *e)
{
	char name[sizeof(d->temp_dir) + 32];

	*fd = open(d->temp_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return 0;
	/* file systems without unnamed files: the name lives for an instant */
	(void)snprintf(name, sizeof(name), "%s/.cocoon-XXXXXX", d->temp_dir);
	*fd = mkostemp(name, O_CLOEXEC);
	if (*fd < 0)
		return err_errno(e, -errno, "cannot make a temporary file in %s", d->temp_dir);
	(void)unlink(name);
	return 0;
}

int destination_add(struct destination *d, const struct oci_blob *blob, int fd, struct err *e)
{
	struct waiting_blob *blobs;

	for (size_t i = 0; i < d->n_blobs; i++) {
		if (digest_equal(&d->blobs[i].blob.digest, &blob->digest)) {
			(void)close(fd);
			return 0;
		}
	}
	blobs = reallocarray(d->blobs, d->n_blobs + 1, sizeof(*blobs));
	if (!blobs) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	d->blobs = blobs;
	blobs[d->n_blobs++] = (struct waiting_blob){*blob, fd};
	return 0;
}

/* Several blobs are on their way at once: a registry answers each only after round trips. */
struct push {
	struct destination *d;
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	uint64_t total; /* bytes of all blobs */

	pthread_mutex_t lock; /* guards what follows, and calls of progress */
	size_t left;	      /* blobs to push */
	uint64_t done;	      /* bytes */
	struct destination_stats *stats;
	int result; /* of the first that failed */
	struct err err;
};

/* Bytes of one blob on their way out. */
struct upload {
	struct push *push;
	int fd;
	uint64_t sent; /* counted in push->done: after a broken connection bytes are sent again */
};

static void add_progress(struct upload *u, uint64_t sent)
{
	struct push *p = u->push;

	(void)pthread_mutex_lock(&p->lock);
	if (sent > u->sent) {
		p->done += sent - u->sent;
		u->sent = sent;
	}
	if (p->progress)
		p->progress(p->arg, p->done, p->total);
	(void)pthread_mutex_unlock(&p->lock);
}

static int read_upload(void *arg, void *to, size_t n, uint64_t offset)
{
	struct upload *u = arg;
	int r = pread_full(u->fd, to, n, offset);

	if (r == 0)
		add_progress(u, offset + n);
	return r;
}

static int push_blob(struct push *p, const struct waiting_blob *b, struct err *e)
{
	struct upload u = {.push = p, .fd = b->fd};
	const struct registry_body body = {read_upload, &u, b->blob.size};
	struct registry_client *client = repository_registry(p->d->repository);
	int r = registry_push_blob(client, &p->d->ref, &b->blob.digest, &body, p->d->mount_from, e);

	if (r >= 0)
		add_progress(&u, b->blob.size);
	return r;
}

static void count_blob(struct push *p, const struct waiting_blob *b, int answer)
{
	p->stats->blobs++;
	p->stats->bytes += b->blob.size;
	if (answer > 0) {
		p->stats->blobs_present++;
		p->stats->bytes_saved += b->blob.size;
	}
}

/* Push one blob more, the last one first; false when none is left or one has failed. */
static bool push_next(struct push *p)
{
	const struct waiting_blob *b = NULL;
	struct err e = {{0}};
	int r;

	(void)pthread_mutex_lock(&p->lock);
	if (p->result == 0 && p->left > 0)
		b = &p->d->blobs[--p->left];
	(void)pthread_mutex_unlock(&p->lock);
	if (!b)
		return false;
	r = push_blob(p, b, &e);
	(void)pthread_mutex_lock(&p->lock);
	if (r >= 0) {
		count_blob(p, b, r);
	} else if (p->result == 0) {
		p->result = r;
		p->err = e;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return r >= 0;
}

static void *push_some(void *arg)
{
	while (push_next(arg))
		;
	return NULL;
}

/* The config, which is small and was added last, goes alone: with it the client learns how the registry wants
 * to be spoken to. Then this thread and others push the rest. */
static int push_blobs(struct push *p, struct err *e)
{
	pthread_t threads[PUSH_THREADS - 1];
	size_t n = 0;

	if (push_next(p))
		while (n < PUSH_THREADS - 1 && pthread_create(&threads[n], NULL, push_some, p) == 0)
			n++;
	(void)push_some(p);
	while (n > 0)
		(void)pthread_join(threads[--n], NULL);
	return p->result < 0 ? err_set(e, p->result, "cannot push: %s", p->err.text) : 0;
}

static int push(struct destination *d, const void *manifest, size_t size,
		void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		struct destination_stats *stats, struct err *e)
{
	struct push p = {.d = d, .left = d->n_blobs, .progress = progress, .arg = arg, .stats = stats};
	int r;

	for (size_t i = 0; i < d->n_blobs; i++)
		p.total += d->blobs[i].blob.size;
	(void)pthread_mutex_init(&p.lock, NULL);
	r = push_blobs(&p, e);
	(void)pthread_mutex_destroy(&p.lock);
	if (r < 0)
		return r;
	return registry_put_manifest(repository_registry(d->repository), &d->ref, OCI_TYPE_MANIFEST, manifest,
				     size, e);
}

int destination_commit(struct destination *d, const void *manifest, size_t size,
		       const struct oci_platform *platform,
		       void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		       struct destination_stats *stats, struct err *e)
{
	*stats = (struct destination_stats){0};
	if (d->ref.layout)
		return layout_write(d->ref.path, d->ref.tag, d->blobs, d->n_blobs, manifest, size, platform,
				    stats, e);
	return push(d, manifest, size, progress, arg, stats, e);
}
