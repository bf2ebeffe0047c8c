/* SPDX-License-Identifier: Apache-2.0
 * From a reference to a stored image. What is known is answered from memory or disk; for the rest one caller
 * asks the registry while others who want the same wait for its answer. Folders appear complete, by rename,
 * and go the same way. */
#include "chunkstore/image_store.h"
#include "chunkstore/clock.h"
#include "chunkstore/image_names.h"
#include "chunkstore/stored_image.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define DEFAULT_MAX_BYTES (2ull << 30)
#define DEFAULT_FRESH_MS 30000
#define MAX_LOADED 64u		 /* images kept open though nobody uses them */
#define MAX_OPENINGS 64u	 /* registries asked at a time */
#define MAX_OPENINGS_REGISTRY 8u /* ... of one registry, so that a slow one leaves room for others */

struct known {
	struct digest digest;
	uint64_t bytes;
	int64_t used_ms;
	struct stored_image *image; /* counted; NULL: not loaded */
	struct known *next;
};

/* A registry being asked. Lives as long as somebody waits. */
struct opening {
	const char *name; /* of the one who asks */
	const char *registry;
	unsigned waiters;
	bool done;
	int result;
	struct stored_image *image; /* counted */
	struct err err;
	struct opening *next;
};

struct image_store {
	int dir, lock_file;
	struct image_store_options options;
	struct registry_client *registry;
	struct chunk_cache *cache;
	pthread_mutex_t lock; /* guards what follows; never held across the network */
	pthread_cond_t opened;
	struct known *known;
	struct image_names names;
	struct opening *openings;
	uint64_t serial; /* of temporary folders */
	struct image_store_stats stats;
};

static struct known **find_known(struct image_store *s, const struct digest *digest)
{
	struct known **at = &s->known;

	while (*at && !digest_equal(&(*at)->digest, digest))
		at = &(*at)->next;
	return at;
}

static struct known *add_known(struct image_store *s, const struct digest *digest, uint64_t bytes)
{
	struct known *k = calloc(1, sizeof(*k));

	if (k) {
		k->digest = *digest;
		k->bytes = bytes;
		k->used_ms = now_ms();
		k->next = s->known;
		s->known = k;
		s->stats.images++;
		s->stats.bytes += bytes;
	}
	return k;
}

/* Out of sight by one rename, then away. */
static void remove_folder(struct image_store *s, const char *name)
{
	static const char *const files[] = {"manifest", "config", "descriptor", "index", "names"};
	char aside[64], path[128];

	(void)snprintf(aside, sizeof(aside), "tmp-%llu", (unsigned long long)s->serial++);
	if (strncmp(name, "tmp-", 4) == 0)
		(void)snprintf(aside, sizeof(aside), "%s", name);
	else if (renameat(s->dir, name, s->dir, aside) < 0)
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", aside, files[i]);
		(void)unlinkat(s->dir, path, 0);
	}
	(void)unlinkat(s->dir, aside, AT_REMOVEDIR);
}

static void drop_known(struct image_store *s, struct known **at)
{
	struct known *k = *at;
	char hex[DIGEST_HEX_SIZE];

	*at = k->next;
	s->stats.images--;
	s->stats.bytes -= k->bytes;
	image_names_forget(&s->names, &k->digest);
	remove_folder(s, digest_hex(&k->digest, hex));
	image_put(k->image);
	free(k);
}

/* Only the store holds it; under the lock nobody else can begin to. */
static bool is_idle(const struct known *k)
{
	return !k->image || atomic_load(&k->image->refs) == 1;
}

static struct known **oldest_idle(struct image_store *s, const struct known *but, bool loaded)
{
	struct known **oldest = NULL;

	for (struct known **at = &s->known; *at; at = &(*at)->next)
		if (*at != but && is_idle(*at) && (!loaded || (*at)->image) &&
		    (!oldest || (*at)->used_ms < (*oldest)->used_ms))
			oldest = at;
	return oldest;
}

/* Keep within bounds; `but` was asked for just now. */
static void trim(struct image_store *s, const struct known *but)
{
	struct known **at;
	unsigned loaded = 0;

	while (s->stats.bytes > s->options.max_bytes && (at = oldest_idle(s, but, false)))
		drop_known(s, at);
	for (const struct known *k = s->known; k; k = k->next)
		loaded += k->image != NULL;
	while (loaded > MAX_LOADED && (at = oldest_idle(s, but, true))) {
		image_put(take_ptr((*at)->image));
		loaded--;
	}
}

