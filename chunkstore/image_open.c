/* SPDX-License-Identifier: Apache-2.0
 * From a reference to a stored image. What is known is answered from memory or disk; for the rest one caller
 * asks the registry while others who want the same wait for its answer. */
#include "chunkstore/clock.h"
#include "chunkstore/image_store_internal.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_OPENINGS 64u	 /* registries asked at a time */
#define MAX_OPENINGS_REGISTRY 8u /* ... of one registry, so that a slow one leaves room for others */

/* The name means this manifest; for a sealed one that is written down. */
static void learn_name(struct image_store *s, const char *name, const struct digest *digest, bool sealed)
{
	cleanup_buf struct buf text;
	char hex[DIGEST_HEX_SIZE], path[DIGEST_HEX_SIZE + 16];
	bool news;

	buf_init(&text, MAX_NAMES_FILE);
	(void)pthread_mutex_lock(&s->lock);
	news = image_names_learn(&s->names, name, digest, sealed);
	if (news && sealed)
		image_names_encode(&s->names, digest, &text);
	(void)pthread_mutex_unlock(&s->lock);
	if (text.size == 0)
		return;
	/* without it a restart has to ask the registry: no reason to fail */
	(void)snprintf(path, sizeof(path), "%s/names", digest_hex(digest, hex));
	(void)file_write_unsynced(s->dir, path, text.data, text.size, NULL);
}

/* Fetch into a folder aside, check it there, give it its name. */
static int store_image(struct image_store *s, const struct reference *where, const struct digest *digest,
		       const struct buf *manifest, const struct oci_manifest *oci, struct stored_image **out,
		       struct err *e)
{
	char hex[DIGEST_HEX_SIZE], aside[64];
	cleanup_close int dir = -1;
	struct stored_image *i;
	struct known **at;
	uint64_t serial;
	int r;

	(void)pthread_mutex_lock(&s->lock);
	serial = s->serial++;
	(void)pthread_mutex_unlock(&s->lock);
	(void)snprintf(aside, sizeof(aside), "tmp-%llu", (unsigned long long)serial);
	if (mkdirat(s->dir, aside, 0700) < 0)
		return err_errno(e, -errno, "image folder");
	dir = openat(s->dir, aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? err_errno(e, -errno, "image folder")
		    : stored_image_fetch(dir, manifest, oci, where, s->registry, s->cache, e);
	if (r == 0)
		r = stored_image_load(&i, dir, digest, e);

	(void)pthread_mutex_lock(&s->lock);
	at = find_known(s, digest);
	if (r == 0 && !*at) {
		if (renameat(s->dir, aside, s->dir, digest_hex(digest, hex)) == 0)
			(void)add_known(s, digest, stored_image_bytes(i));
		at = find_known(s, digest);
	}
	if (r == 0 && *at && !(*at)->image)
		(*at)->image = image_ref(i);
	remove_image_folder(s, aside); /* nothing is there after the rename */
	trim_images(s, *at);
	(void)pthread_mutex_unlock(&s->lock);
	if (r == 0)
		*out = i;
	return r;
}

static int get_manifest(struct image_store *s, const struct reference *ref, struct buf *bytes,
			struct digest *digest, struct oci_manifest *oci, struct err *e)
{
	char text[DIGEST_TEXT_SIZE];
	int r;

	buf_deinit(bytes);
	r = registry_get_manifest(s->registry, ref, bytes, digest, e);
	if (r == 0)
		r = oci_manifest_decode(oci, bytes->data, bytes->size, e);
	else
		return r;
	return r < 0 ? err_prefix(e, r, "%s/%s@%s", ref->registry, ref->repository, digest_text(digest, text))
		     : 0;
}

/* Ask the registry. *digest is the manifest for this machine. */
static int ask_registry(struct image_store *s, const struct reference *ref, struct digest *digest,
			struct stored_image **out, struct err *e)
{
	struct reference chosen = *ref;
	struct oci_manifest oci = {0};
	cleanup_buf struct buf bytes;
	int r;

