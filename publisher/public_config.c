/* SPDX-License-Identifier: Apache-2.0
 * Little is public by default: what containerd needs to match a platform, to chain layers and to run as the
 * right user. Key order is fixed, so that the same input gives the same document. */
#include "publisher/public_config.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	bool in_config; /* in the object "config", or beside it */
} fields_known[] = {
	{"Env", true},	    {"Entrypoint", true},   {"Cmd", true},     {"WorkingDir", true},
	{"Labels", true},   {"ExposedPorts", true}, {"Volumes", true}, {"StopSignal", true},
	{"created", false}, {"history", false},
};

#define N_FIELDS (sizeof(fields_known) / sizeof(fields_known[0]))
#define ALL_FIELDS ((1u << N_FIELDS) - 1)

static int add_field(public_fields *out, const char *name, size_t n)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		if (strlen(fields_known[i].name) == n && strncmp(fields_known[i].name, name, n) == 0) {
			*out |= 1u << i;
			return 0;
		}
	}
	if (n != 3 || strncmp(name, "all", 3) != 0)
		return -EINVAL;
	*out = ALL_FIELDS;
	return 0;
}

int public_fields_parse(public_fields *out, const char *text, struct err *e)
{
	public_fields fields = 0;

	for (const char *at = text;; at++) {
		size_t n = strcspn(at, ",");

		if (add_field(&fields, at, n) < 0)
			return err_set(e, -EINVAL,
				       "no field %.*s; there are Env, Entrypoint, Cmd, WorkingDir, Labels, "
				       "ExposedPorts, "
				       "Volumes, StopSignal, created, history, all",
				       (int)n, at);
		at += n;
		if (*at == '\0')
			break;
	}
	*out = fields;
	return 0;
}

static void decref(json_t **j)
{
	json_decref(*j);
}

#define cleanup_json __attribute__((cleanup(decref)))

/* Public history must have one entry with content for each layer, or tools stumble: the index gets one of its
 * own. */
static json_t *public_history(json_t *history, size_t n_layers)
{
	json_t *copy, *entry;
	size_t filled = 0, i;

	json_array_foreach(history, i, entry)
	{
		if (!json_is_true(json_object_get(entry, "empty_layer")))
			filled++;
	}
	if (filled != n_layers - 1)
		return NULL;
	copy = json_deep_copy(history);
	if (copy && json_array_append_new(copy, json_pack("{s:s}", "comment", "cocoon index")) < 0) {
		json_decref(copy);
		return NULL;
	}
	return copy;
}

static int copy_field(json_t *to, json_t *from, size_t i, size_t n_layers)
{
	const char *name = fields_known[i].name;
	json_t *value = json_object_get(from, name);

	if (!value || json_is_null(value))
		return 0;
	if (strcmp(name, "history") != 0)
		return json_object_set(to, name, value);
	value = public_history(value, n_layers);
	return value ? json_object_set_new(to, name, value) : 0;
}

static int copy_text(json_t *to, json_t *from, const char *name)
{
	json_t *value = json_object_get(from, name);

	return json_is_string(value) && json_string_length(value) ? json_object_set(to, name, value) : 0;
}

static json_t *diff_ids(const struct digest *layers, size_t n)
{
	json_t *list = json_array();
	char text[DIGEST_TEXT_SIZE];

	for (size_t i = 0; list && i < n; i++)
		(void)json_array_append_new(list, json_string(digest_text(&layers[i], text)));
	return list;
}

int public_config_make(char **out, const void *source_json, size_t size, public_fields fields,
		       const char *user, const struct digest *layers, size_t n_layers, struct err *e)
{
	cleanup_json json_t *from = json_loadb(source_json, size, JSON_REJECT_DUPLICATES, NULL);
	cleanup_json json_t *to = json_object(), *config = json_object();
	json_t *from_config = json_object_get(from, "config");
	int r = 0;

	if (!from || !to || !config)
		return err_set(e, from ? -ENOMEM : -EUCLEAN, "cannot make the public config");
	r |= copy_text(to, from, "architecture");
	r |= copy_text(to, from, "variant");
	r |= copy_text(to, from, "os");
	if (user[0])
		r |= json_object_set_new(config, "User", json_string(user));
	for (size_t i = 0; i < N_FIELDS; i++)
		if (fields & 1u << i)
			r |= copy_field(fields_known[i].in_config ? config : to,
					fields_known[i].in_config ? from_config : from, i, n_layers);
	r |= json_object_set(to, "config", config);
	r |= json_object_set_new(
		to, "rootfs",
		json_pack("{s:s, s:o}", "type", "layers", "diff_ids", diff_ids(layers, n_layers)));
	*out = r == 0 ? json_dumps(to, JSON_COMPACT) : NULL;
	return *out ? 0 : err_set(e, -ENOMEM, "cannot make the public config");
}

static json_t *blob_json(const struct oci_blob *b, const char *media_type)
{
	char text[DIGEST_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest_text(&b->digest, text),
			 "size", (json_int_t)b->size);
}

static json_t *index_json(const struct manifest_parts *p)
{
	json_t *index = blob_json(&p->layers[p->n_layers - 1], MEDIA_TYPE_INDEX);
	json_t *annotations = json_object();
	char text[DIGEST_TEXT_SIZE];
	int r = json_object_set_new(annotations, ANNOTATION_DESCRIPTOR,
				    json_string(digest_text(&p->descriptor, text)));

	if (p->jwe)
		r |= json_object_set_new(annotations, ANNOTATION_JWE, json_string(p->jwe));
	if (p->provider)
		r |= json_object_set_new(annotations, ANNOTATION_PROVIDER, json_string(p->provider));
	r |= json_object_set_new(index, "annotations", annotations);
	if (r == 0)
		return index;
	json_decref(index);
	return NULL;
}

int sealed_manifest_make(char **out, const struct manifest_parts *p, struct err *e)
{
	json_t *layers = json_array();
	cleanup_json json_t *manifest = NULL;

	for (size_t i = 0; i + 1 < p->n_layers; i++)
		(void)json_array_append_new(layers, blob_json(&p->layers[i], MEDIA_TYPE_LAYER));
	(void)json_array_append_new(layers, index_json(p));
	manifest = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", OCI_TYPE_MANIFEST,
			     "config", blob_json(&p->config, OCI_TYPE_CONFIG), "layers", layers);
	*out = manifest && json_array_size(layers) == p->n_layers ? json_dumps(manifest, JSON_COMPACT) : NULL;
	if (!*out)
		return err_set(e, -ENOMEM, "cannot make the manifest");
	if (strlen(*out) > MAX_MANIFEST_SIZE) {
		free(*out);
		return err_set(e, -E2BIG, "the manifest would be larger than %u bytes", MAX_MANIFEST_SIZE);
	}
	return 0;
}
