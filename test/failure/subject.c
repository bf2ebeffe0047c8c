/* SPDX-License-Identifier: Apache-2.0
 * Making the image and its host, and asking. */
#include "subject.h"
#include "crypto/keyfile.h"
#include "crypto/keypair.h"
#include "crypto/keywrap.h"
#include "crypto/sha256.h"
#include "erofs_fixture.h"
#include "guestfs/erofs_reader.h"
#include "inject.h"
#include "proto/base/io.h"
#include "test/unit/must.h"
#include "wire_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 140u /* more than one block of the chunk table, so there is a tree above it */
#define CONFIG "{\"config\":{\"Env\":[\"A=B\"]}}"

/* ---- the image and its host ---- */

static void rsa_pair(const char *private, const char *public)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	FILE *f = fopen(private, "w");

	must(key && f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
	f = fopen(public, "w");
	must(f && PEM_write_PUBKEY(f, key) == 1 && fclose(f) == 0);
	EVP_PKEY_free(key);
}

/* Put the image key for both recipients into the index layer's annotations. */
static void wrap_key(const struct subject *s, struct sealed *sealed, const struct secret *key)
{
	char public[2][112];
	struct digest descriptor;
	struct buf text, json;
	size_t n = strlen(sealed->manifest);

	(void)snprintf(public[0], sizeof(public[0]), "%s.pub", s->ec);
	(void)snprintf(public[1], sizeof(public[1]), "%s.pub", s->rsa);
	must(keypair_write(s->ec, public[0], NULL) == 0);
	rsa_pair(s->rsa, public[1]);
	must(sha256(&descriptor, sealed->descriptor, sizeof(sealed->descriptor)) == 0);
	buf_init(&text, KEYWRAP_MAX_ANNOTATION);
	for (int k = 0; k < 2; k++)
		must(keywrap_wrap(&text, key, &descriptor, public[k], NULL) == 0);
	must(n > 4 && strcmp(sealed->manifest + n - 4, "}}]}") == 0);
	buf_init(&json, 1 << 20);
	buf_put(&json, sealed->manifest, n - 4);
	buf_put(&json, ",\"org.opencontainers.image.enc.keys.jwe\":\"", 42);
	buf_put(&json, text.data, text.size);
	buf_put(&json, "\"}}]}", 6);
	must(!buf_failed(&json));
	buf_deinit(&text);
	free(sealed->manifest);
	sealed->manifest = (char *)json.data;
}

_Noreturn static void host(const struct subject *s, int ready)
{
	static struct wire_host h;
	struct sealed sealed;
	struct secret key;

	inject_order = NULL;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	seal(&sealed, s->plain, s->size,
	     &(struct seal_options){.cut = 4096,
				    .meta_size = 7 * 4096,
				    .page_extents = 40,
				    .n_data_blobs = 2,
				    .config = CONFIG,
				    .startup = true});
	memcpy(key.bytes, sealed.image_key, sizeof(key.bytes));
	must(keyfile_write(&key, s->key, KEYFILE_IMAGE, NULL) == 0);
	wrap_key(s, &sealed, &key);
	wire_host_start(&h, &sealed, s->address + strlen("unix:"));
	must(write(ready, "", 1) == 1);
	for (;;)
		(void)pause();
}

