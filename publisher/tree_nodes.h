/* SPDX-License-Identifier: Apache-2.0
 * What the merged tree is made of, for those who build it (layer_reader.c) and those who write it out
 * (erofs_writer.c): inodes, names, and the operations of a layer. Every directory has one name; other inodes
 * may have many. */
#ifndef COCOON_PUBLISHER_TREE_NODES_H
#define COCOON_PUBLISHER_TREE_NODES_H

#include "proto/base/err.h"
#include "publisher/content_table.h"
#include "publisher/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TREE_MAX_NAME 255u
#define TREE_MAX_PATH (64u << 10)    /* of an entry, and of what its symlinks expand to */
#define TREE_MAX_SYMLINKS 255u	     /* followed on the way to one entry */
#define TREE_MAX_TARGET 4095u	     /* what readlink(2) can give */
#define TREE_MAX_ID (UINT32_MAX - 1) /* uid and gid; the last one means "no change" to the kernel */
#define TREE_MAX_FILE (((uint64_t)1 << 44) - 4096) /* what an image can address */

/* The extended attributes of an inode, as EROFS stores them: entries back to back, sorted, each padded to 4
 * bytes. Equal sets are one object, owned by the tree. */
struct xattr_set {
	struct xattr_set *next; /* in its hash chain */
	uint32_t hash;
	uint32_t size;
	uint8_t entries[];
};

/* Where the bytes of a file lie that is not in one piece; blocks that no run covers are holes. */
struct sparse_run {
	uint32_t block; /* first block of the file */
	uint32_t count;
	uint32_t start; /* first block in the layer's data */
	uint32_t layer;
};

struct sparse_map {
	uint32_t n_runs;
	uint32_t chunk_log2; /* blocks of a chunk: runs begin and end at chunks, or at the end of the file */
	struct sparse_run runs[];
};

/* Will tree_content() be asked for this file? */
enum node_content { CONTENT_PASSED_ON, CONTENT_WANTED, CONTENT_KEPT };

struct name;

struct node_attr;

struct node {
	uint64_t size; /* of a file's content, a symlink's target, or (set by the writer) a directory's
			  entries */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t uid, gid;
	uint32_t nlink; /* names; the writer makes it 2 + subdirectories for a directory */
	uint16_t mode;
	uint8_t layer;	 /* whose data hold a file's content */
	uint8_t content; /* enum node_content */
	union {
		uint32_t start; /* file: first block in its layer's data; others: set by the writer */
		uint32_t rdev;	/* device: as the kernel encodes it in 32 bits */
	};
	const struct xattr_set *xattrs; /* NULL: none */
	uint64_t nid;			/* set by the writer */
	union {
		struct {
			struct name *first; /* of its entries, in no order before tree_sort() */
			struct name *self;
		} dir;
		char *target;		   /* symlink: owned, NUL-terminated */
		struct sparse_map *sparse; /* file: owned; NULL when it is in one piece */
	};
};

/* A directory entry. */
struct name {
	struct name *next, *prev; /* in the directory */
	struct name *chain;	  /* in the hash table */
	struct node *dir;	  /* NULL for the root's */
	struct node *node;
	uint32_t hash;
	uint8_t layer; /* the last one that had an entry for this name */
	uint8_t length;
	char text[]; /* no NUL */
};

static inline bool node_is_dir(const struct node *n)
{
	return S_ISDIR(n->mode);
}

struct tree {
	struct name *root;
	struct name **names; /* hash table over (directory, name) */
	size_t n_slots;	     /* a power of two */
	uint64_t n_names, n_inodes;
	struct xattr_set **xattrs; /* hash table over contents */
	size_t n_xattr_slots;	   /* a power of two */
	size_t n_xattrs;
	struct kept_file *kept;
	struct content_table contents;
};

/* tree.c: one name at a time. */

struct name *tree_find(const struct tree *t, const struct node *dir, const char *text, size_t length);

