/* SPDX-License-Identifier: Apache-2.0
 * The snapshots that exist, in an SQLite database (WAL, every commit synced): what is written here is what
 * containerd is told, after a crash too. Everything happens inside a transaction, which the caller opens and
 * ends; one runs at a time, so a caller does only what is quick between the two. Rules that a database can
 * keep (unique names, a parent stays as long as it has children) are kept by the database.
 *
 * -ENOENT: no such snapshot; -EEXIST: the name is taken; -EBUSY: it has children, or is of the wrong kind;
 * -EIO: the database failed (words tell). */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOT_DB_H
#define COCOON_SNAPSHOTTER_SNAPSHOT_DB_H

#include "proto/base/err.h"
#include "snapshotter/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snapshot_db;

/* Open or create the database file. A file that is no database of ours is -EIO; it is left as it is. */
int snapshot_db_open(struct snapshot_db **out, const char *path, struct err *e);
void snapshot_db_close(struct snapshot_db *db); /* no transaction is open. NULL is fine */

/* Any thread; waits for its turn. */
int snapshot_db_begin(struct snapshot_db *db, struct err *e);
/* What was done since begin is durable when this returns 0, and undone otherwise. The transaction is over in
 * any case. */
int snapshot_db_commit(struct snapshot_db *db, struct err *e);
/* Undo, or end a transaction that only read. */
void snapshot_db_rollback(struct snapshot_db *db);

/* Inside a transaction: */

/* snapshot_deinit() it. */
int snapshot_db_get(struct snapshot_db *db, const char *name, struct snapshot *out, struct err *e);
int snapshot_db_get_by_id(struct snapshot_db *db, int64_t id, struct snapshot *out, struct err *e);

/* Insert `s` (name, kind, parent, labels, chain, image are taken, and size and inodes; the times are now) and
 * say which id it got. An id is never given twice. -ENOENT: no such parent; -EINVAL: the parent is not
 * committed. */
int snapshot_db_insert(struct snapshot_db *db, const struct snapshot *s, int64_t *id, struct err *e);

/* Turn the active snapshot `key` into the committed `name`, with new labels, times and usage. */
int snapshot_db_commit_active(struct snapshot_db *db, const char *key, const char *name,
			      const struct labels *labels, uint64_t size, uint64_t inodes, struct err *e);

/* Replace the labels; updated_ns becomes now. */
int snapshot_db_set_labels(struct snapshot_db *db, const char *name, const struct labels *labels,
			   struct err *e);

/* Where the image of a sealed top snapshot is pulled from, from now on. */
int snapshot_db_set_image(struct snapshot_db *db, const char *name, const char *image, struct err *e);

int snapshot_db_remove(struct snapshot_db *db, const char *name, struct err *e);

/* Call `each` for every snapshot, by name; a return other than 0 ends the walk and is returned. */
typedef int snapshot_db_each(void *arg, const struct snapshot *s);
int snapshot_db_walk(struct snapshot_db *db, snapshot_db_each *each, void *arg, struct err *e);

/* Some sealed snapshot with this chain ID and this parent. */
int snapshot_db_get_by_chain(struct snapshot_db *db, const char *chain, const char *parent,
			     struct snapshot *out, struct err *e);

/* Is there a snapshot with this id? A failing database says yes: nobody deletes on doubt. */
bool snapshot_db_has_id(struct snapshot_db *db, int64_t id);
/* The same for a name, and for a sealed image that ends at this chain ID. */
bool snapshot_db_has_name(struct snapshot_db *db, const char *name);
bool snapshot_db_has_image(struct snapshot_db *db, const char *chain);

#endif
