/* SPDX-License-Identifier: Apache-2.0
 * The database: what containerd's storage rules say, durability, and what is refused. */
#include "snapshotter/snapshot_db.h"

#include "snapshotter/text.h"

#include "test/unit/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct snapshot_db *db;
static char path[PATH_MAX];

static void setup(void)
{
	struct err e = {""};

	scratch_open();
	(void)snprintf(path, sizeof(path), "%s", scratch_path("db"));
	cr_assert_eq(snapshot_db_open(&db, path, &e), 0, "%s", e.text);
}

static void teardown(void)
{
	snapshot_db_close(db);
	scratch_close();
}

static int insert(const char *name, const char *parent, enum snapshot_kind kind, const char *chain)
{
	struct label label = {text_for_reader("k"), text_for_reader("v")};
	struct snapshot s = {.name = text_for_reader(name),
			     .parent = text_for_reader(parent),
			     .kind = kind,
			     .chain = text_for_reader(chain),
			     .labels = {1, &label}};
	int64_t id;
	int r;

	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	r = snapshot_db_insert(db, &s, &id, NULL);
	if (r < 0)
		snapshot_db_rollback(db);
	else
		cr_assert_eq(snapshot_db_commit(db, NULL), 0);
	return r < 0 ? r : (int)id;
}

static int get(const char *name, struct snapshot *out)
{
	int r;

	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	r = snapshot_db_get(db, name, out, NULL);
	snapshot_db_rollback(db);
	return r;
}

TestSuite(snapshot_db, .init = setup, .fini = teardown);

Test(snapshot_db, keeps_what_was_committed)
{
	cleanup_snapshot struct snapshot s = {0};
	int id = insert("a", "", SNAPSHOT_ACTIVE, NULL);

	cr_assert_gt(id, 0);
	snapshot_db_close(db);
	cr_assert_eq(snapshot_db_open(&db, path, NULL), 0);
	cr_assert_eq(get("a", &s), 0);
	cr_assert_eq(s.id, id);
	cr_assert_eq(s.kind, SNAPSHOT_ACTIVE);
	cr_assert_str_eq(s.parent, "");
	cr_assert_null(s.chain);
	cr_assert_null(s.image);
	cr_assert_gt(s.created_ns, 0);
	cr_assert_eq(s.created_ns, s.updated_ns);
	cr_assert_str_eq(labels_get(&s.labels, "k"), "v");
}

Test(snapshot_db, forgets_what_was_rolled_back)
{
	struct snapshot s = {.name = text_for_reader("a"),
			     .parent = text_for_reader(""),
			     .kind = SNAPSHOT_ACTIVE},
			found;
	int64_t id;

	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_insert(db, &s, &id, NULL), 0);
	snapshot_db_rollback(db);
	cr_assert_eq(get("a", &found), -ENOENT);
}

