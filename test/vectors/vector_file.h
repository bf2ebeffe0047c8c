/* SPDX-License-Identifier: Apache-2.0
 * Reading JSON files of known answers: Wycheproof's testGroups of tests, values in hex. */
#ifndef COCOON_TEST_VECTORS_VECTOR_FILE_H
#define COCOON_TEST_VECTORS_VECTOR_FILE_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline json_t *vector_file(const char *name)
{
	const char *source = getenv("COCOON_SOURCE_DIR");
	char path[4096];
	json_error_t why;
	json_t *j;

	(void)snprintf(path, sizeof(path), "%s/test/vectors/%s", source ? source : ".", name);
	j = json_load_file(path, 0, &why);
	cr_assert_not_null(j, "%s: %s", path, why.text);
	return j;
}

static inline const char *vector_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	cr_assert_not_null(text, "no %s", name);
	return text;
}

static inline int64_t vector_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Decode a hex member into `out`; returns its bytes. */
static inline size_t vector_hex(const json_t *object, const char *name, uint8_t *out, size_t room)
{
	const char *hex = vector_text(object, name);
	size_t n = strlen(hex) / 2;

	cr_assert_leq(n, room, "%s of %zu bytes", name, n);
	for (size_t i = 0; i < n; i++) {
		unsigned v;

		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

/* Call `one` for every test of every group. */
static inline void vector_each(const char *file, void (*one)(const json_t *group, const json_t *test))
{
	json_t *j = vector_file(file), *groups = json_object_get(j, "testGroups"), *group, *test;
	size_t i, k;

	json_array_foreach(groups, i, group) json_array_foreach(json_object_get(group, "tests"), k, test)
		one(group, test);
	json_decref(j);
}

#endif
