/* SPDX-License-Identifier: Apache-2.0
 * A table of fields and what each must be. */
#include "publisher/config_check.h"
#include "proto/oci/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define DOCKER_TYPE_CONFIG "application/vnd.docker.container.image.v1+json"

enum shape { TEXT, LIST, TEXT_MAP, SET };

static const struct {
	const char *name;
	enum shape shape;
} fields[] = {
	{"User", TEXT},	      {"WorkingDir", TEXT}, {"StopSignal", TEXT},  {"Env", LIST},    {"Cmd", LIST},
	{"Entrypoint", LIST}, {"Labels", TEXT_MAP}, {"ExposedPorts", SET}, {"Volumes", SET},
};

static bool all_text(const json_t *list)
{
	size_t i;
	json_t *value;

	json_array_foreach(list, i, value)
	{
		if (!json_is_string(value))
			return false;
	}
	return true;
}

static bool all_values(json_t *map, bool text)
{
	const char *key;
	json_t *value;

	json_object_foreach(map, key, value)
	{
		if (text ? !json_is_string(value) : !json_is_object(value))
			return false;
	}
	return true;
}

static bool has_shape(json_t *value, enum shape shape)
{
	switch (shape) {
	case TEXT:
		return json_is_string(value);
	case LIST:
		return json_is_array(value) && all_text(value);
	case TEXT_MAP:
	case SET:
		return json_is_object(value) && all_values(value, shape == TEXT_MAP);
	}
	return false;
}

int config_media_type_check(const char *media_type, struct err *e)
{
	if (strcmp(media_type, OCI_TYPE_CONFIG) == 0 || strcmp(media_type, DOCKER_TYPE_CONFIG) == 0)
		return 0;
	return err_set(e, -ENOTSUP, "%s is not the config of a container image", media_type);
}

int config_check(const void *json, size_t size, struct err *e)
{
	json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, NULL);
	json_t *config = json_object_get(root, "config"), *value;
	const char *type = json_string_value(json_object_get(json_object_get(root, "rootfs"), "type"));
	int r = 0;

	if (!type || strcmp(type, "layers") != 0)
		r = err_set(e, -EUCLEAN, "rootfs.type is not \"layers\"");
	else if (config && !json_is_object(config) && !json_is_null(config))
		r = err_set(e, -EUCLEAN, "config is not an object");
	for (size_t i = 0; r == 0 && i < sizeof(fields) / sizeof(fields[0]); i++) {
		value = json_object_get(config, fields[i].name);
		if (value && !json_is_null(value) && !has_shape(value, fields[i].shape))
			r = err_set(e, -EUCLEAN, "config.%s is not what the image-spec says", fields[i].name);
	}
	json_decref(root);
	return r;
}
