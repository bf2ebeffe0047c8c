/* SPDX-License-Identifier: Apache-2.0
 * The publisher's tree without its sealing: an image of an OCI layout becomes a plain EROFS file, which
 * fsck.erofs and the kernel can look at. Prints what it cost.
 *
 *   erofs-plain LAYOUT FILE.erofs        the layout's index names one manifest, or the last one is taken */
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/oci/manifest.h"
#include "publisher/erofs_writer.h"
#include "publisher/layer_reader.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

/* The sink of all layers: data go to one file, back to back. */
struct layer_sink {
	int fd;
	uint64_t at, end; /* of the run that is open */
	uint64_t layer_start;
};

int layer_sink_begin(struct layer_sink *s, uint64_t size, uint64_t *first_block, struct err *e)
{
	if (s->at % BLOCK_SIZE)
		return err_set(e, -EINVAL, "a run within a run");
	s->end = s->at + size;
	*first_block = (s->at - s->layer_start) / BLOCK_SIZE;
	return 0;
}

int layer_sink_write(struct layer_sink *s, const void *p, size_t n, struct err *e)
{
	int r = s->at + n > s->end ? -EINVAL : pwrite_full(s->fd, p, n, s->at);

	if (r < 0)
		return err_errno(e, r, "data file");
	s->at += n;
	return 0;
}