static void read_names(struct image_store *s, const char *folder, const struct digest *digest)
{
	cleanup_buf struct buf text;
	char path[DIGEST_HEX_SIZE + 16];

	(void)snprintf(path, sizeof(path), "%s/names", folder);
	buf_init(&text, MAX_NAMES_FILE);
	if (file_read(s->dir, path, &text, NULL) == 0)
		image_names_decode(&s->names, digest, (const char *)text.data, text.size);
}

static uint64_t folder_bytes(const struct image_store *s, const char *folder)
{
	char path[DIGEST_HEX_SIZE + 16];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/index", folder);
	return fstatat(s->dir, path, &st, 0) < 0 ? 0 : (uint64_t)st.st_size;
}

static int scan(struct image_store *s)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = NULL;
	struct dirent *x;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return -ENOMEM;
	}
	while ((x = readdir(d))) {
		char text[DIGEST_TEXT_SIZE];
		struct digest digest;

		(void)snprintf(text, sizeof(text), "sha256:%.64s", x->d_name);
		if (strncmp(x->d_name, "tmp-", 4) == 0) {
			remove_folder(s, x->d_name);
		} else if (strlen(x->d_name) == DIGEST_HEX_SIZE - 1 && digest_parse(&digest, text) == 0) {
			if (!add_known(s, &digest, folder_bytes(s, x->d_name)))
				return -ENOMEM;
			read_names(s, x->d_name, &digest);
		}
	}
	trim(s, NULL);
	return 0;
}

static int open_folder(struct image_store *s, const char *dir, struct err *e)
{
	int r = make_directories(dir, e);

	if (r < 0)
		return r;
	s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return err_errno(e, -errno, "%s", dir);
	s->lock_file = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_file < 0)
		return err_errno(e, -errno, "%s/lock", dir);
	if (flock(s->lock_file, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: another process has it", dir);
	r = scan(s);
	return r < 0 ? err_errno(e, r, "%s", dir) : 0;
}

int image_store_open(struct image_store **out, const struct image_store_options *options,
		     struct registry_client *registry, struct chunk_cache *cache, struct err *e)
{
	struct image_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->dir = s->lock_file = -1;
	s->registry = registry;
	s->cache = cache;
	s->options = *options;
	if (s->options.max_bytes == 0)
		s->options.max_bytes = DEFAULT_MAX_BYTES;
	if (s->options.tag_fresh_ms == 0)
		s->options.tag_fresh_ms = DEFAULT_FRESH_MS;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->opened, NULL);
	r = open_folder(s, options->dir, e);
	if (r < 0) {
		image_store_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	while (s->known) {
		struct known *k = s->known;

		s->known = k->next;
		image_put(k->image);
		free(k);
	}
	image_names_deinit(&s->names);
	if (s->dir >= 0)
		(void)close(s->dir);
	if (s->lock_file >= 0)
		(void)close(s->lock_file);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_cond_destroy(&s->opened);
	free(s);
}

static struct stored_image *image_ref(struct stored_image *i)
{
	(void)atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
	return i;
}

/* An image that is on disk. 0; -ENOENT when it is not, or is damaged: it is gone by then. */
static int load_known(struct image_store *s, const struct digest *digest, struct stored_image **out)
{
	char hex[DIGEST_HEX_SIZE];
	struct stored_image *i = NULL;
	struct known **at;
	int r;

	(void)pthread_mutex_lock(&s->lock);
	at = find_known(s, digest);
	if (*at) {
		(*at)->used_ms = now_ms();
		if ((*at)->image)
			i = image_ref((*at)->image);
	}
	r = *at ? 0 : -ENOENT;
	(void)pthread_mutex_unlock(&s->lock);
	if (r == 0 && !i) {
		cleanup_close int dir =
			openat(s->dir, digest_hex(digest, hex), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		r = dir < 0 ? -errno : stored_image_load(&i, dir, digest, NULL);
		(void)pthread_mutex_lock(&s->lock);
		at = find_known(s, digest);
		if (r == 0 && *at && !(*at)->image)
			(*at)->image = image_ref(i);
		else if ((r == -EBADMSG || r == -EUCLEAN || r == -ENOENT || r == -ENODATA || r == -E2BIG) &&
			 *at)
			drop_known(s, at);
		trim(s, *at);
		(void)pthread_mutex_unlock(&s->lock);
	}
	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	*out = i;
	return 0;
}

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
	(void)file_write(s->dir, path, text.data, text.size, 0600, NULL);
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
	remove_folder(s, aside); /* nothing is there after the rename */
	trim(s, *at);
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

void image_store_stats(struct image_store *s, struct image_store_stats *out)
{
	(void)pthread_mutex_lock(&s->lock);
	*out = s->stats;
	(void)pthread_mutex_unlock(&s->lock);
}
