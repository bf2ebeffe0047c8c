/* SPDX-License-Identifier: Apache-2.0
 * Untrusted JSON documents of OCI and Docker turned into our structs, each field held against its limit once.
 */
#include "proto/oci/manifest.h"
#include "proto/base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define MAX_EXACT_SIZE (1ull << 53) /* JSON numbers are doubles to many readers; no blob comes near */
#define MAX_KEYS_SIZE (256u << 10)

/* Copy an optional string field; too long or of another type is an error. */
static int get_text(char *to, size_t room, const json_t *object, const char *key, struct err *e)
{
	const json_t *v = json_object_get(object, key);

	to[0] = '\0';
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v) || json_string_length(v) >= room ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return err_set(e, -EUCLEAN, "%s: not a string of less than %zu bytes", key, room);
	memcpy(to, json_string_value(v), json_string_length(v) + 1);
	return 0;
}

static int decode_blob(struct oci_blob *out, const json_t *j, const char *what, struct err *e)
{
	const json_t *size = json_object_get(j, "size");
	char digest[DIGEST_TEXT_SIZE];
	int r;

	if (!json_is_object(j))
		return err_set(e, -EUCLEAN, "%s: not a descriptor", what);
	r = get_text(out->media_type, sizeof(out->media_type), j, "mediaType", e);
	if (r == 0)
		r = get_text(digest, sizeof(digest), j, "digest", e);
	if (r < 0)
		return err_prefix(e, r, "%s", what);
	if (digest_parse(&out->digest, digest) < 0)
		return err_set(e, -EUCLEAN, "%s: digest is not sha256: and 64 hex digits", what);
	if (!json_is_integer(size) || json_integer_value(size) < 0 ||
	    (uint64_t)json_integer_value(size) > MAX_EXACT_SIZE)
		return err_set(e, -EUCLEAN, "%s: size is missing or impossible", what);
	out->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int decode_platform(struct oci_platform *out, const json_t *j, struct err *e)
{
	int r = get_text(out->os, sizeof(out->os), j, "os", e);

	if (r == 0)
		r = get_text(out->architecture, sizeof(out->architecture), j, "architecture", e);
	if (r == 0)
		r = get_text(out->variant, sizeof(out->variant), j, "variant", e);
	return r;
}

static int decode_entry(struct oci_entry *out, const json_t *j, struct err *e)
{
	const json_t *platform = json_object_get(j, "platform");
	const json_t *annotations = json_object_get(j, "annotations");
	int r = decode_blob(&out->blob, j, "index entry", e);

	if (r == 0 && json_is_object(platform))
		r = decode_platform(&out->platform, platform, e);
	if (r == 0 && json_is_object(annotations))
		r = get_text(out->ref_name, sizeof(out->ref_name), annotations,
			     "org.opencontainers.image.ref.name", e);
	return r;
}

static int decode_index(struct oci_manifest *m, const json_t *entries, struct err *e)
{
	size_t n = json_array_size(entries);
	int r = 0;

	if (!json_is_array(entries) || n > OCI_MAX_ENTRIES)
		return err_set(e, -EUCLEAN, "index: manifests is not a list of at most %u", OCI_MAX_ENTRIES);
	m->entries = calloc(n ? n : 1, sizeof(*m->entries));
	if (!m->entries)
		return err_set(e, -ENOMEM, "index: out of memory");
	for (size_t i = 0; i < n && r == 0; i++)
		r = decode_entry(&m->entries[i], json_array_get(entries, i), e);
	m->n_entries = (uint32_t)n;
	return r;
}

/* [M1] for a manifest whose last layer is a cocoon index; a cocoon layer anywhere else makes no image. */
static int check_sealed(struct oci_manifest *m, struct err *e)
{
	uint32_t n = m->n_layers;

	m->sealed = n > 0 && strcmp(m->layers[n - 1].media_type, MEDIA_TYPE_INDEX) == 0;
	for (uint32_t i = 0; i + (m->sealed ? 1 : 0) < n; i++) {
		bool data = strcmp(m->layers[i].media_type, MEDIA_TYPE_LAYER) == 0;

		if (data != m->sealed || strcmp(m->layers[i].media_type, MEDIA_TYPE_INDEX) == 0)
			return err_set(e, -EUCLEAN, "manifest [M1]: layer %u is %s", i,
				       m->layers[i].media_type);
		if (m->sealed && digest_equal(&m->layers[i].digest, &m->layers[n - 1].digest))
			return err_set(e, -EUCLEAN, "manifest [M1]: layer %u is the index again", i);
	}
	if (m->sealed && (n < 2 || n > MAX_BLOBS))
		return err_set(e, -EUCLEAN, "manifest [M1]: a sealed image of %u layers", n);
	return 0;
}

/* [M4] */
static int decode_identity(struct oci_manifest *m, const json_t *layer, struct err *e)
{
	const json_t *v = json_object_get(json_object_get(layer, "annotations"), ANNOTATION_DESCRIPTOR);
	const char *text = json_string_value(v);

	if (!v)
		return 0;
	if (!text || digest_parse(&m->descriptor, text) < 0)
		return err_set(e, -EUCLEAN, "manifest [M4]: %s is not sha256: and 64 hex digits",
			       ANNOTATION_DESCRIPTOR);
	m->has_descriptor = true;
	return 0;
}

/* What the annotation of the last layer has, or NULL. */
static int decode_keys(char **out, const json_t *layer, const char *annotation, struct err *e)
{
	const json_t *v = json_object_get(json_object_get(layer, "annotations"), annotation);

	if (!v)
		return 0;
	if (!json_is_string(v) || json_string_length(v) > MAX_KEYS_SIZE)
		return err_set(e, -EUCLEAN, "manifest: %s is not a string of at most %u bytes", annotation,
			       MAX_KEYS_SIZE);
	*out = strdup(json_string_value(v));
	return *out ? 0 : err_set(e, -ENOMEM, "manifest: out of memory");
}

static int decode_image(struct oci_manifest *m, const json_t *j, struct err *e)
{
	const json_t *layers = json_object_get(j, "layers");
	size_t n = json_array_size(layers);
	int r = decode_blob(&m->config, json_object_get(j, "config"), "manifest config", e);

	if (r < 0)
		return r;
	if (!json_is_array(layers) || n == 0 || n > OCI_MAX_LAYERS)
		return err_set(e, -EUCLEAN, "manifest: layers is not a list of 1 to %u", OCI_MAX_LAYERS);
	m->layers = calloc(n, sizeof(*m->layers));
	if (!m->layers)
		return err_set(e, -ENOMEM, "manifest: out of memory");
	for (size_t i = 0; i < n && r == 0; i++)
		r = decode_blob(&m->layers[i], json_array_get(layers, i), "manifest layer", e);
	m->n_layers = (uint32_t)n;
	if (r == 0)
		r = check_sealed(m, e);
	if (r == 0 && m->sealed)
		r = decode_identity(m, json_array_get(layers, n - 1), e);
	if (r == 0 && m->sealed)
		r = decode_keys(&m->keys_jwe, json_array_get(layers, n - 1), ANNOTATION_JWE, e);
	if (r == 0 && m->sealed)
		r = decode_keys(&m->keys_provider, json_array_get(layers, n - 1), ANNOTATION_PROVIDER, e);
	return r;
}

/* The document's own mediaType, where it has one, must not contradict its shape (a document that is both
 * manifest and index was a hole in other tools: GHSA-5j5w-g665-5m35). */
static int check_kind(const json_t *j, enum oci_kind *kind, struct err *e)
{
	const json_t *version = json_object_get(j, "schemaVersion");
	bool index = json_object_get(j, "manifests") != NULL;
	bool image = json_object_get(j, "layers") != NULL || json_object_get(j, "config") != NULL;
	char type[OCI_MEDIA_TYPE_SIZE];
	int r = get_text(type, sizeof(type), j, "mediaType", e);

	if (r < 0)
		return r;
	if (!json_is_integer(version) || json_integer_value(version) != 2)
		return err_set(e, -ENOTSUP, "manifest: schemaVersion is not 2");
	if (index == image)
		return err_set(e, -EUCLEAN, "manifest: %s",
			       index ? "is both an image and an index" : "is neither image nor index");
	if (*type && strcmp(type, index ? OCI_TYPE_INDEX : OCI_TYPE_MANIFEST) != 0 &&
	    strcmp(type, index ? DOCKER_TYPE_LIST : DOCKER_TYPE_MANIFEST) != 0)
		return err_set(e, -EUCLEAN, "manifest: mediaType %s does not fit its contents", type);
	*kind = index ? OCI_INDEX : OCI_MANIFEST;
	return 0;
}

int oci_manifest_decode(struct oci_manifest *out, const void *json, size_t size, struct err *e)
{
	struct oci_manifest m = {0};
	cleanup_json json_t *j = NULL;
	int r = json_object_parse(&j, json, size, OCI_MAX_DOCUMENT, "manifest", e); /* [M2] */

	if (r < 0)
		return r;
	r = check_kind(j, &m.kind, e);
	if (r == 0)
		r = m.kind == OCI_INDEX ? decode_index(&m, json_object_get(j, "manifests"), e)
					: decode_image(&m, j, e);
	if (r == 0 && m.sealed && size > MAX_MANIFEST_SIZE)
		r = err_set(e, -E2BIG, "manifest [M2]: %zu bytes", size);
	if (r < 0) {
		oci_manifest_deinit(&m);
		return r;
	}
	*out = m;
	return 0;
}

void oci_manifest_deinit(struct oci_manifest *m)
{
	free(m->layers);
	free(m->keys_jwe);
	free(m->keys_provider);
	free(m->entries);
	*m = (struct oci_manifest){0};
}

int oci_platform_parse(struct oci_platform *out, const char *text, struct err *e)
{
	struct oci_platform p = {0};
	int end = 0;
	int n = sscanf(text, "%31[a-z0-9]/%31[a-z0-9_]%n/%31[a-z0-9.]%n", p.os, p.architecture, &end,
		       p.variant, &end);

	if (n < 2 || text[end] != '\0')
		return err_set(e, -EINVAL,
			       "%s: not a platform, write os/architecture[/variant] as in linux/amd64", text);
	*out = p;
	return 0;
}

void oci_platform_host(struct oci_platform *out)
{
	/* uname(2) names against GOARCH names, which OCI uses */
	static const char *const names[][2] = {
		{"x86_64", "amd64"}, {"aarch64", "arm64"},   {"riscv64", "riscv64"},
		{"s390x", "s390x"},  {"ppc64le", "ppc64le"},
	};
	struct utsname u;

	*out = (struct oci_platform){.os = "linux", .architecture = "amd64"};
	if (uname(&u) < 0)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(u.machine, names[i][0]) == 0)
			memcpy(out->architecture, names[i][1], strlen(names[i][1]) + 1);
}

