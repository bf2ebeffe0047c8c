/* SPDX-License-Identifier: Apache-2.0
 * Files, directories, symlinks, a device, attributes, twins and holes, in layers whose data follow the
 * metadata. */
#include "specimen.h"
#include "proto/base/bytes.h"
#include "publisher/erofs_writer.h"
#include "publisher/tree_nodes.h"
#include "random.h"
#include "test/unit/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_IN_DIR 50u
#define NAMES_IN_WIDE 200u /* a directory of several blocks, apart from its inode */

struct making {
	const struct specimen_shape *shape;
	struct tree *tree;
	struct buf data[MAX_BLOBS]; /* of each layer */
	struct random random;	    /* shapes the tree */
};

static struct node *put(struct making *m, unsigned int layer, const char *path, struct node_attr attr)
{
	struct node *n;

	attr.mtime = 1600000000 + (int64_t)random_below(&m->random, 1000);
	attr.mtime_nsec = (uint32_t)random_below(&m->random, 1000000000);
	attr.uid = (uint32_t)random_below(&m->random, 70000);
	must(tree_put(m->tree, layer, path, &attr, &n, NULL) == 0);
	return n;
}

/* One attribute, user.x. */
static const struct xattr_set *attribute(struct making *m, size_t size)
{
	const struct xattr_set *set;
	struct buf b;

	buf_init(&b, 1 << 16);
	buf_u8(&b, 1);
	buf_u8(&b, 1);
	buf_le16(&b, (uint16_t)size);
	buf_put(&b, "x", 1);
	for (size_t i = 0; i < size; i++)
		buf_u8(&b, (uint8_t)random_next(&m->random));
	buf_zero(&b, -b.size & 3);
	set = tree_xattrs(m->tree, b.data, b.size);
	must(set && !buf_failed(&b));
	buf_deinit(&b);
	return set;
}

/* n blocks that no other file has; most of what does not have to be noise compresses well. */
static void put_blocks(struct making *m, struct buf *to, struct random *content, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		uint8_t block[BLOCK_SIZE];
		bool noise = m->shape->noise || random_one_in(content, 64);

		memset(block, (int)random_below(content, 256), sizeof(block));
		random_fill(content, block, noise ? sizeof(block) : 20);
		buf_put(to, block, sizeof(block));
	}
}

/* The last n bytes again. */
static void put_twin(struct buf *to, size_t n)
{
	uint8_t *copy = malloc(n);

	must(copy);
	memcpy(copy, to->data + to->size - n, n);
	buf_put(to, copy, n);
	free(copy);
}

static void put_file(struct making *m, uint32_t number, const char *path)
{
	unsigned int layer = number % m->shape->n_layers;
	unsigned int version = number % 5 == 0 ? m->shape->version : 0;
	struct random content = {m->shape->contents + ((uint64_t)version << 32) + number};
	uint32_t blocks = 1 + (uint32_t)random_below(&m->random, 2 * m->shape->file_blocks - 1);
	struct buf *data = &m->data[layer];
	struct node *n = put(m, layer, path, (struct node_attr){.mode = S_IFREG | 0644});
	bool hole = number % 13 == 5 && blocks > 2; /* the first block is one */

	n->layer = (uint8_t)layer;
	n->start = (uint32_t)(data->size / BLOCK_SIZE);
	n->size = (uint64_t)blocks * BLOCK_SIZE - random_below(&m->random, BLOCK_SIZE);
	blocks -= hole;
	if (number % 11 == 10 && data->size >= (size_t)blocks * BLOCK_SIZE)
		put_twin(data, (size_t)blocks * BLOCK_SIZE);
	else
		put_blocks(m, data, &content, blocks);
	if (number % 7 == 3)
		n->xattrs = attribute(m, 1 + random_below(&m->random, 60));
	if (hole) {
		n->sparse = calloc(1, sizeof(*n->sparse) + sizeof(n->sparse->runs[0]));
		must(n->sparse);
		n->sparse->n_runs = 1;
		n->sparse->runs[0] =
			(struct sparse_run){.block = 1, .count = blocks, .start = n->start, .layer = layer};
	}
}

