/* SPDX-License-Identifier: Apache-2.0
 * The images that are known: a folder for each, which appears complete, by rename, and goes the same way; a
 * list of all; the few that are loaded. */
#include "chunkstore/clock.h"
#include "chunkstore/image_store_internal.h"
#include "chunkstore/own_folder.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_MAX_BYTES (2ull << 30)
#define DEFAULT_FRESH_MS 30000
#define MAX_LOADED 64u /* images kept open though nobody uses them */

struct known **find_known(struct image_store *s, const struct digest *digest)
{
	struct known **at = &s->known;

	while (*at && !digest_equal(&(*at)->digest, digest))
		at = &(*at)->next;
	return at;
}

struct known *add_known(struct image_store *s, const struct digest *digest, uint64_t bytes)
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

void remove_image_folder(struct image_store *s, const char *name)
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
	remove_image_folder(s, digest_hex(&k->digest, hex));
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

void trim_images(struct image_store *s, const struct known *but)
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
			remove_image_folder(s, x->d_name);
		} else if (strlen(x->d_name) == DIGEST_HEX_SIZE - 1 && digest_parse(&digest, text) == 0) {
			if (!add_known(s, &digest, folder_bytes(s, x->d_name)))
				return -ENOMEM;
			read_names(s, x->d_name, &digest);
		}
	}
	trim_images(s, NULL);
	return 0;
}

static int open_folder(struct image_store *s, const char *dir, struct err *e)
{
	int r = own_folder_open(dir, &s->dir, &s->lock_file, e);

	if (r < 0)
		return r;
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

/* An image that is on disk. 0; -ENOENT when it is not, or is damaged: it is gone by then. */
int load_known(struct image_store *s, const struct digest *digest, struct stored_image **out)
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
		trim_images(s, *at);
		(void)pthread_mutex_unlock(&s->lock);
	}
	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	*out = i;
	return 0;
}

void image_store_stats(struct image_store *s, struct image_store_stats *out)
{
	(void)pthread_mutex_lock(&s->lock);
	*out = s->stats;
	(void)pthread_mutex_unlock(&s->lock);
}
