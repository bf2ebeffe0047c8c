/* SPDX-License-Identifier: Apache-2.0
 * Every entry of a layer's tar goes where it belongs: whiteouts take away, links add a name, everything else
 * becomes an inode, and a file's bytes go to the sink. */
#include "publisher/layer_reader.h"

#include "proto/base/cleanup.h"
#include "proto/format/format.h"
#include "publisher/layer_data.h"
#include "publisher/layer_stream.h"
#include "publisher/layer_xattr.h"
#include "publisher/tar_reader.h"
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MAJOR 0xfffu
#define MAX_MINOR 0xfffffu

DEFINE_CLEANUP(stream, struct layer_stream *, layer_stream_free)
DEFINE_CLEANUP(tar, struct tar_reader *, tar_reader_free)
#define cleanup_stream __attribute__((cleanup(cleanup_stream)))
#define cleanup_tar __attribute__((cleanup(cleanup_tar)))

static mode_t file_type(enum tar_type type)
{
	switch (type) {
	case TAR_SYMLINK:
		return S_IFLNK;
	case TAR_CHR:
		return S_IFCHR;
	case TAR_BLK:
		return S_IFBLK;
	case TAR_DIR:
		return S_IFDIR;
	case TAR_FIFO:
		return S_IFIFO;
	case TAR_FILE:
	case TAR_LINK:
		break;
	}
	return S_IFREG;
}

/* As the kernel encodes a device number in 32 bits. 0:0 is one like any other here, as it is to umoci and
 * containerd, although overlayfs takes such a character device for a whiteout: in a layer only names are
 * whiteouts. */
static uint32_t encode_device(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static int check(const struct tar_entry *entry, struct err *e)
{
	if (entry->uid > TREE_MAX_ID || entry->gid > TREE_MAX_ID)
		return err_set(e, -EUCLEAN, "%s: user or group %u does not exist", entry->path, UINT32_MAX);
	if (entry->type == TAR_SYMLINK && (!*entry->link || strlen(entry->link) > TREE_MAX_TARGET))
		return err_set(e, -EUCLEAN, "%s: a symlink's target has 1 to %u bytes", entry->path,
			       TREE_MAX_TARGET);
	if ((entry->type == TAR_CHR || entry->type == TAR_BLK) &&
	    (entry->major > MAX_MAJOR || entry->minor > MAX_MINOR))
		return err_set(e, -ENOTSUP, "%s: device %u:%u; Linux has up to %u:%u", entry->path,
			       entry->major, entry->minor, MAX_MAJOR, MAX_MINOR);
	return 0;
}

static int put(struct layer_data *d, const struct tar_entry *entry, struct err *e)
{
	struct node_attr attr = {
		.mode = (uint16_t)(file_type(entry->type) | entry->mode),
		.uid = entry->uid,
		.gid = entry->gid,
		.mtime = entry->mtime,
		.mtime_nsec = entry->mtime_nsec,
		.target = entry->type == TAR_SYMLINK ? entry->link : NULL,
	};
	struct node *node;
	int r = check(entry, e);

	if (r == 0)
		r = layer_xattrs(&attr.xattrs, &attr.mode, d->tree, entry, d->stats, e);
	if (r < 0)
		return r;
	if (entry->type == TAR_CHR || entry->type == TAR_BLK)
		attr.rdev = encode_device(entry->major, entry->minor);
	r = tree_put(d->tree, d->layer, entry->path, &attr, &node, e);
	if (r < 0 || entry->type != TAR_FILE)
		return r;
	r = layer_data_store(d, entry, node, e);
	return r < 0 ? err_prefix(e, r, "%s", entry->path) : 0;
}

static int apply(struct layer_data *d, const struct tar_entry *entry, struct err *e)
{
	int r = tree_whiteout(d->tree, d->layer, entry->path, e);

	if (r == TREE_WHITEOUT)
		return 0;
	if (r < 0)
		return r;
	if (entry->type == TAR_LINK)
		return tree_link(d->tree, d->layer, entry->path, entry->link, e);
	return put(d, entry, e);
}

static int apply_all(struct layer_data *d, struct err *e)
{
	struct tar_entry entry;
	int r;

	while ((r = tar_next(d->tar, &entry, e)) == 0) {
		d->stats->entries++;
		r = apply(d, &entry, e);
		if (r < 0)
			return r;
	}
	return r == TAR_END ? 0 : r;
}

int layer_apply(struct tree *t, unsigned index, const struct layer_source *source, struct layer_sink *sink,
		struct layer_stats *stats, struct err *e)
{
	cleanup_stream struct layer_stream *stream = NULL;
	cleanup_tar struct tar_reader *tar = NULL;
	cleanup_free uint8_t *buffer = NULL;
	struct err delivery;
	struct layer_data d = {.tree = t, .sink = sink, .stats = stats, .layer = index};
	int r;

	*stats = (struct layer_stats){0};
	if (index >= MAX_BLOBS - 1)
		return err_set(e, -ENOTSUP, "more than %u layers", MAX_BLOBS - 1);
	buffer = malloc(LAYER_WHOLE_FILE);
	if (!buffer)
		return -ENOMEM;
	r = layer_stream_new(&stream, source, e);
	if (r == 0)
		r = tar_reader_new(&tar, layer_stream_pull, stream);
	if (r < 0)
		return r;
	d.buffer = buffer;
	d.tar = tar;
	r = apply_all(&d, e);
	if (r == 0)
		r = layer_stream_finish(stream, e);
	else if (r == -EUCLEAN && layer_stream_check_stored(stream, &delivery) == -EBADMSG)
		r = err_set(e, -EBADMSG, "%s", delivery.text); /* the reason of whatever was found in it */
	stats->tar_bytes = layer_stream_size(stream);
	return r;
}
