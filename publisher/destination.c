/* SPDX-License-Identifier: Apache-2.0
 * Blobs wait in files that have no name; committing hands them to the layout writer or pushes them. */
#include "publisher/destination.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "publisher/layout_writer.h"
#include "publisher/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Bytes of one blob on their way out. */
struct upload {
	int fd;
	uint64_t before, total; /* bytes of the blobs before it, and of all */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

static int read_upload(void *arg, void *to, size_t n, uint64_t offset)
{
	struct upload *u = arg;
	ssize_t got;

	for (size_t at = 0; at < n; at += (size_t)got) {
		got = pread(u->fd, (char *)to + at, n - at, (off_t)(offset + at));
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
	}
	if (u->progress)
		u->progress(u->arg, u->before + offset + n, u->total);
	return 0;
}

static int push(struct destination *d, const void *manifest, size_t size,
		void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		struct destination_stats *stats, struct err *e)
{
	struct registry_client *client = repository_registry(d->repository);
	struct upload u = {.progress = progress, .arg = arg};

	for (size_t i = 0; i < d->n_blobs; i++)
		u.total += d->blobs[i].blob.size;
	for (size_t i = 0; i < d->n_blobs; i++) {
		const struct oci_blob *blob = &d->blobs[i].blob;
		struct registry_body body = {read_upload, &u, blob->size};
		int r;

		u.fd = d->blobs[i].fd;
		r = registry_push_blob(client, &d->ref, &blob->digest, &body, d->mount_from, e);
		if (r < 0)
			return err_prefix(e, r, "cannot push");
		stats->blobs++;
		stats->bytes += blob->size;
		if (r > 0) {
			stats->blobs_present++;
			stats->bytes_saved += blob->size;
		}
		u.before += blob->size;
	}
	return registry_put_manifest(client, &d->ref, OCI_TYPE_MANIFEST, manifest, size, e);
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
