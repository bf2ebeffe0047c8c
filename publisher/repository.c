/* SPDX-License-Identifier: Apache-2.0
 * Layout or registry behind one door. What a layout's files say is not trusted more than what a registry
 * says. */
#include "publisher/repository.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct repository {
	struct reference ref;
	int dir;			/* layout: its directory; else -1 */
	struct oci_manifest index;	/* layout: index.json */
	struct registry_client *client; /* registry; else NULL */
};

const char *layout_blob_path(const struct digest *d, char path[static LAYOUT_BLOB_PATH_SIZE])
{
	memcpy(path, "blobs/sha256/", sizeof("blobs/sha256/"));
	(void)digest_hex(d, path + strlen(path));
	return path;
}

int layout_file_check(const void *json, size_t size, struct err *e)
{
	json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, NULL);
	const char *version = json_string_value(json_object_get(root, "imageLayoutVersion"));
	int r = 0;

	if (!version)
		r = err_set(e, -EUCLEAN, "%s: no imageLayoutVersion", LAYOUT_FILE);
	else if (strcmp(version, "1.0.0") != 0)
		r = err_set(e, -ENOTSUP, "%s: layout version %s, this program reads 1.0.0", LAYOUT_FILE,
			    version);
	json_decref(root);
	return r;
}

static int open_layout(struct repository *r, struct err *e)
{
	cleanup_buf struct buf file = {.max = 4096}, index = {.max = OCI_MAX_DOCUMENT};
	int x;

	r->dir = open(r->ref.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir < 0)
		return err_errno(e, -errno, "%s", r->ref.path);
	x = file_read(r->dir, LAYOUT_FILE, &file, e);
	if (x == 0)
		x = layout_file_check(file.data, file.size, e);
	if (x == 0)
		x = file_read(r->dir, LAYOUT_INDEX, &index, e);
	if (x == 0)
		x = oci_manifest_decode(&r->index, index.data, index.size, e);
	if (x == 0 && r->index.kind != OCI_INDEX)
		x = err_set(e, -EUCLEAN, "%s is no index", LAYOUT_INDEX);
	if (x == -ENOENT)
		x = -EUCLEAN;
	return x < 0 ? err_prefix(e, x, "%s is not an OCI layout", r->ref.path) : 0;
}

static int open_registry(struct repository *r, const struct remote *remote, struct err *e)
{
	const char *plain = r->ref.registry;
	struct registry_options o = {.ca_file = remote->ca_file,
				     .docker_config = remote->auth_file,
				     .plain_http = &plain,
				     .n_plain_http = remote->plain_http ? 1 : 0};

	return registry_client_open(&r->client, &o, e);
}

int repository_open(struct repository **out, const struct reference *ref, const struct remote *remote,
		    struct err *e)
{
	struct repository *r = calloc(1, sizeof(*r));
	int x;

	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->ref = *ref;
	r->dir = -1;
	x = ref->layout ? open_layout(r, e) : open_registry(r, remote, e);
	if (x < 0) {
		repository_close(r);
		return x;
	}
	*out = r;
	return 0;
}

void repository_close(struct repository *r)
{
	if (!r)
		return;
	if (r->dir >= 0)
		(void)close(r->dir);
	oci_manifest_deinit(&r->index);
	registry_client_close(r->client);
	free(r);
}

struct registry_client *repository_registry(const struct repository *r)
{
	return r->client;
}

