/* SPDX-License-Identifier: Apache-2.0
 * Labels: each key once, sorted, bounded. */
#include "snapshotter/labels.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(labels, a_key_stands_once_and_the_last_value_counts)
{
	cleanup_labels struct labels l = {0};

	cr_assert_eq(labels_set(&l, "b", "1", NULL), 0);
	cr_assert_eq(labels_set(&l, "c", "2", NULL), 0);
	cr_assert_eq(labels_set(&l, "a", "3", NULL), 0);
	cr_assert_eq(labels_set(&l, "b", "4", NULL), 0);
	cr_assert_eq(l.n, 3);
	cr_assert_str_eq(l.items[0].key, "a");
	cr_assert_str_eq(l.items[1].key, "b");
	cr_assert_str_eq(l.items[2].key, "c");
	cr_assert_str_eq(labels_get(&l, "b"), "4");
	cr_assert_null(labels_get(&l, "d"));
}

Test(labels, removing_keeps_the_order)
{
	cleanup_labels struct labels l = {0};

	for (char k = 'a'; k <= 'e'; k++)
		cr_assert_eq(labels_set(&l, (char[]){k, 0}, "x", NULL), 0);
	labels_remove(&l, "c");
	labels_remove(&l, "nothing");
	cr_assert_eq(l.n, 4);
	cr_assert_str_eq(l.items[2].key, "d");
	cr_assert_null(labels_get(&l, "c"));
}

Test(labels, refuses_no_key_and_more_than_4096_bytes)
{
	cleanup_labels struct labels l = {0};
	char value[LABEL_MAX_SIZE + 1];

	memset(value, 'v', LABEL_MAX_SIZE);
	value[LABEL_MAX_SIZE] = '\0';
	cr_assert_eq(labels_set(&l, "", "x", NULL), -EINVAL);
	cr_assert_eq(labels_set(&l, "k", value, NULL), -EINVAL);
	cr_assert_eq(labels_set(&l, "k", value + 1, NULL), 0);
}

Test(labels, copies_are_independent)
{
	cleanup_labels struct labels a = {0}, b = {0};

	cr_assert_eq(labels_set(&a, "k", "old", NULL), 0);
	cr_assert_eq(labels_copy(&b, &a), 0);
	cr_assert_eq(labels_set(&a, "k", "new", NULL), 0);
	cr_assert_str_eq(labels_get(&b, "k"), "old");
}
