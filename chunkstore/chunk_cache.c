/* SPDX-License-Identifier: Apache-2.0
 * The names of all chunks on disk are kept in a hash table threaded by a list in order of use; contents are
 * only ever touched through descriptors. Files found at start are taken in the order of their modification
 * times, and hashed when first asked for: a crash of the machine may have left a file of the right size with
 * the wrong bytes. */
#include "chunkstore/chunk_cache.h"
#include "chunkstore/own_folder.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_BUCKETS 4096u
#define DISK_FULL_STEP (32ull << 20)
#define NAME_SIZE (3 + DIGEST_HEX_SIZE) /* "ab/<64 hex>" */
#define TMP "tmp/"			/* where files are while they are written */

struct entry {
	struct digest id;
	uint32_t size;
	bool unproven;		     /* found at start, not hashed yet */
	struct entry *next;	     /* of its bucket */
	struct entry *newer, *older; /* in order of use */
};

struct chunk_cache {
	int dir, lock_file;
	uint64_t max_bytes;
	pthread_mutex_t lock; /* guards what follows; held across unlink, never across reading or writing */
	struct entry **buckets;
	uint32_t n_buckets; /* a power of two */
	struct entry *newest, *oldest;
	uint64_t serial; /* of temporary files */
	struct chunk_cache_stats stats;
};