/* Put `node` into `dir` under a name that is not there yet. One more link for the node; without a node a new
 * one, a directory as if no layer had told its attributes, is made. NULL when there is no memory; `node` is
 * then as before. */
struct name *tree_add(struct tree *t, struct node *dir, const char *text, size_t length, struct node *node,
		      unsigned layer);

/* Take the name away, and its inode with the last name. A directory must be empty. */
void tree_remove(struct tree *t, struct name *n);

/* Give `n` these attributes; what it had is released. A directory keeps its entries. */
int node_set(struct node *n, const struct node_attr *attr);

struct name *tree_root(const struct tree *t);

/* Depth first, a directory before its entries: the name behind `n`, NULL at the end. */
struct name *tree_next(const struct name *n);

/* Sort the entries of every directory by their names' bytes. 0 or -ENOMEM. */
int tree_sort(struct tree *t);

/* tree_store.c: what inodes refer to. */

/* The one object for this set of entries (`size` > 0 bytes, copied); NULL when there is no memory. */
const struct xattr_set *tree_xattrs(struct tree *t, const void *entries, size_t size);

/* May tree_content() be asked for this name? */
bool tree_wants(const struct name *n);
/* Keep the content of a file for tree_content(), copied. */
int tree_keep(struct tree *t, struct node *n, const void *data, size_t size);
void tree_forget(struct tree *t, const struct node *n);

/* tree_path.c: the way to a name. */

struct tree_path {
	const char *parent; /* not NUL-terminated; may hold empty and "." parts */
	size_t parent_length;
	const char *name; /* the last part; length 0: the path is the root */
	size_t name_length;
};

/* Split and check a path of a layer: no "..", no part longer than a name, not too long, not empty. A leading
 * slash counts for nothing. -EUCLEAN. */
int tree_path_split(struct tree_path *out, const char *path, struct err *e);

/* The inode at the end of `path`, symlinks followed inside the tree, the last one too. TREE_LOOK only looks.
 * A layer's number makes for it the directories that are missing, and what is no directory in a lower layer
 * becomes one: then the result is a directory. -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -ENOMEM. */
#define TREE_LOOK (-1)
int tree_walk(struct tree *t, const char *path, size_t length, int layer, struct node **out);

/* Look at `path`, and at every inode on the way: the root, directories, symlinks and what they lead over, the
 * end. tree_walk()'s errors; what came before the failure was visited. */
typedef void tree_visitor(void *arg, const struct node *n);
int tree_visit(struct tree *t, const char *path, size_t length, tree_visitor *visitor, void *arg);

/* Take away `n` and everything below it, but keep what layer `layer` or a higher one put there: a directory
 * that still holds such names stays, as if no layer had told its attributes. */
void tree_prune(struct tree *t, struct name *n, unsigned layer);

/* tree_apply.c: the operations of a layer. */

/* What an entry says about its inode. */
struct node_attr {
	uint16_t mode; /* with the type */
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t rdev;	    /* devices */
	const char *target; /* symlinks; copied */
	const struct xattr_set *xattrs;
};

/* An entry. Parents are created when no layer has them (0755 root:root, 1970); symlinks among them are
 * followed inside the tree. A directory over a directory gets the new attributes and keeps its entries;
 * anything else is replaced.
 * `*out` is the inode; a file's content is still to be set. -EUCLEAN for an impossible path. */
int tree_put(struct tree *t, unsigned layer, const char *path, const struct node_attr *attr,
	     struct node **out, struct err *e);

/* One more name for the inode that `target` names, in this layer or below. */
int tree_link(struct tree *t, unsigned layer, const char *path, const char *target, struct err *e);

/* Is the last part of `path` a whiteout? Then it is applied: what layers below `layer` have under that name,
 * or in that directory, goes. 0: it was no whiteout; TREE_WHITEOUT: it was, and is done; -EUCLEAN: a bad one.
 */
enum { TREE_WHITEOUT = 1 };
int tree_whiteout(struct tree *t, unsigned layer, const char *path, struct err *e);

#endif