int layer_sink_end(struct layer_sink *s, struct err *e)
{
	if (s->at != s->end)
		return err_set(e, -EINVAL, "a run of another length than promised");
	s->at = (s->at + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	return 0;
}

static int read_blob(void *arg, void *buf, size_t room, size_t *n, struct err *e)
{
	ssize_t got = read(*(int *)arg, buf, room);

	if (got < 0)
		return err_errno(e, -errno, "blob");
	*n = (size_t)got;
	return 0;
}

static int blob_path(const char *layout, const struct digest *d, char *out, size_t size)
{
	char hex[DIGEST_HEX_SIZE];

	return snprintf(out, size, "%s/blobs/sha256/%s", layout, digest_hex(d, hex)) < (int)size
		       ? 0
		       : -ENAMETOOLONG;
}

static int read_json(const char *layout, const struct digest *d, struct buf *out, struct err *e)
{
	char path[4096];
	int r = blob_path(layout, d, path, sizeof(path));

	return r < 0 ? r : file_read(AT_FDCWD, path, out, e);
}

static int find_manifest(const char *layout, struct oci_manifest *out, struct err *e)
{
	cleanup_buf struct buf json = {.max = OCI_MAX_DOCUMENT};
	char path[4096];
	int r;

	(void)snprintf(path, sizeof(path), "%s/index.json", layout);
	r = file_read(AT_FDCWD, path, &json, e);
	if (r == 0)
		r = oci_manifest_decode(out, json.data, json.size, e);
	while (r == 0 && out->kind == OCI_INDEX) {
		struct digest d;

		if (!out->n_entries)
			return err_set(e, -ENOENT, "an empty index");
		d = out->entries[out->n_entries - 1].blob.digest;
		oci_manifest_deinit(out);
		json.size = 0;
		r = read_json(layout, &d, &json, e);
		if (r == 0)
			r = oci_manifest_decode(out, json.data, json.size, e);
	}
	return r;
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long peak_kib(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static int apply_layer(const char *layout, struct tree *t, unsigned i, const struct oci_blob *blob,
		       const struct digest *diff_id, struct layer_sink *sink, uint64_t *tar_bytes,
		       struct err *e)
{
	cleanup_close int fd = -1;
	char path[4096];
	struct layer_stats stats;
	struct layer_source source = {.read = read_blob,
				      .arg = &fd,
				      .media_type = blob->media_type,
				      .digest = blob->digest,
				      .size = blob->size,
				      .diff_id = *diff_id};
	int r = blob_path(layout, &blob->digest, path, sizeof(path));

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	sink->layer_start = sink->at;
	r = layer_apply(t, i, &source, sink, &stats, e);
	*tar_bytes += stats.tar_bytes;
	return r;
}

struct image_file {
	int fd;
	uint64_t at;
};

static int write_image(void *arg, const void *p, size_t n, struct err *e)
{
	struct image_file *f = arg;
	int r = pwrite_full(f->fd, p, n, f->at);

	if (r < 0)
		return err_errno(e, r, "image file");
	f->at += n;
	return 0;
}

static int copy_data(struct image_file *f, int data, uint64_t size, struct err *e)
{
	off_t from = 0, to = (off_t)f->at;

	if (ftruncate(f->fd, to + (off_t)size) < 0)
		return err_errno(e, -errno, "image file");
	while ((uint64_t)from < size) {
		ssize_t n = copy_file_range(data, &from, f->fd, &to, size - (uint64_t)from, 0);

		if (n < 0)
			return err_errno(e, -errno, "copying");
		if (n == 0)
			break; /* the padding of the last run */
	}
	return 0;
}

static int build(const char *layout, const char *file, struct err *e)
{
	static const uint8_t uuid[16] = "erofs-plain test";
	cleanup_tree struct tree *t = NULL;
	cleanup_close int data = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	cleanup_close int out = open(file, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	cleanup_buf struct buf json = {.max = OCI_MAX_DOCUMENT};
	struct layer_sink sink = {.fd = data};
	struct image_file image = {.fd = out};
	uint64_t blocks[MAX_BLOBS] = {0}, tar_bytes = 0;
	struct oci_manifest m = {0};
	struct oci_config c = {0};
	struct erofs_plan plan;
	double start = seconds(), applied;
	int r = find_manifest(layout, &m, e);

	if (r == 0 && (data < 0 || out < 0))
		r = err_errno(e, -errno, "%s", file);
	if (r == 0)
		r = read_json(layout, &m.config.digest, &json, e);
	if (r == 0)
		r = oci_config_decode(&c, json.data, json.size, e);
	if (r == 0 && c.n_diff_ids != m.n_layers)
		r = err_set(e, -EUCLEAN, "%u layers, %u diff IDs", m.n_layers, c.n_diff_ids);
	if (r == 0)
		r = tree_new(&t);
	for (uint32_t i = 0; r == 0 && i < m.n_layers; i++) {
		r = apply_layer(layout, t, i, &m.layers[i], &c.diff_ids[i], &sink, &tar_bytes, e);
		if (r == 0)
			blocks[i] = (sink.at - sink.layer_start) / BLOCK_SIZE;
		else
			(void)err_prefix(e, r, "layer %u", i);
	}
	applied = seconds() - start;
	if (r == 0)
		r = erofs_plan(&plan, t, blocks, m.n_layers, uuid, e);
	if (r == 0)
		r = erofs_write(&plan, write_image, &image, e);
	if (r == 0 && image.at != (uint64_t)plan.meta_blocks * BLOCK_SIZE)
		r = err_set(e, -EIO, "%llu bytes of metadata, not %u blocks", (unsigned long long)image.at,
			    plan.meta_blocks);
	if (r == 0)
		r = copy_data(&image, data, sink.at, e);
	if (r == 0)
		(void)printf(
			"inodes=%llu names=%llu tar=%llu meta_blocks=%u blocks=%u apply_s=%.2f MB/s=%.0f "
			"names/s=%.0f total_s=%.2f peak_kib=%ld\n",
			(unsigned long long)tree_count(t).inodes, (unsigned long long)tree_count(t).names,
			(unsigned long long)tar_bytes, plan.meta_blocks, plan.blocks, applied,
			(double)tar_bytes / 1e6 / applied, (double)tree_count(t).names / applied,
			seconds() - start, peak_kib());
	oci_config_deinit(&c);
	oci_manifest_deinit(&m);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = {""};
	int r;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: erofs-plain LAYOUT FILE.erofs\n");
		return 2;
	}
	r = build(argv[1], argv[2], &e);
	if (r < 0) {
		(void)fprintf(stderr, "erofs-plain: %s (%s)\n", e.text, strerror(-r));
		return 1;
	}
	return 0;
}