	buf_init(&bytes, OCI_MAX_DOCUMENT);
	r = get_manifest(s, ref, &bytes, digest, &oci, e);
	if (r == 0 && oci.kind == OCI_INDEX) {
		const struct oci_entry *entry = NULL;
		struct oci_platform here;

		oci_platform_host(&here);
		r = oci_index_choose(&entry, &oci, &here, e);
		if (r == 0) {
			chosen.has_digest = true;
			chosen.digest = *digest = entry->blob.digest;
		}
		oci_manifest_deinit(&oci);
		oci = (struct oci_manifest){0};
		if (r == 0 && load_known(s, digest, out) == 0)
			return 0;
		if (r == 0)
			r = get_manifest(s, &chosen, &bytes, digest, &oci, e);
		if (r == 0 && oci.kind == OCI_INDEX)
			r = err_set(e, -EUCLEAN, "%s: an index inside an index", ref->repository);
	}
	if (r == 0 && !oci.sealed)
		r = IMAGE_NOT_SEALED;
	if (r == 0 && load_known(s, digest, out) < 0)
		r = store_image(s, &chosen, digest, &bytes, &oci, out, e);
	oci_manifest_deinit(&oci);
	return r;
}

/* While the registry does not answer, what it said last counts. */
static int fall_back(struct image_store *s, const char *name, struct stored_image **out)
{
	const struct image_name *known;
	struct digest digest;
	bool usable;

	(void)pthread_mutex_lock(&s->lock);
	known = image_names_find(&s->names, name);
	usable = known && known->sealed;
	if (usable)
		digest = known->manifest;
	(void)pthread_mutex_unlock(&s->lock);
	return usable ? load_known(s, &digest, out) : -ENOENT;
}

/* 0, IMAGE_NOT_SEALED, or -ENOENT: the registry must be asked. */
static int answer_locally(struct image_store *s, const struct reference *ref, const char *name,
			  struct stored_image **out)
{
	const struct image_name *known;
	struct digest digest;
	bool usable, sealed;

	if (ref->has_digest && load_known(s, &ref->digest, out) == 0)
		return 0;
	(void)pthread_mutex_lock(&s->lock);
	known = image_names_find(&s->names, name);
	usable = known && (ref->has_digest || (known->asked_ms && now_ms() - known->asked_ms <
									  (int64_t)s->options.tag_fresh_ms));
	sealed = usable && known->sealed;
	if (usable)
		digest = known->manifest;
	(void)pthread_mutex_unlock(&s->lock);
	if (!usable)
		return -ENOENT;
	return sealed ? load_known(s, &digest, out) : IMAGE_NOT_SEALED;
}

/* Under the lock: wait for the one who asks already. */
static int wait_for(struct image_store *s, struct opening *o, struct stored_image **out, struct err *e)
{
	int r;

	o->waiters++;
	while (!o->done)
		(void)pthread_cond_wait(&s->opened, &s->lock);
	r = o->result;
	if (r == 0)
		*out = image_ref(o->image);
	if (r < 0)
		(void)err_set(e, r, "%s", o->err.text);
	if (--o->waiters == 0)
		(void)pthread_cond_broadcast(&s->opened);
	return r;
}

/* Under the lock: whether another registry may be asked. */
static bool may_open(const struct image_store *s, const char *registry)
{
	unsigned all = 0, same = 0;

	for (const struct opening *o = s->openings; o; o = o->next) {
		all++;
		same += strcmp(o->registry, registry) == 0;
	}
	return all < MAX_OPENINGS && same < MAX_OPENINGS_REGISTRY;
}

static int open_from_registry(struct image_store *s, const struct reference *ref, const char *name,
			      struct opening *o)
{
	struct digest digest;
	int r = ask_registry(s, ref, &digest, &o->image, &o->err);

	if (r >= 0)
		learn_name(s, name, &digest, r == 0);
	if (r == -EAGAIN && fall_back(s, name, &o->image) == 0)
		r = 0;
	return r;
}

int image_store_get(struct image_store *s, const struct reference *ref, struct stored_image **out,
		    struct err *e)
{
	char name[REFERENCE_TEXT_SIZE];
	struct opening mine = {.name = reference_text(ref, name), .registry = ref->registry}, *o, **at;
	int r;

	if (ref->layout)
		return err_set(e, -EINVAL, "%s: not in a registry", name);
	r = answer_locally(s, ref, name, out);
	if (r >= 0)
		return r;

	(void)pthread_mutex_lock(&s->lock);
	for (o = s->openings; o && (o->done || strcmp(o->name, name) != 0); o = o->next)
		;
	if (o) {
		r = wait_for(s, o, out, e);
		(void)pthread_mutex_unlock(&s->lock);
		return r;
	}
	if (!may_open(s, ref->registry)) {
		(void)pthread_mutex_unlock(&s->lock);
		return err_set(e, -EBUSY, "%s: too many images are being opened from it", ref->registry);
	}
	mine.next = s->openings;
	s->openings = &mine;
	(void)pthread_mutex_unlock(&s->lock);

	r = open_from_registry(s, ref, name, &mine);

	(void)pthread_mutex_lock(&s->lock);
	mine.result = r;
	mine.done = true;
	(void)pthread_cond_broadcast(&s->opened);
	while (mine.waiters > 0)
		(void)pthread_cond_wait(&s->opened, &s->lock);
	for (at = &s->openings; *at != &mine; at = &(*at)->next)
		;
	*at = mine.next;
	(void)pthread_mutex_unlock(&s->lock);
	if (r == 0)
		*out = mine.image;
	else if (r < 0)
		(void)err_set(e, r, "%s", mine.err.text);
	return r;
}
