/* SPDX-License-Identifier: Apache-2.0
 * Blobs get their names by link(2) from unnamed files, so a name never shows half a blob; index.json is
 * replaced by rename(2) under a lock on the directory. A list of what was made undoes it in reverse. */
#include "publisher/layout_writer.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define BLOB_DIR "blobs/sha256"

struct layout_writer {
	const char *path;
	int dir;
	bool made_dir;
	char (*made)[LAYOUT_BLOB_PATH_SIZE]; /* names in `dir`, in the order of making; directories end in "/"
					      */
	size_t n_made;
	struct destination_stats *stats;
};

static bool is_empty(int fd)
{
	cleanup_closedir DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	int n = 0;

	while (dir && n <= 2 && (entry = readdir(dir)))
		n++;
	return dir && n <= 2;
}

int layout_prepare(const char *path, char temp_dir[static 4096], struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t length = strlen(path);
	const char *slash;
	struct stat st;
	int n;

	while (length > 1 && path[length - 1] == '/')
		length--;
	slash = memrchr(path, '/', length);

	if (fd >= 0) {
		bool layout = fstatat(fd, LAYOUT_FILE, &st, 0) == 0;

		if (!is_empty(fd) && !layout)
			return err_set(e, -EEXIST, "%s is there and is not an OCI layout", path);
		n = snprintf(temp_dir, 4096, "%s", path);
	} else if (errno != ENOENT) {
		return err_errno(e, -errno, "%s", path);
	} else if (!slash) {
		n = snprintf(temp_dir, 4096, ".");
	} else {
		n = snprintf(temp_dir, 4096, "%.*s/", (int)(slash - path), path);
	}
	if (n < 0 || n >= 4096)
		return err_set(e, -ENAMETOOLONG, "%s", path);
	if (access(temp_dir, W_OK | X_OK) < 0)
		return err_errno(e, -errno, "%s", temp_dir);
	return 0;
}

static void note(struct layout_writer *w, const char *name)
{
	(void)snprintf(w->made[w->n_made++], LAYOUT_BLOB_PATH_SIZE, "%s", name);
}

static void undo(struct layout_writer *w)
{
	while (w->n_made > 0) {
		char *name = w->made[--w->n_made];
		size_t n = strlen(name);
		bool is_dir = name[n - 1] == '/';

		(void)unlinkat(w->dir, name, is_dir ? AT_REMOVEDIR : 0);
	}
	if (w->made_dir)
		(void)rmdir(w->path);
}

static int make_dir(struct layout_writer *w, const char *name, struct err *e)
{
	if (mkdirat(w->dir, name, 0755) == 0)
		note(w, name);
	else if (errno != EEXIST)
		return err_errno(e, -errno, "%s/%s", w->path, name);
	return 0;
}

static int make_file(struct layout_writer *w, const char *name, const void *p, size_t n, struct err *e)
{
	struct stat st;
	int r;

	if (fstatat(w->dir, name, &st, 0) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == n)
		return 0;
	r = file_write(w->dir, name, p, n, 0644, e);
	if (r == 0)
		note(w, name);
	return r;
}

static int open_layout(struct layout_writer *w, struct err *e)
{
	if (mkdir(w->path, 0755) == 0)
		w->made_dir = true;
	else if (errno != EEXIST)
		return err_errno(e, -errno, "%s", w->path);
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir < 0 || flock(w->dir, LOCK_EX) < 0)
		return err_errno(e, -errno, "%s", w->path);
	return 0;
}

/* The directories, and the file that says what this is. */
static int make_frame(struct layout_writer *w, struct err *e)
{
	cleanup_buf struct buf file = {.max = 4096};
	int r = 0;

	if (faccessat(w->dir, LAYOUT_FILE, F_OK, 0) == 0) {
		r = file_read(w->dir, LAYOUT_FILE, &file, e);
		if (r == 0)
			r = layout_file_check(file.data, file.size, e);
	} else {
		r = make_file(w, LAYOUT_FILE, LAYOUT_CONTENT, strlen(LAYOUT_CONTENT), e);
	}
	if (r == 0)
		r = make_dir(w, "blobs/", e);
	if (r == 0)
		r = make_dir(w, BLOB_DIR "/", e);
	return r;
}

/* Where temporary files have names only (see destination.c) the bytes are copied. */
static int copy_blob(struct layout_writer *w, const struct waiting_blob *b, const char *name, struct err *e)
{
	cleanup_close int to = openat(w->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	uint8_t piece[32768];
	int r = 0;

	if (to < 0)
		return err_errno(e, -errno, "%s/%s", w->path, name);
	for (uint64_t at = 0, n; at < b->blob.size && r == 0; at += n) {
		n = b->blob.size - at < sizeof(piece) ? b->blob.size - at : sizeof(piece);
		r = pread_full(b->fd, piece, n, at);
		if (r == 0)
			r = write_full(to, piece, n);
	}
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(w->dir, name, 0);
		return err_errno(e, r, "%s/%s", w->path, name);
	}
	return 0;
}