void subject_make(struct subject *s)
{
	uint32_t x = 1;
	int fds[2];
	char byte;

	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/cocoon-failure.XXXXXX");
	must(mkdtemp(s->dir));
	(void)snprintf(s->key, sizeof(s->key), "%s/key", s->dir);
	(void)snprintf(s->ec, sizeof(s->ec), "%s/ec", s->dir);
	(void)snprintf(s->rsa, sizeof(s->rsa), "%s/rsa", s->dir);
	(void)snprintf(s->address, sizeof(s->address), "unix:%s/host", s->dir);
	s->size = (size_t)BLOCKS * 4096;
	s->plain = malloc(s->size);
	must(s->plain);
	fixture_make(s->plain);
	for (size_t k = FIXTURE_SIZE; k < s->size; k++) {
		x = x * 1664525 + 1013904223;
		s->plain[k] = (k / 4096) % 2 ? (uint8_t)(x >> 24) : (uint8_t)(k / 4096);
	}
	must(pipe(fds) == 0);
	s->host = fork();
	must(s->host >= 0);
	if (s->host == 0)
		host(s, fds[1]);
	must(read(fds[0], &byte, 1) == 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

void subject_drop(struct subject *s)
{
	struct dirent *d;
	DIR *dir;

	(void)kill(s->host, SIGKILL);
	(void)waitpid(s->host, NULL, 0);
	dir = opendir(s->dir);
	while (dir && (d = readdir(dir)))
		(void)unlinkat(dirfd(dir), d->d_name, 0);
	if (dir)
		(void)closedir(dir);
	(void)rmdir(s->dir);
	free(s->plain);
}

/* ---- questions ---- */

static void put(struct answer *a, const void *p, size_t n)
{
	must(a->size + n <= ANSWER_MAX);
	memcpy(a->bytes + a->size, p, n);
	a->size += n;
}

static int put_entry(void *arg, const struct erofs_entry *entry)
{
	put(arg, &entry->nid, sizeof(entry->nid));
	put(arg, &entry->type, 1);
	put(arg, entry->name, entry->name_size);
	put(arg, "", 1);
	return 0;
}

static void put_inode(struct answer *a, const struct erofs_inode *x)
{
	const uint64_t numbers[] = {
		x->nid, x->size, (uint64_t)x->mtime, x->mtime_nsec, x->xattr_size, x->mode,
		x->uid, x->gid,	 x->nlink,	     x->rdev};

	put(a, numbers, sizeof(numbers));
}

static int ask_names(const struct erofs *fs, const struct erofs_inode *x, struct answer *a, struct err *e)
{
	static char names[4096], value[EROFS_XATTR_VALUE_SIZE];
	size_t n = 0, size = 0;
	int r = erofs_listxattr(fs, x, names, sizeof(names), &n, e);

	if (r == 0)
		put(a, names, n);
	for (const char *at = names; r == 0 && at < names + n; at += strlen(at) + 1) {
		r = erofs_getxattr(fs, x, at, value, sizeof(value), &size, e);
		if (r == 0)
			put(a, value, size);
	}
	return r;
}

static int ask_node(const struct question *q, const struct erofs *fs, struct answer *a, struct err *e)
{
	static char bytes[ANSWER_MAX];
	struct erofs_inode x, child;
	uint64_t nid = 0;
	uint8_t type = 0;
	size_t n = 0;
	int r = erofs_inode_read(fs, &x, q->nid, e);

	if (r < 0)
		return r;
	switch ((int)q->what) {
	case ASK_LOOKUP:
		r = erofs_lookup(fs, &x, q->name, strlen(q->name), &nid, &type, e);
		if (r == 0)
			r = erofs_child(fs, &x, nid, type, &child, e);
		if (r == 0)
			put_inode(a, &child);
		return r;
	case ASK_LIST:
		return erofs_readdir(fs, &x, 0, put_entry, a, e);
	case ASK_LINK:
		r = erofs_readlink(fs, &x, bytes, e);
		if (r == 0)
			put(a, bytes, strlen(bytes));
		return r;
	case ASK_NAMES:
		return ask_names(fs, &x, a, e);
	case ASK_DATA:
		r = erofs_read(fs, &x, bytes, sizeof(bytes), 0, &n, e);
		if (r == 0)
			put(a, bytes, n);
		return r;
	default:
		put_inode(a, &x);
		return 0;
	}
}

static int memory_pread(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	const struct subject *s = arg;

	(void)e;
	memcpy(to, s->plain + offset, n);
	return 0;
}

static void add(struct book *b, struct question q)
{
	b->questions = reallocarray(b->questions, b->n + 1, sizeof(q));
	must(b->questions);
	b->questions[b->n++] = q;
}

static void add_nodes(struct book *b, const struct erofs *fs)
{
	static const uint64_t nids[] = {NID_ROOT, NID_BIG,  NID_INLINE, NID_CHUNKED, NID_INDEXED,
					NID_LINK, NID_NULL, NID_FIFO,	NID_DIR,     NID_X};
	static const char *const names[] = {"big",    "chunked", "dir",	 "fifo", "indexed",
					    "inline", "link",	 "null", "x"};

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		struct question q = {.what = ASK_LOOKUP, .nid = fs->root_nid};

		(void)snprintf(q.name, sizeof(q.name), "%s", names[k]);
		add(b, q);
	}
	for (size_t k = 0; k < sizeof(nids) / sizeof(nids[0]); k++) {
		struct erofs_inode x;

		must(erofs_inode_read(fs, &x, nids[k], NULL) == 0);
		add(b, (struct question){.what = ASK_INODE, .nid = nids[k]});
		if (x.xattr_size > 0)
			add(b, (struct question){.what = ASK_NAMES, .nid = nids[k]});
		if (S_ISDIR(x.mode))
			add(b, (struct question){.what = ASK_LIST, .nid = nids[k]});
		if (S_ISLNK(x.mode))
			add(b, (struct question){.what = ASK_LINK, .nid = nids[k]});
		if (S_ISREG(x.mode))
			add(b, (struct question){.what = ASK_DATA, .nid = nids[k]});
	}
}

void book_make(struct book *b, const struct subject *s)
{
	struct erofs fs;

	*b = (struct book){0};
	must(erofs_open(&fs, memory_pread, (void *)(uintptr_t)s, s->size, NULL) == 0);
	add_nodes(b, &fs);
	for (uint64_t at = FIXTURE_SIZE - 5000; at < s->size; at += 60000)
		add(b, (struct question){.what = ASK_BYTES,
					 .offset = at,
					 .size = s->size - at < 60000 ? s->size - at : 60000});
	add(b, (struct question){.what = ASK_CONFIG});
	b->answers = calloc(b->n, sizeof(*b->answers));
	must(b->answers);
	for (size_t k = 0; k < b->n; k++) {
		const struct question *q = &b->questions[k];
		struct answer *a = &b->answers[k];

		a->bytes = malloc(ANSWER_MAX);
		must(a->bytes);
		if (q->what == ASK_BYTES)
			put(a, s->plain + q->offset, q->size);
		else if (q->what == ASK_CONFIG)
			put(a, CONFIG, strlen(CONFIG));
		else
			must(ask_node(q, &fs, a, NULL) == 0);
	}
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int image_bytes(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	return image_pread(arg, to, n, offset, e);
}

static int ask_bytes(const struct question *q, struct image *i, struct answer *a, struct err *e)
{
	int r;

	memset(a->bytes, 0xee, q->size);
	r = image_pread(i, a->bytes, q->size, q->offset, e);
	if (r == 0)
		a->size = q->size;
	return r < 0 && !is_zero(a->bytes, q->size) ? 1 : r;
}

static int ask_config(struct image *i, struct answer *a, struct err *e)
{
	cleanup_buf struct buf config;
	int r;

	buf_init(&config, 1000);
	r = image_config(i, &config, e);
	if (r == 0)
		put(a, config.data, config.size);
	return r;
}

int book_ask(const struct book *b, size_t n, struct image *i, struct err *e)
{
	static uint8_t bytes[ANSWER_MAX];
	const struct question *q = &b->questions[n];
	const struct answer *right = &b->answers[n];
	struct answer a = {.bytes = bytes};
	struct erofs fs;
	int r;

	if (q->what == ASK_BYTES) {
		r = ask_bytes(q, i, &a, e);
	} else if (q->what == ASK_CONFIG) {
		r = ask_config(i, &a, e);
	} else {
		r = erofs_open(&fs, image_bytes, i, image_descriptor(i)->image_size, e);
		if (r == 0)
			r = ask_node(q, &fs, &a, e);
	}
	if (r > 0 || a.size > right->size || (r == 0 && a.size != right->size) ||
	    memcmp(a.bytes, right->bytes, a.size) != 0)
		return 1;
	return r;
}
