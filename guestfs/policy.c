/* SPDX-License-Identifier: Apache-2.0
 * The policy's JSON turned into a list of digests. Asked once for each mount: the list is looked through. */
#include "guestfs/policy.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

/* Every member must have one of these names. */
static int check_members(json_t *object, const char *const names[static 2], const char *what, struct err *e)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		if (strcmp(name, names[0]) != 0 && strcmp(name, names[1]) != 0)
			return err_set(e, -EUCLEAN, "%s: \"%.40s\" is not known", what, name);
	}
	return 0;
}

static int decode_image(struct digest *out, json_t *j, size_t i, struct err *e)
{
	static const char *const names[] = {"digest", "comment"};
	const char *digest = json_string_value(json_object_get(j, "digest"));
	const json_t *comment = json_object_get(j, "comment");
	int r;

	if (!json_is_object(j))
		return err_set(e, -EUCLEAN, "images[%zu] is not an object", i);
	r = check_members(j, names, "images", e);
	if (r < 0)
		return r;
	if (!digest || digest_parse(out, digest) < 0)
		return err_set(e, -EUCLEAN, "images[%zu]: digest is not sha256: and 64 hex digits", i);
	if (comment && !json_is_string(comment))
		return err_set(e, -EUCLEAN, "images[%zu]: comment is not a string", i);
	return 0;
}

static int decode_images(struct policy *p, const json_t *list, struct err *e)
{
	size_t n = json_array_size(list);
	int r = 0;

	if (!json_is_array(list))
		return err_set(e, -EUCLEAN, "images is not a list");
	if (n > POLICY_MAX_IMAGES)
		return err_set(e, -E2BIG, "%zu images, at most %d", n, POLICY_MAX_IMAGES);
	p->images = calloc(n ? n : 1, sizeof(*p->images));
	if (!p->images)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n && r == 0; i++)
		r = decode_image(&p->images[i], json_array_get(list, i), i, e);
	p->n_images = n;
	return r;
}

static int decode(struct policy *p, json_t *j, struct err *e)
{
	static const char *const names[] = {"version", "images"};
	const json_t *version = json_object_get(j, "version");
	int r;

	/* the version first: another one may have other members */
	if (!json_is_integer(version))
		return err_set(e, -EUCLEAN, "version is not a number");
	if (json_integer_value(version) != VERSION)
		return err_set(e, -ENOTSUP, "version %" JSON_INTEGER_FORMAT ", this program knows %d",
			       json_integer_value(version), VERSION);
	r = check_members(j, names, "policy", e);
	return r < 0 ? r : decode_images(p, json_object_get(j, "images"), e);
}

int policy_decode(struct policy *out, const void *json, size_t size, struct err *e)
{
	struct policy p = {0};
	cleanup_json json_t *j = NULL;
	int r = json_object_parse(&j, json, size, POLICY_MAX_SIZE, "policy", e);

	if (r < 0)
		return r;
	r = decode(&p, j, e);
	if (r < 0) {
		policy_deinit(&p);
		return r;
	}
	*out = p;
	return 0;
}

int policy_read(struct policy *out, const char *path, struct err *e)
{
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, POLICY_MAX_SIZE);
	r = file_read(AT_FDCWD, path, &text, e);
	if (r < 0)
		return r;
	r = policy_decode(out, text.data, text.size, e);
	return r < 0 ? err_prefix(e, r, "%s", path) : 0;
}

void policy_deinit(struct policy *p)
{
	free(p->images);
	*p = (struct policy){0};
}

int policy_ask(const struct policy *p, const struct digest *manifest, const struct digest *descriptor,
	       struct err *e)
{
	char a[DIGEST_TEXT_SIZE], b[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < p->n_images; i++)
		if (digest_equal(&p->images[i], manifest) || digest_equal(&p->images[i], descriptor))
			return 0;
	return err_set(e, -EACCES, "the policy does not allow this image: manifest %s, descriptor %s",
		       digest_text(manifest, a), digest_text(descriptor, b));
}