static void make_tree(struct making *m)
{
	char path[200], target[300];

	for (uint32_t k = 0; k < m->shape->n_files; k++) {
		uint32_t dir = k / FILES_IN_DIR;

		if (k % FILES_IN_DIR == 0) {
			(void)snprintf(path, sizeof(path), "dir%u", dir);
			put(m, 0, path, (struct node_attr){.mode = S_IFDIR | 0755});
		}
		(void)snprintf(path, sizeof(path), "dir%u/a file of some name, number %u", dir, k);
		put_file(m, k, path);
		if (k % 9 == 4) {
			memset(target, 't', sizeof(target));
			target[10 + random_below(&m->random, sizeof(target) - 11)] = '\0';
			(void)snprintf(path, sizeof(path), "dir%u/link%u", dir, k);
			put(m, 0, path, (struct node_attr){.mode = S_IFLNK | 0777, .target = target});
		}
	}
	put(m, 0, "null", (struct node_attr){.mode = S_IFCHR | 0666, .rdev = 0x103});
	put(m, 0, "wide", (struct node_attr){.mode = S_IFDIR | 0755});
	for (uint32_t k = 0; k < NAMES_IN_WIDE; k++) {
		(void)snprintf(path, sizeof(path), "wide/one of many names of the same device, %u", k);
		must(tree_link(m->tree, 0, path, "null", NULL) == 0);
	}
}

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(arg, p, n);
	return 0;
}

static void make_plain(struct specimen *out, const struct specimen_shape *shape)
{
	struct making m = {.shape = shape, .random = {shape->contents}};
	static const uint8_t uuid[16] = "tamper specimen";
	uint64_t blocks[MAX_BLOBS];
	struct erofs_plan plan;
	struct buf image;

	must(tree_new(&m.tree) == 0 && shape->n_layers <= MAX_BLOBS);
	for (uint32_t k = 0; k < shape->n_layers; k++)
		buf_init(&m.data[k], 1u << 30);
	make_tree(&m);
	for (uint32_t k = 0; k < shape->n_layers; k++)
		blocks[k] = m.data[k].size / BLOCK_SIZE;
	buf_init(&image, 1u << 30);
	must(erofs_plan(&plan, m.tree, blocks, shape->n_layers, uuid, NULL) == 0);
	must(erofs_write(&plan, take, &image, NULL) == 0);
	out->meta_size = image.size;
	for (uint32_t k = 0; k < shape->n_layers; k++) {
		buf_put(&image, m.data[k].data, m.data[k].size);
		must(!buf_failed(&m.data[k]));
		buf_deinit(&m.data[k]);
	}
	must(!buf_failed(&image));
	tree_free(m.tree);
	out->plain = image.data;
	out->size = image.size;
}

void specimen_make(struct specimen *out, const struct specimen_shape *shape)
{
	struct random r = {shape->secrets}, salt = {shape->secrets + shape->version};
	struct seal_secrets secrets;

	*out = (struct specimen){0};
	make_plain(out, shape);
	random_fill(&r, (uint8_t *)&secrets, sizeof(secrets));
	random_fill(&salt, secrets.salt, sizeof(secrets.salt));
	(void)snprintf(out->config, sizeof(out->config), "{\"contents\":%llu,\"version\":%u}",
		       (unsigned long long)shape->contents, shape->version);
	seal(&out->sealed, out->plain, out->size,
	     &(struct seal_options){.secrets = &secrets,
				    .cut = shape->cut,
				    .meta_size = (uint32_t)out->meta_size,
				    .page_extents = shape->page_extents,
				    .n_data_blobs = shape->n_layers,
				    .config = out->config,
				    .startup = true});
}

void specimen_free(struct specimen *s)
{
	seal_free(&s->sealed);
	free(s->plain);
	*s = (struct specimen){0};
}

/* In place of the annotations that the manifest ends with, if any. */
void specimen_annotate(struct specimen *s, const char *jwe, const char *descriptor)
{
	const char *old = s->sealed.manifest, *there = strstr(old, ",\"annotations\"");
	size_t kept = there ? (size_t)(there - old) : strlen(old) - strlen("}]}");
	char *text = NULL;

	must(asprintf(&text,
		      "%.*s,\"annotations\":{\"dev.cocoon.descriptor\":\"%s\","
		      "\"org.opencontainers.image.enc.keys.jwe\":\"%s\"}}]}",
		      (int)kept, old, descriptor, jwe) > 0);
	free(s->sealed.manifest);
	s->sealed.manifest = text;
}
