/* SPDX-License-Identifier: Apache-2.0
 * One connection under one lock, statements prepared once. Labels have a table of their own, that goes with
 * their snapshot. */
#include "snapshotter/snapshot_db.h"

#include "proto/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define APPLICATION_ID 1129268047 /* "COCO": what file(1) and we know the database by */
#define SCHEMA_VERSION 1

static const char schema[] = "PRAGMA application_id=1129268047; PRAGMA user_version=1;"
			     "CREATE TABLE snapshot ("
			     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
			     " name TEXT NOT NULL UNIQUE,"
			     " kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),"
			     " parent INTEGER REFERENCES snapshot(id) ON DELETE RESTRICT,"
			     " chain TEXT,"
			     " image TEXT,"
			     " created INTEGER NOT NULL, updated INTEGER NOT NULL,"
			     " size INTEGER NOT NULL, inodes INTEGER NOT NULL) STRICT;"
			     "CREATE INDEX snapshot_parent ON snapshot(parent);"
			     "CREATE INDEX snapshot_chain ON snapshot(chain) WHERE chain IS NOT NULL;"
			     "CREATE TABLE label ("
			     " snapshot INTEGER NOT NULL REFERENCES snapshot(id) ON DELETE CASCADE,"
			     " key TEXT NOT NULL, value TEXT NOT NULL,"
			     " PRIMARY KEY (snapshot, key)) STRICT, WITHOUT ROWID;";

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	GET,
	GET_BY_ID,
	GET_BY_CHAIN,
	HAS_IMAGE,
	WALK,
	LABELS,
	INSERT,
	COMMIT_ACTIVE,
	SET_UPDATED,
	SET_IMAGE,
	DELETE_LABELS,
	INSERT_LABEL,
	REMOVE,
	HAS_CHILD,
	N_STATEMENTS
};

#define COLUMNS                                                                                              \
	"s.id, s.kind, s.chain, s.name, p.name, s.image, s.created, s.updated, s.size, s.inodes"             \
	" FROM snapshot s LEFT JOIN snapshot p ON p.id = s.parent"

static const char *const statements[N_STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[GET] = "SELECT " COLUMNS " WHERE s.name = ?1",
	[GET_BY_ID] = "SELECT " COLUMNS " WHERE s.id = ?1",
	[GET_BY_CHAIN] =
		"SELECT " COLUMNS " WHERE s.chain = ?1 AND ifnull(p.name, '') = ?2 ORDER BY s.id LIMIT 1",
	[HAS_IMAGE] = "SELECT 1 FROM snapshot WHERE chain = ?1 AND image IS NOT NULL LIMIT 1",
	[WALK] = "SELECT " COLUMNS " ORDER BY s.name",
	[LABELS] = "SELECT key, value FROM label WHERE snapshot = ?1",
	[INSERT] = "INSERT INTO snapshot (name, kind, parent, chain, image, created, updated, size, inodes)"
		   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
	[COMMIT_ACTIVE] = "UPDATE snapshot SET name = ?2, kind = 3, created = ?3, updated = ?3, size = ?4,"
			  " inodes = ?5 WHERE id = ?1",
	[SET_UPDATED] = "UPDATE snapshot SET updated = ?2 WHERE id = ?1",
	[SET_IMAGE] = "UPDATE snapshot SET image = ?2 WHERE id = ?1",
	[DELETE_LABELS] = "DELETE FROM label WHERE snapshot = ?1",
	[INSERT_LABEL] = "INSERT INTO label (snapshot, key, value) VALUES (?1, ?2, ?3)",
	[REMOVE] = "DELETE FROM snapshot WHERE id = ?1",
	[HAS_CHILD] = "SELECT 1 FROM snapshot WHERE parent = ?1 LIMIT 1",
};

struct snapshot_db {
	pthread_mutex_t lock; /* held from begin to the end of a transaction; guards everything below */
	sqlite3 *sqlite;
	sqlite3_stmt *statement[N_STATEMENTS];
};

void snapshot_deinit(struct snapshot *s)
{
	free(s->name);
	free(s->parent);
	free(s->image);
	free(s->chain);
	labels_deinit(&s->labels);
	*s = (struct snapshot){0};
}

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int failed(struct snapshot_db *db, struct err *e, const char *doing)
{
	if (sqlite3_errcode(db->sqlite) == SQLITE_NOMEM)
		return err_set(e, -ENOMEM, "%s: no memory", doing);
	return err_set(e, -EIO, "%s: %s", doing, sqlite3_errmsg(db->sqlite));
}