/* Open a blob of a layout whose size is as promised. */
static int open_blob(const struct repository *r, const struct oci_blob *blob, struct err *e)
{
	char path[LAYOUT_BLOB_PATH_SIZE];
	cleanup_close int fd =
		openat(r->dir, layout_blob_path(&blob->digest, path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, -EUCLEAN, "%s is missing", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "%s", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != blob->size)
		return err_set(e, -EBADMSG, "%s: not a file of %llu bytes", path,
			       (unsigned long long)blob->size);
	return take_fd(&fd);
}

static int to_buf(void *arg, const void *p, size_t n)
{
	struct buf *to = arg;

	buf_put(to, p, n);
	return buf_failed(to) ? -E2BIG : 0;
}

static int read_layout_blob(const struct repository *r, const struct oci_blob *blob, struct buf *to,
			    struct err *e)
{
	cleanup_close int fd = open_blob(r, blob, e);
	size_t start = to->size;
	struct digest got;
	int x;

	if (fd < 0)
		return fd;
	buf_zero(to, blob->size);
	x = read_full(fd, to->data + start, blob->size);
	if (x == 0)
		x = sha256(&got, to->data + start, blob->size);
	if (x < 0)
		return err_errno(e, x, "cannot read a blob of %s", r->ref.path);
	if (!digest_equal(&got, &blob->digest))
		return err_set(e, -EBADMSG, "%s: the blob's bytes do not have its digest", r->ref.path);
	return 0;
}

int repository_read(struct repository *r, const struct oci_blob *blob, struct buf *to, struct err *e)
{
	if (to->failed || blob->size > to->max - to->size)
		return err_set(e, -E2BIG, "a blob of %llu bytes where at most %zu are taken",
			       (unsigned long long)blob->size, to->max);
	if (r->client)
		return registry_get_blob(r->client, &r->ref, blob, to_buf, to, e);
	return read_layout_blob(r, blob, to, e);
}

struct window {
	uint8_t *at;
};

static int to_window(void *arg, const void *p, size_t n)
{
	struct window *w = arg;

	memcpy(w->at, p, n);
	w->at += n;
	return 0;
}

int repository_pread(struct repository *r, const struct oci_blob *blob, void *to, size_t n, uint64_t offset,
		     struct err *e)
{
	struct window w = {to};
	int x;

	if (offset > blob->size || n > blob->size - offset)
		return err_set(e, -EINVAL, "a range outside of the blob");
	if (r->client)
		return registry_get_range(r->client, &r->ref, &blob->digest, offset, n, to_window, &w, e);
	cleanup_close int fd = open_blob(r, blob, e);

	if (fd < 0)
		return fd;
	x = pread_full(fd, to, n, offset);
	return x < 0 ? err_errno(e, x, "cannot read a blob of %s", r->ref.path) : 0;
}

int repository_stream(struct repository *r, const struct oci_blob *blob, struct blob_stream **out,
		      struct err *e)
{
	int fd;

	if (r->client)
		return blob_stream_registry(out, r->client, &r->ref, blob, e);
	fd = open_blob(r, blob, e);
	return fd < 0 ? fd : blob_stream_file(out, fd, e);
}

/* Several images of one name need platforms to be told apart. */
static int choose_platform(const struct oci_manifest *named, const struct oci_platform *platform,
			   const struct oci_entry **out, struct err *e)
{
	for (uint32_t i = 0; i < named->n_entries; i++)
		if (!named->entries[i].platform.os[0])
			return err_set(e, -EUCLEAN, "their platforms do not tell them apart");
	return oci_index_choose(out, named, platform, e);
}

/* The entry of index.json that the tag names: without a tag the only one; several of one name are told apart
 * by platform. */
static int choose_entry(const struct repository *r, const struct oci_platform *platform, struct oci_blob *out,
			struct err *e)
{
	const char *tag = r->ref.tag;
	struct oci_manifest named = {.kind = OCI_INDEX};
	const struct oci_entry *chosen;
	int x = 0;

	named.entries = calloc(r->index.n_entries + 1, sizeof(*named.entries));
	if (!named.entries)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < r->index.n_entries; i++)
		if (!tag[0] || strcmp(r->index.entries[i].ref_name, tag) == 0)
			named.entries[named.n_entries++] = r->index.entries[i];
	chosen = named.entries;
	if (named.n_entries == 0)
		x = err_set(e, -ENOENT, "%s has no image%s%s", r->ref.path, tag[0] ? " named " : "", tag);
	else if (named.n_entries > 1)
		x = choose_platform(&named, platform, &chosen, e);
	if (x == 0)
		*out = chosen->blob;
	else if (named.n_entries > 1)
		(void)err_prefix(e, x, "%s has %u images%s%s", r->ref.path, named.n_entries,
				 tag[0] ? " named " : "; say which with oci:DIR:TAG", tag);
	free(named.entries);
	return x;
}

/* Decode what is in `json`; when it is an index, *blob becomes the chosen entry, whose manifest is to be read
 * next. */
static int decode(struct oci_manifest *out, const struct buf *json, const struct oci_platform *platform,
		  struct oci_blob *blob, bool nested, struct err *e)
{
	const struct oci_entry *entry;
	int x = oci_manifest_decode(out, json->data, json->size, e);

	if (x < 0 || out->kind == OCI_MANIFEST)
		return x;
	if (nested)
		x = err_set(e, -ENOTSUP, "an index inside an index");
	else
		x = oci_index_choose(&entry, out, platform, e);
	if (x == 0)
		*blob = entry->blob;
	oci_manifest_deinit(out);
	*out = (struct oci_manifest){.kind = OCI_INDEX};
	return x;
}

static bool is_document(const char *media_type)
{
	static const char *const types[] = {OCI_TYPE_MANIFEST, OCI_TYPE_INDEX, DOCKER_TYPE_MANIFEST,
					    DOCKER_TYPE_LIST};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(media_type, types[i]) == 0)
			return true;
	return false;
}

/* A manifest or index by digest. */
static int read_document(struct repository *r, const struct oci_blob *blob, struct buf *json,
			 struct digest *digest, struct err *e)
{
	struct reference ref = r->ref;
	int x;

	json->size = 0;
	if (!is_document(blob->media_type))
		return err_set(e, -ENOTSUP, "%s is neither a manifest nor an index", blob->media_type);
	if (!r->client) {
		*digest = blob->digest;
		return repository_read(r, blob, json, e);
	}
	ref.has_digest = true;
	ref.digest = blob->digest;
	x = registry_get_manifest(r->client, &ref, json, digest, e);
	if (x == 0 && json->size != blob->size)
		x = err_set(e, -EBADMSG, "the manifest has %zu bytes, its index says %llu", json->size,
			    (unsigned long long)blob->size);
	return x;
}

int repository_manifest(struct repository *r, const struct oci_platform *platform, struct buf *json,
			struct digest *digest, struct oci_manifest *out, struct err *e)
{
	struct oci_manifest m = {0};
	struct oci_blob blob;
	int x;

	if (r->client) {
		x = registry_get_manifest(r->client, &r->ref, json, digest, e);
	} else {
		x = choose_entry(r, platform, &blob, e);
		if (x == 0)
			x = read_document(r, &blob, json, digest, e);
	}
	if (x == 0)
		x = decode(&m, json, platform, &blob, false, e);
	if (x == 0 && m.kind == OCI_INDEX) {
		x = read_document(r, &blob, json, digest, e);
		if (x == 0)
			x = decode(&m, json, platform, &blob, true, e);
	}
	if (x == 0)
		*out = m;
	return x;
}