int oci_index_choose(const struct oci_entry **out, const struct oci_manifest *index,
		     const struct oci_platform *want, struct err *e)
{
	for (uint32_t i = 0; i < index->n_entries; i++) {
		const struct oci_platform *have = &index->entries[i].platform;

		if (strcmp(have->os, want->os) == 0 && strcmp(have->architecture, want->architecture) == 0 &&
		    (!*want->variant || strcmp(have->variant, want->variant) == 0)) {
			*out = &index->entries[i];
			return 0;
		}
	}
	return err_set(e, -ENOENT, "index has no image for %s/%s%s%s", want->os, want->architecture,
		       *want->variant ? "/" : "", want->variant);
}

static int decode_diff_ids(struct oci_config *c, const json_t *list, struct err *e)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > OCI_MAX_LAYERS)
		return err_set(e, -EUCLEAN, "config: rootfs.diff_ids is not a list of at most %u",
			       OCI_MAX_LAYERS);
	c->diff_ids = calloc(n ? n : 1, sizeof(*c->diff_ids));
	if (!c->diff_ids)
		return err_set(e, -ENOMEM, "config: out of memory");
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || digest_parse(&c->diff_ids[i], text) < 0)
			return err_set(e, -EUCLEAN, "config: diff_ids[%zu] is not a sha256 digest", i);
	}
	c->n_diff_ids = (uint32_t)n;
	return 0;
}

int oci_config_decode(struct oci_config *out, const void *json, size_t size, struct err *e)
{
	struct oci_config c = {0};
	cleanup_json json_t *j = NULL;
	int r = json_object_parse(&j, json, size, MAX_CONFIG_SIZE, "config", e);
	char user[512];

	if (r < 0)
		return r;
	r = decode_platform(&c.platform, j, e);
	if (r == 0)
		r = decode_diff_ids(&c, json_object_get(json_object_get(j, "rootfs"), "diff_ids"), e);
	if (r == 0)
		r = get_text(user, sizeof(user), json_object_get(j, "config"), "User", e);
	if (r == 0) {
		c.user = strdup(user);
		if (!c.user)
			r = err_set(e, -ENOMEM, "config: out of memory");
	}
	if (r < 0) {
		oci_config_deinit(&c);
		return r;
	}
	*out = c;
	return 0;
}

void oci_config_deinit(struct oci_config *c)
{
	free(c->diff_ids);
	free(c->user);
	*c = (struct oci_config){0};
}