Test(snapshot_db, parents_must_be_there_and_committed)
{
	cr_assert_gt(insert("active", "", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_eq(insert("x", "nothing", SNAPSHOT_ACTIVE, NULL), -ENOENT);
	cr_assert_eq(insert("x", "active", SNAPSHOT_ACTIVE, NULL), -EINVAL);
	cr_assert_gt(insert("base", "", SNAPSHOT_COMMITTED, NULL), 0);
	cr_assert_gt(insert("x", "base", SNAPSHOT_ACTIVE, NULL), 0);
}

Test(snapshot_db, names_are_unique)
{
	cr_assert_gt(insert("a", "", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_eq(insert("a", "", SNAPSHOT_VIEW, NULL), -EEXIST);
}

Test(snapshot_db, an_id_is_never_given_twice)
{
	int first = insert("a", "", SNAPSHOT_ACTIVE, NULL);

	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_remove(db, "a", NULL), 0);
	cr_assert_eq(snapshot_db_commit(db, NULL), 0);
	cr_assert_gt(insert("a", "", SNAPSHOT_ACTIVE, NULL), first);
}

Test(snapshot_db, commit_replaces_name_kind_and_labels)
{
	cleanup_labels struct labels labels = {0};
	cleanup_snapshot struct snapshot s = {0};

	cr_assert_gt(insert("base", "", SNAPSHOT_COMMITTED, NULL), 0);
	cr_assert_gt(insert("a", "base", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_gt(insert("v", "base", SNAPSHOT_VIEW, NULL), 0);
	cr_assert_eq(labels_set(&labels, "new", "1", NULL), 0);
	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_commit_active(db, "v", "n", &labels, 1, 2, NULL), -EBUSY);
	cr_assert_eq(snapshot_db_commit_active(db, "nothing", "n", &labels, 1, 2, NULL), -ENOENT);
	cr_assert_eq(snapshot_db_commit_active(db, "a", "base", &labels, 1, 2, NULL), -EEXIST);
	cr_assert_eq(snapshot_db_commit_active(db, "a", "n", &labels, 1, 2, NULL), 0);
	cr_assert_eq(snapshot_db_commit(db, NULL), 0);
	cr_assert_eq(get("n", &s), 0);
	cr_assert_eq(s.kind, SNAPSHOT_COMMITTED);
	cr_assert_eq(s.size, 1);
	cr_assert_eq(s.inodes, 2);
	cr_assert_str_eq(s.parent, "base");
	cr_assert_eq(s.labels.n, 1);
	cr_assert_str_eq(labels_get(&s.labels, "new"), "1");
	snapshot_deinit(&s);
	cr_assert_eq(get("a", &s), -ENOENT);
}

Test(snapshot_db, a_parent_stays)
{
	cr_assert_gt(insert("base", "", SNAPSHOT_COMMITTED, NULL), 0);
	cr_assert_gt(insert("a", "base", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_remove(db, "base", NULL), -EBUSY);
	cr_assert_eq(snapshot_db_remove(db, "a", NULL), 0);
	cr_assert_eq(snapshot_db_remove(db, "base", NULL), 0);
	cr_assert_eq(snapshot_db_remove(db, "base", NULL), -ENOENT);
	cr_assert_eq(snapshot_db_commit(db, NULL), 0);
}

Test(snapshot_db, finds_sealed_layers_by_chain_and_parent)
{
	cleanup_snapshot struct snapshot s = {0};

	cr_assert_gt(insert("one", "", SNAPSHOT_COMMITTED, "sha256:1"), 0);
	cr_assert_gt(insert("two", "one", SNAPSHOT_COMMITTED, "sha256:2"), 0);
	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_get_by_chain(db, "sha256:2", "", &s, NULL), -ENOENT);
	cr_assert_eq(snapshot_db_get_by_chain(db, "sha256:2", "one", &s, NULL), 0);
	cr_assert_str_eq(s.name, "two");
	cr_assert_not(snapshot_db_has_image(db, "sha256:2"));
	cr_assert_eq(snapshot_db_set_image(db, "two", "r/x@sha256:y", NULL), 0);
	cr_assert(snapshot_db_has_image(db, "sha256:2"));
	snapshot_db_rollback(db);
}

static int count(void *arg, const struct snapshot *s)
{
	static const char *const names[] = {"a", "b", "c"};
	int *n = arg;

	cr_assert_str_eq(s->name, names[*n]);
	return ++*n == 2 ? 7 : 0;
}

Test(snapshot_db, a_walk_is_sorted_and_can_be_ended)
{
	int n = 0;

	cr_assert_gt(insert("c", "", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_gt(insert("b", "", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_gt(insert("a", "", SNAPSHOT_ACTIVE, NULL), 0);
	cr_assert_eq(snapshot_db_begin(db, NULL), 0);
	cr_assert_eq(snapshot_db_walk(db, count, &n, NULL), 7);
	snapshot_db_rollback(db);
	cr_assert_eq(n, 2);
}

Test(snapshot_db, refuses_files_that_are_no_database_of_ours)
{
	static const char junk[] =
		"this is not a database, and long enough to be sure that nobody takes it for an empty one";
	struct snapshot_db *other = NULL;
	struct err e = {""};
	const char *name = scratch_path("junk");
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	cr_assert_eq(write(fd, junk, sizeof(junk)), (ssize_t)sizeof(junk));
	(void)close(fd);
	cr_assert_eq(snapshot_db_open(&other, name, &e), -EIO);
	cr_assert_null(other);
	cr_assert(strlen(e.text) > 0);
}