static sqlite3_stmt *use(struct snapshot_db *db, enum statement which)
{
	sqlite3_stmt *s = db->statement[which];

	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return s;
}

/* Run a statement that gives no rows, and reset it, so that it holds no lock. */
static int run(struct snapshot_db *db, sqlite3_stmt *s, struct err *e, const char *doing)
{
	int r = sqlite3_step(s);

	r = r == SQLITE_DONE ? 0 : failed(db, e, doing);
	(void)sqlite3_reset(s);
	return r;
}

/* Texts that are bound live until the statement has run. */
static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	if (text)
		(void)sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static int create_schema(struct snapshot_db *db, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int application = -1, version = -1, tables = -1;

	if (sqlite3_prepare_v2(
		    db->sqlite,
		    "SELECT (SELECT application_id FROM pragma_application_id),"
		    " (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
		    -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		application = sqlite3_column_int(s, 0);
		version = sqlite3_column_int(s, 1);
		tables = sqlite3_column_int(s, 2);
	}
	(void)sqlite3_finalize(s);
	if (tables < 0)
		return failed(db, e, "reading the schema");
	if (application == APPLICATION_ID && version == SCHEMA_VERSION)
		return 0;
	if (tables > 0)
		return err_set(e, -EIO, "not a snapshot database of this version (%d, %d)", application,
			       version);
	if (sqlite3_exec(db->sqlite, "BEGIN", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db->sqlite, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db->sqlite, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return failed(db, e, "creating the tables");
	return 0;
}

DEFINE_CLEANUP(snapshot_db, struct snapshot_db *, snapshot_db_close)

int snapshot_db_open(struct snapshot_db **out, const char *path, struct err *e)
{
	__attribute__((cleanup(cleanup_snapshot_db))) struct snapshot_db *db = calloc(1, sizeof(*db));
	int r;

	if (!db)
		return -ENOMEM;
	(void)pthread_mutex_init(&db->lock, NULL);
	if (sqlite3_open_v2(path, &db->sqlite,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return err_set(e, -EIO, "%s: %s", path,
			       db->sqlite ? sqlite3_errmsg(db->sqlite) : "no memory");
	if (sqlite3_exec(db->sqlite,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			 "PRAGMA trusted_schema=OFF; PRAGMA busy_timeout=2000",
			 NULL, NULL, NULL) != SQLITE_OK)
		return err_prefix(e, failed(db, e, "opening"), "%s", path);
	r = create_schema(db, e);
	if (r < 0)
		return err_prefix(e, r, "%s", path);
	for (size_t i = 0; i < N_STATEMENTS; i++)
		if (sqlite3_prepare_v3(db->sqlite, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &db->statement[i], NULL) != SQLITE_OK)
			return err_prefix(e, failed(db, e, "preparing"), "%s", path);
	*out = take_ptr(db);
	return 0;
}

void snapshot_db_close(struct snapshot_db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < N_STATEMENTS; i++)
		(void)sqlite3_finalize(db->statement[i]);
	(void)sqlite3_close(db->sqlite);
	(void)pthread_mutex_destroy(&db->lock);
	free(db);
}

int snapshot_db_begin(struct snapshot_db *db, struct err *e)
{
	int r;

	(void)pthread_mutex_lock(&db->lock);
	r = run(db, use(db, BEGIN), e, "beginning a transaction");
	if (r < 0)
		(void)pthread_mutex_unlock(&db->lock);
	return r;
}

int snapshot_db_commit(struct snapshot_db *db, struct err *e)
{
	int r = run(db, use(db, COMMIT), e, "committing");

	if (r < 0)
		(void)run(db, use(db, ROLLBACK), NULL, "");
	(void)pthread_mutex_unlock(&db->lock);
	return r;
}

void snapshot_db_rollback(struct snapshot_db *db)
{
	(void)run(db, use(db, ROLLBACK), NULL, "");
	(void)pthread_mutex_unlock(&db->lock);
}

static int copy_text(char **out, sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	*out = strdup(text ? text : "");
	return *out ? 0 : -ENOMEM;
}

static int read_labels(struct snapshot_db *db, struct snapshot *to, struct err *e)
{
	sqlite3_stmt *s = use(db, LABELS);
	int r, step;

	(void)sqlite3_bind_int64(s, 1, to->id);
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(s, 0);
		const char *value = (const char *)sqlite3_column_text(s, 1);

		r = key && value ? labels_set(&to->labels, key, value, e) : -ENOMEM;
		if (r < 0) {
			(void)sqlite3_reset(s);
			return r;
		}
	}
	r = step == SQLITE_DONE ? 0 : failed(db, e, "reading labels");
	(void)sqlite3_reset(s);
	return r;
}

/* The row at which `s` stands; the columns are those of COLUMNS. */
static int read_row(struct snapshot_db *db, sqlite3_stmt *s, struct snapshot *out, struct err *e)
{
	cleanup_snapshot struct snapshot x = {
		.id = sqlite3_column_int64(s, 0),
		.kind = (enum snapshot_kind)sqlite3_column_int(s, 1),
		.created_ns = sqlite3_column_int64(s, 6),
		.updated_ns = sqlite3_column_int64(s, 7),
		.size = (uint64_t)sqlite3_column_int64(s, 8),
		.inodes = (uint64_t)sqlite3_column_int64(s, 9),
	};
	int r;

	if (copy_text(&x.name, s, 3) < 0 || copy_text(&x.parent, s, 4) < 0)
		return -ENOMEM;
	if (sqlite3_column_type(s, 2) != SQLITE_NULL && copy_text(&x.chain, s, 2) < 0)
		return -ENOMEM;
	if (sqlite3_column_type(s, 5) != SQLITE_NULL && copy_text(&x.image, s, 5) < 0)
		return -ENOMEM;
	r = read_labels(db, &x, e);
	if (r < 0)
		return r;
	*out = x;
	x = (struct snapshot){0};
	return 0;
}

static int get(struct snapshot_db *db, sqlite3_stmt *s, struct snapshot *out, struct err *e)
{
	int step = sqlite3_step(s), r;

	if (step == SQLITE_ROW)
		r = read_row(db, s, out, e);
	else if (step == SQLITE_DONE)
		r = -ENOENT;
	else
		r = failed(db, e, "reading a snapshot");
	(void)sqlite3_reset(s);
	return r;
}

int snapshot_db_get(struct snapshot_db *db, const char *name, struct snapshot *out, struct err *e)
{
	sqlite3_stmt *s = use(db, GET);
	int r;

	bind_text(s, 1, name);
	r = get(db, s, out, e);
	return r == -ENOENT ? err_set(e, r, "snapshot %s does not exist", name) : r;
}

int snapshot_db_get_by_id(struct snapshot_db *db, int64_t id, struct snapshot *out, struct err *e)
{
	sqlite3_stmt *s = use(db, GET_BY_ID);
	int r;

	(void)sqlite3_bind_int64(s, 1, id);
	r = get(db, s, out, e);
	return r == -ENOENT ? err_set(e, r, "snapshot number %lld does not exist", (long long)id) : r;
}

int snapshot_db_get_by_chain(struct snapshot_db *db, const char *chain, const char *parent,
			     struct snapshot *out, struct err *e)
{
	sqlite3_stmt *s = use(db, GET_BY_CHAIN);
	int r;

	bind_text(s, 1, chain);
	bind_text(s, 2, parent);
	r = get(db, s, out, e);
	return r == -ENOENT ? err_set(e, r, "no sealed layer with chain ID %s", chain) : r;
}

static int write_labels(struct snapshot_db *db, int64_t id, const struct labels *labels, struct err *e)
{
	sqlite3_stmt *s = use(db, DELETE_LABELS);
	int r;

	(void)sqlite3_bind_int64(s, 1, id);
	r = run(db, s, e, "replacing labels");
	for (size_t i = 0; r == 0 && i < labels->n; i++) {
		s = use(db, INSERT_LABEL);
		(void)sqlite3_bind_int64(s, 1, id);
		bind_text(s, 2, labels->items[i].key);
		bind_text(s, 3, labels->items[i].value);
		r = run(db, s, e, "writing a label");
	}
	return r;
}

int snapshot_db_insert(struct snapshot_db *db, const struct snapshot *x, int64_t *id, struct err *e)
{
	cleanup_snapshot struct snapshot parent = {0};
	sqlite3_stmt *s;
	int r;

	if (*x->parent) {
		r = snapshot_db_get(db, x->parent, &parent, e);
		if (r < 0)
			return err_prefix(e, r, "parent");
		if (parent.kind != SNAPSHOT_COMMITTED)
			return err_set(e, -EINVAL, "parent %s is not committed", x->parent);
	}
	if (snapshot_db_has_name(db, x->name))
		return err_set(e, -EEXIST, "snapshot %s exists already", x->name);
	s = use(db, INSERT);
	bind_text(s, 1, x->name);
	(void)sqlite3_bind_int(s, 2, (int)x->kind);
	if (*x->parent)
		(void)sqlite3_bind_int64(s, 3, parent.id);
	bind_text(s, 4, x->chain);
	bind_text(s, 5, x->image);
	(void)sqlite3_bind_int64(s, 6, now_ns());
	(void)sqlite3_bind_int64(s, 7, (int64_t)x->size);
	(void)sqlite3_bind_int64(s, 8, (int64_t)x->inodes);
	r = run(db, s, e, "inserting a snapshot");
	if (r < 0)
		return r;
	*id = sqlite3_last_insert_rowid(db->sqlite);
	return write_labels(db, *id, &x->labels, e);
}

int snapshot_db_commit_active(struct snapshot_db *db, const char *key, const char *name,
			      const struct labels *labels, uint64_t size, uint64_t inodes, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	sqlite3_stmt *s;
	int r;

	if (snapshot_db_has_name(db, name))
		return err_set(e, -EEXIST, "snapshot %s exists already", name);
	r = snapshot_db_get(db, key, &x, e);
	if (r < 0)
		return r;
	if (x.kind != SNAPSHOT_ACTIVE)
		return err_set(e, -EBUSY, "snapshot %s is not active", key);
	s = use(db, COMMIT_ACTIVE);
	(void)sqlite3_bind_int64(s, 1, x.id);
	bind_text(s, 2, name);
	(void)sqlite3_bind_int64(s, 3, now_ns());
	(void)sqlite3_bind_int64(s, 4, (int64_t)size);
	(void)sqlite3_bind_int64(s, 5, (int64_t)inodes);
	r = run(db, s, e, "committing a snapshot");
	return r < 0 ? r : write_labels(db, x.id, labels, e);
}

int snapshot_db_set_labels(struct snapshot_db *db, const char *name, const struct labels *labels,
			   struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	sqlite3_stmt *s;
	int r = snapshot_db_get(db, name, &x, e);

	if (r < 0)
		return r;
	s = use(db, SET_UPDATED);
	(void)sqlite3_bind_int64(s, 1, x.id);
	(void)sqlite3_bind_int64(s, 2, now_ns());
	r = run(db, s, e, "updating a snapshot");
	return r < 0 ? r : write_labels(db, x.id, labels, e);
}

int snapshot_db_set_image(struct snapshot_db *db, const char *name, const char *image, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	sqlite3_stmt *s;
	int r = snapshot_db_get(db, name, &x, e);

	if (r < 0)
		return r;
	s = use(db, SET_IMAGE);
	(void)sqlite3_bind_int64(s, 1, x.id);
	bind_text(s, 2, image);
	return run(db, s, e, "updating a snapshot");
}

/* Does the query find anything? A failing database says yes. */
static bool has_row(sqlite3_stmt *s)
{
	bool nothing = sqlite3_step(s) == SQLITE_DONE;

	(void)sqlite3_reset(s);
	return !nothing;
}

int snapshot_db_remove(struct snapshot_db *db, const char *name, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	sqlite3_stmt *s;
	int r = snapshot_db_get(db, name, &x, e);

	if (r < 0)
		return r;
	s = use(db, HAS_CHILD);
	(void)sqlite3_bind_int64(s, 1, x.id);
	if (has_row(s))
		return err_set(e, -EBUSY, "snapshot %s has children: it cannot be removed", name);
	s = use(db, REMOVE);
	(void)sqlite3_bind_int64(s, 1, x.id);
	return run(db, s, e, "removing a snapshot");
}

int snapshot_db_walk(struct snapshot_db *db, snapshot_db_each *each, void *arg, struct err *e)
{
	sqlite3_stmt *s = use(db, WALK);
	int r = 0, step = SQLITE_DONE;

	while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
		cleanup_snapshot struct snapshot x = {0};

		r = read_row(db, s, &x, e);
		if (r == 0)
			r = each(arg, &x);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = failed(db, e, "walking snapshots");
	(void)sqlite3_reset(s);
	return r;
}

bool snapshot_db_has_id(struct snapshot_db *db, int64_t id)
{
	cleanup_snapshot struct snapshot x = {0};

	return snapshot_db_get_by_id(db, id, &x, NULL) != -ENOENT;
}

bool snapshot_db_has_name(struct snapshot_db *db, const char *name)
{
	cleanup_snapshot struct snapshot x = {0};

	return snapshot_db_get(db, name, &x, NULL) != -ENOENT;
}

bool snapshot_db_has_image(struct snapshot_db *db, const char *chain)
{
	sqlite3_stmt *s = use(db, HAS_IMAGE);

	bind_text(s, 1, chain);
	return has_row(s);
}