/* "ab/abcd…": 256 folders keep directories short. */
static const char *name_of(const struct digest *id, char name[static NAME_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	(void)snprintf(name, NAME_SIZE, "%.2s/%s", digest_hex(id, hex), hex);
	return name;
}

static struct entry **bucket_of(const struct chunk_cache *c, const struct digest *id)
{
	return &c->buckets[get_le32(id->bytes) & (c->n_buckets - 1)];
}

static struct entry *find(const struct chunk_cache *c, const struct digest *id)
{
	struct entry *x = *bucket_of(c, id);

	while (x && !digest_equal(&x->id, id))
		x = x->next;
	return x;
}

static void list_remove(struct chunk_cache *c, struct entry *x)
{
	*(x->newer ? &x->newer->older : &c->newest) = x->older;
	*(x->older ? &x->older->newer : &c->oldest) = x->newer;
}

static void list_add_newest(struct chunk_cache *c, struct entry *x)
{
	x->newer = NULL;
	x->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = x;
	c->newest = x;
}

/* Twice the buckets; when memory is short the chains grow instead. */
static void grow(struct chunk_cache *c)
{
	struct entry **old = c->buckets;
	struct entry **more = calloc((size_t)c->n_buckets * 2, sizeof(struct entry *));

	if (!more)
		return;
	c->buckets = more;
	c->n_buckets *= 2;
	for (struct entry *x = c->oldest; x; x = x->newer) {
		struct entry **b = bucket_of(c, &x->id);

		x->next = *b;
		*b = x;
	}
	free(old);
}

static void add(struct chunk_cache *c, struct entry *x)
{
	struct entry **b;

	if (c->stats.chunks >= c->n_buckets && c->n_buckets < 1u << 30)
		grow(c);
	b = bucket_of(c, &x->id);
	x->next = *b;
	*b = x;
	list_add_newest(c, x);
	c->stats.chunks++;
	c->stats.bytes += x->size;
}

static void drop(struct chunk_cache *c, struct entry *x)
{
	struct entry **at = bucket_of(c, &x->id);
	char name[NAME_SIZE];

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	list_remove(c, x);
	c->stats.chunks--;
	c->stats.bytes -= x->size;
	(void)unlinkat(c->dir, name_of(&x->id, name), 0);
	free(x);
}

/* Make room for n more bytes. */
static void evict(struct chunk_cache *c, uint64_t n)
{
	while (c->max_bytes && c->oldest && c->stats.bytes + n > c->max_bytes) {
		drop(c, c->oldest);
		c->stats.evictions++;
	}
}

/* The disk is full, though the cache is not. */
static void evict_some(struct chunk_cache *c)
{
	uint64_t end;

	(void)pthread_mutex_lock(&c->lock);
	end = c->stats.bytes > DISK_FULL_STEP ? c->stats.bytes - DISK_FULL_STEP : 0;
	while (c->oldest && c->stats.bytes > end) {
		drop(c, c->oldest);
		c->stats.evictions++;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

/* A file met by the scan. */
struct found {
	struct digest id;
	uint32_t size;
	struct timespec used;
};

struct finds {
	struct found *files; /* owned */
	size_t n, room;
};

static int by_time(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

static int finds_add(struct finds *f, const struct digest *id, const struct stat *st)
{
	if (f->n == f->room) {
		size_t room = f->room ? f->room * 2 : 1024;
		struct found *files = reallocarray(f->files, room, sizeof(*files));

		if (!files)
			return -ENOMEM;
		f->files = files;
		f->room = room;
	}
	f->files[f->n++] = (struct found){*id, (uint32_t)st->st_size, st->st_mtim};
	return 0;
}

/* A folder of chunks, or TMP. What is not a chunk's name, or not in its folder, is the rest of a write that
 * was cut off. */
static int scan_folder(int dir, const char *folder, struct finds *f)
{
	cleanup_closedir DIR *d = NULL;
	struct dirent *x;
	int fd, r = 0;

	if (mkdirat(dir, folder, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (x = readdir(d))) {
		char text[DIGEST_TEXT_SIZE];
		struct digest id;
		struct stat st;

		if (x->d_name[0] == '.')
			continue;
		if (fstatat(dirfd(d), x->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		(void)snprintf(text, sizeof(text), "sha256:%.64s", x->d_name);
		if (strlen(x->d_name) != DIGEST_HEX_SIZE - 1 || digest_parse(&id, text) < 0 ||
		    strncmp(folder, x->d_name, 2) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0 ||
		    st.st_size > UINT32_MAX)
			(void)unlinkat(dirfd(d), x->d_name, 0);
		else
			r = finds_add(f, &id, &st);
	}
	return r;
}

static int scan(struct chunk_cache *c)
{
	struct finds f = {0};
	int r = 0;

	for (unsigned i = 0; i < 256 && r == 0; i++) {
		char folder[3];

		(void)snprintf(folder, sizeof(folder), "%02x", i);
		r = scan_folder(c->dir, folder, &f);
	}
	if (r == 0)
		r = scan_folder(c->dir, "tmp", &f);
	if (f.n > 0)
		qsort(f.files, f.n, sizeof(*f.files), by_time);
	for (size_t i = 0; i < f.n && r == 0; i++) {
		struct entry *x = calloc(1, sizeof(*x));

		if (!x) {
			r = -ENOMEM;
			break;
		}
		x->id = f.files[i].id;
		x->size = f.files[i].size;
		x->unproven = true;
		add(c, x);
	}
	free(f.files);
	evict(c, 0);
	return r;
}

static int open_folder(struct chunk_cache *c, const char *dir, struct err *e)
{
	int r = own_folder_open(dir, &c->dir, &c->lock_file, e);

	if (r < 0)
		return r;
	r = scan(c);
	return r < 0 ? err_errno(e, r, "%s", dir) : 0;
}

int chunk_cache_open(struct chunk_cache **out, const char *dir, uint64_t max_bytes, struct err *e)
{
	struct chunk_cache *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&c->lock, NULL);
	c->dir = c->lock_file = -1;
	c->max_bytes = c->stats.max_bytes = max_bytes;
	c->n_buckets = FIRST_BUCKETS;
	c->buckets = calloc(c->n_buckets, sizeof(struct entry *));
	r = c->buckets ? open_folder(c, dir, e) : err_set(e, -ENOMEM, "out of memory");
	if (r < 0) {
		chunk_cache_close(c);
		return r;
	}
	c->stats.evictions = 0;
	*out = c;
	return 0;
}

void chunk_cache_close(struct chunk_cache *c)
{
	if (!c)
		return;
	while (c->oldest) {
		struct entry *x = c->oldest;

		c->oldest = x->newer;
		free(x);
	}
	free(c->buckets);
	if (c->dir >= 0)
		(void)close(c->dir);
	if (c->lock_file >= 0)
		(void)close(c->lock_file);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

bool chunk_cache_has(struct chunk_cache *c, const struct digest *id)
{
	bool has;

	(void)pthread_mutex_lock(&c->lock);
	has = find(c, id) != NULL;
	(void)pthread_mutex_unlock(&c->lock);
	return has;
}

/* Hash the file. 0, -EBADMSG, or -errno. */
static int prove(int fd, const struct digest *id, size_t size)
{
	cleanup_free uint8_t *p = malloc(size);
	struct digest got;
	int r;

	if (!p)
		return -ENOMEM;
	r = pread_full(fd, p, size, 0);
	if (r == 0)
		r = sha256(&got, p, size);
	if (r == -ENODATA || (r == 0 && !digest_equal(&got, id)))
		return -EBADMSG;
	return r;
}

/* Open the file of an entry and see that it is what the name says. Without O_NOATIME the first reading of
 * each file is an entry in the filesystem's journal, and may wait for it. */
static int open_chunk(struct chunk_cache *c, const struct digest *id, uint32_t size, bool unproven, int *out)
{
	char name[NAME_SIZE];
	cleanup_close int fd =
		openat(c->dir, name_of(id, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOATIME);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != size)
		return -EBADMSG;
	r = unproven ? prove(fd, id, size) : 0;
	if (r == 0)
		*out = take_fd(&fd);
	return r;
}

int chunk_cache_get(struct chunk_cache *c, const struct digest *id, uint32_t size, int *fd)
{
	cleanup_close int got = -1;
	struct entry *x;
	bool unproven = false;
	uint32_t known = 0;
	int r = CHUNK_MISS;

	(void)pthread_mutex_lock(&c->lock);
	x = find(c, id);
	if (x) {
		known = x->size;
		unproven = x->unproven;
		list_remove(c, x);
		list_add_newest(c, x);
	}
	(void)pthread_mutex_unlock(&c->lock);
	/* a file that a crash cut has another size than it should: the digest tells whose fault that is */
	if (x && (known == size || unproven))
		r = open_chunk(c, id, known, unproven, &got);

	(void)pthread_mutex_lock(&c->lock);
	x = r == CHUNK_MISS ? NULL : find(c, id);
	if (x && r == 0)
		x->unproven = false;
	if (x && r == -EBADMSG) {
		drop(c, x);
		c->stats.damaged++;
	}
	if (r == -EBADMSG || (r == 0 && known != size))
		r = CHUNK_MISS;
	if (r == 0)
		c->stats.hits++;
	else
		c->stats.misses++;
	(void)pthread_mutex_unlock(&c->lock);
	if (r == 0)
		*fd = take_fd(&got);
	return r;
}

/* Into a name that no reader looks at. */
static int write_beside(struct chunk_cache *c, const char *name, const void *p, size_t size)
{
	cleanup_close int fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = write_full(fd, p, size);
	if (r < 0)
		(void)unlinkat(c->dir, name, 0);
	return r;
}

/* The whole file is in place: let it be found. Takes `x` unless there is an entry already. */
static int publish(struct chunk_cache *c, const char *beside, const char *name, struct entry **x)
{
	struct entry *old;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (renameat(c->dir, beside, c->dir, name) < 0)
		r = -errno;
	old = r == 0 ? find(c, &(*x)->id) : NULL;
	if (old) { /* its file is the new one now */
		c->stats.bytes = c->stats.bytes - old->size + (*x)->size;
		old->size = (*x)->size;
		old->unproven = false;
	} else if (r == 0) {
		add(c, take_ptr(*x));
	}
	if (r == 0) {
		c->stats.puts++;
		evict(c, 0);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

/* Whether a put of this chunk has nothing to do; else there is room for it now, and a number for its file. */
static bool put_is_needless(struct chunk_cache *c, const struct digest *id, size_t size, uint64_t *serial)
{
	struct entry *x;
	bool there;

	(void)pthread_mutex_lock(&c->lock);
	x = find(c, id);
	there = x && x->size == size && !x->unproven;
	if (!there)
		evict(c, size);
	*serial = c->serial++;
	(void)pthread_mutex_unlock(&c->lock);
	return there;
}

int chunk_cache_put(struct chunk_cache *c, const struct digest *id, const void *p, size_t size)
{
	char name[NAME_SIZE], beside[32];
	cleanup_free struct entry *x = NULL;
	struct digest got;
	uint64_t serial;
	int r = sha256(&got, p, size);

	if (r < 0)
		return r;
	if (size > UINT32_MAX || !digest_equal(&got, id))
		return -EBADMSG;
	if (put_is_needless(c, id, size, &serial))
		return 0;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->id = *id;
	x->size = (uint32_t)size;
	(void)name_of(id, name);
	(void)snprintf(beside, sizeof(beside), TMP "%llu", (unsigned long long)serial);
	r = write_beside(c, beside, p, size);
	if (r == -ENOSPC) {
		evict_some(c);
		r = write_beside(c, beside, p, size);
	}
	return r < 0 ? r : publish(c, beside, name, &x);
}

void chunk_cache_stats(struct chunk_cache *c, struct chunk_cache_stats *out)
{
	(void)pthread_mutex_lock(&c->lock);
	*out = c->stats;
	(void)pthread_mutex_unlock(&c->lock);
}