static int link_blob(struct layout_writer *w, const struct waiting_blob *b, const char *name, struct err *e)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", b->fd);
	if (fchmod(b->fd, 0644) < 0 || fsync(b->fd) < 0)
		return err_errno(e, -errno, "%s/%s", w->path, name);
	if (linkat(AT_FDCWD, self, w->dir, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return copy_blob(w, b, name, e);
}

static int add_blob(struct layout_writer *w, const struct waiting_blob *b, struct err *e)
{
	char path[LAYOUT_BLOB_PATH_SIZE];
	struct stat st;
	int r;

	(void)layout_blob_path(&b->blob.digest, path);
	w->stats->blobs++;
	w->stats->bytes += b->blob.size;
	if (fstatat(w->dir, path, &st, 0) == 0) {
		if ((uint64_t)st.st_size == b->blob.size) {
			w->stats->blobs_present++;
			w->stats->bytes_saved += b->blob.size;
			return 0;
		}
		/* what is there cannot have this digest */
		if (unlinkat(w->dir, path, 0) < 0)
			return err_errno(e, -errno, "%s/%s", w->path, path);
	}
	r = link_blob(w, b, path, e);
	if (r == 0)
		note(w, path);
	return r;
}

static json_t *index_entry(const char *tag, const struct digest *digest, size_t size,
			   const struct oci_platform *platform)
{
	char text[DIGEST_TEXT_SIZE];
	json_t *j = json_pack("{s:s, s:s, s:I, s:{s:s, s:s}, s:{s:s}}", "mediaType", OCI_TYPE_MANIFEST,
			      "digest", digest_text(digest, text), "size", (json_int_t)size, "platform",
			      "architecture", platform->architecture, "os", platform->os, "annotations",
			      "org.opencontainers.image.ref.name", tag);

	if (j && platform->variant[0])
		(void)json_object_set_new(json_object_get(j, "platform"), "variant",
					  json_string(platform->variant));
	return j;
}

static const char *entry_name(const json_t *entry)
{
	const char *name = json_string_value(
		json_object_get(json_object_get(entry, "annotations"), "org.opencontainers.image.ref.name"));

	return name ? name : "";
}

/* index.json as it is, or an empty one. */
static json_t *read_index(struct layout_writer *w, struct err *e)
{
	cleanup_buf struct buf file = {.max = OCI_MAX_DOCUMENT};
	struct oci_manifest index = {0};
	json_t *j;
	int r;

	if (faccessat(w->dir, LAYOUT_INDEX, F_OK, 0) < 0)
		return json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", OCI_TYPE_INDEX,
				 "manifests");
	r = file_read(w->dir, LAYOUT_INDEX, &file, e);
	if (r == 0)
		r = oci_manifest_decode(&index, file.data, file.size, e);
	if (r == 0 && index.kind != OCI_INDEX)
		r = err_set(e, -EUCLEAN, "no index");
	if (r < 0) {
		(void)err_prefix(e, r, "%s/%s", w->path, LAYOUT_INDEX);
		return NULL;
	}
	oci_manifest_deinit(&index);
	j = json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, NULL);
	return json_is_array(json_object_get(j, "manifests")) ? j : NULL;
}

static int write_index(struct layout_writer *w, const char *tag, const struct digest *digest, size_t size,
		       const struct oci_platform *platform, struct err *e)
{
	json_t *index = read_index(w, e), *entries = json_object_get(index, "manifests"), *entry;
	cleanup_free char *text = NULL;
	size_t i;
	int r;

	if (!index)
		return -EUCLEAN;
	for (i = json_array_size(entries); i-- > 0;)
		if (strcmp(entry_name(json_array_get(entries, i)), tag) == 0)
			(void)json_array_remove(entries, i);
	entry = index_entry(tag, digest, size, platform);
	if (entry && json_array_append_new(entries, entry) == 0)
		text = json_dumps(index, JSON_COMPACT);
	json_decref(index);
	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	r = file_write(w->dir, LAYOUT_INDEX, text, strlen(text), 0644, e);
	return r < 0 ? err_prefix(e, r, "%s", w->path) : 0;
}

static int sync_dir(struct layout_writer *w, const char *name, struct err *e)
{
	cleanup_close int fd = openat(w->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, -errno, "%s/%s", w->path, name);
	return 0;
}

static int write_all(struct layout_writer *w, const char *tag, const struct waiting_blob *blobs, size_t n,
		     const void *manifest, size_t size, const struct oci_platform *platform, struct err *e)
{
	char path[LAYOUT_BLOB_PATH_SIZE];
	struct digest digest;
	int r = make_frame(w, e);

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_blob(w, &blobs[i], e);
	if (r == 0 && sha256(&digest, manifest, size) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = make_file(w, layout_blob_path(&digest, path), manifest, size, e);
	if (r == 0)
		r = sync_dir(w, BLOB_DIR, e);
	if (r == 0)
		r = write_index(w, tag, &digest, size, platform, e);
	return r == 0 ? sync_dir(w, ".", e) : r;
}

int layout_write(const char *path, const char *tag, const struct waiting_blob *blobs, size_t n,
		 const void *manifest, size_t size, const struct oci_platform *platform,
		 struct destination_stats *stats, struct err *e)
{
	struct layout_writer w = {.path = path, .dir = -1, .stats = stats};
	sigset_t all, before;
	int r;

	/* blobs, the manifest, the layout's file and two directories */
	w.made = calloc(n + 4, sizeof(*w.made));
	if (!w.made)
		return err_set(e, -ENOMEM, "out of memory");
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	r = open_layout(&w, e);
	if (r == 0)
		r = write_all(&w, tag, blobs, n, manifest, size, platform, e);
	if (r < 0)
		undo(&w);
	if (w.dir >= 0)
		(void)close(w.dir);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(w.made);
	return r;
}
