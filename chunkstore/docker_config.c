/* SPDX-License-Identifier: Apache-2.0
 * Reading docker's config.json. Its keys name registries in many spellings (with and without scheme and
 * path); what counts is the host and port. */
#include "chunkstore/docker_config.h"
#include "chunkstore/docker_helper.h"
#include "chunkstore/secret_json.h"
#include "proto/base/base64.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_KEY "index.docker.io" /* its name in config.json */
#define DOCKER_HUB_SERVER "https://index.docker.io/v1/"

void docker_login_deinit(struct docker_login *l)
{
	secret_text_free(l->user);
	secret_text_free(l->password);
	secret_text_free(l->identity_token);
	*l = (struct docker_login){0};
}

/* Whether a key of config.json ("https://host/v1/", "host:port", "host/path") means this registry. */
static bool key_matches(const char *key, const char *registry)
{
	const char *scheme = strstr(key, "://");
	size_t n;

	if (scheme)
		key = scheme + 3;
	n = strcspn(key, "/");
	if (strcmp(registry, DOCKER_HUB) == 0 && n == strlen(DOCKER_HUB_KEY) &&
	    memcmp(key, DOCKER_HUB_KEY, n) == 0)
		return true;
	return n == strlen(registry) && memcmp(key, registry, n) == 0;
}

static json_t *entry_for(json_t *map, const char *registry)
{
	json_t *found = json_object_get(map, registry);

	/* the exact spelling before others */
	for (void *i = found ? NULL : json_object_iter(map); i && !found; i = json_object_iter_next(map, i))
		if (key_matches(json_object_iter_key(i), registry))
			found = json_object_iter_value(i);
	return found;
}

/* "auth": base64 of user:password. */
static int decode_auth(struct docker_login *l, const json_t *j, struct err *e)
{
	const char *text = json_string_value(j);
	size_t n = json_string_length(j);
	struct buf plain;
	char *colon;
	int r = -EINVAL;

	if (!text || n > DOCKER_MAX_SECRET)
		return err_set(e, -EINVAL, "auth is not a string of sensible length");
	if (n == 0)
		return 0;
	buf_init(&plain, n + 1);
	buf_zero(&plain, n + 1); /* room for all at once, so that growing leaves no copy behind */
	if (buf_failed(&plain))
		return err_set(e, -ENOMEM, "out of memory");
	plain.size = 0;
	if (base64_decode(&plain, BASE64_STANDARD, text, n) == 0) {
		buf_u8(&plain, '\0');
		colon = memchr(plain.data, ':', plain.size);
		if (colon && strlen((char *)plain.data) + 1 == plain.size) {
			*colon = '\0';
			l->user = strdup((char *)plain.data);
			l->password = strdup(colon + 1);
			r = l->user && l->password ? 0 : -ENOMEM;
		}
	}
	explicit_bzero(plain.data, plain.room);
	buf_deinit(&plain);
	return r == 0 ? 0 : err_set(e, r, "auth is not base64 of user:password");
}

/* A member that may be missing. */
static int decode_member(char **out, const json_t *entry, const char *name, struct err *e)
{
	int r = *out ? 0 : secret_json_copy(out, json_object_get(entry, name), DOCKER_MAX_SECRET);

	return r == 0 || r == -ENOENT ? 0 : err_set(e, r, "%s is not a string of sensible length", name);
}

static int decode_entry(struct docker_login *l, const json_t *entry, struct err *e)
{
	const json_t *auth = json_object_get(entry, "auth");
	int r = 0;

	if (!json_is_object(entry))
		return err_set(e, -EINVAL, "entry is not an object");
	if (auth)
		r = decode_auth(l, auth, e);
	if (r == 0)
		r = decode_member(&l->user, entry, "username", e);
	if (r == 0)
		r = decode_member(&l->password, entry, "password", e);
	if (r == 0)
		r = decode_member(&l->identity_token, entry, "identitytoken", e);
	if (r == 0 && !l->user != !l->password && !l->identity_token)
		return err_set(e, -EINVAL, "user without password, or password without user");
	return r;
}

/* A helper's name becomes part of a program's name. */
static int decode_helper(char helper[static DOCKER_HELPER_SIZE], const json_t *j, struct err *e)
{
	const char *name = json_string_value(j);

	if (!name || strlen(name) >= DOCKER_HELPER_SIZE)
		return err_set(e, -EINVAL, "credential helper is not a short name");
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")])
		return err_set(e, -EINVAL, "credential helper: %s is not a program's name", name);
	memcpy(helper, name, strlen(name) + 1);
	return 0;
}

int docker_config_decode(struct docker_login *out, char helper[static DOCKER_HELPER_SIZE], const char *json,
			 size_t size, const char *registry, struct err *e)
{
	int line;
	cleanup_secret_json json_t *j = secret_json_load(json, size, &line);
	json_t *auths = json_object_get(j, "auths"), *helpers = json_object_get(j, "credHelpers");
	const json_t *store = json_object_get(j, "credsStore"), *own, *entry;
	struct docker_login l = {0};
	int r;

	helper[0] = '\0';
	if (!j)
		return err_set(e, -EINVAL, "line %d: not a JSON object, or a key that stands twice", line);
	if ((auths && !json_is_object(auths)) || (helpers && !json_is_object(helpers)))
		return err_set(e, -EINVAL, "auths or credHelpers is not an object");
	own = entry_for(helpers, registry);
	if (own) {
		r = decode_helper(helper, own, e);
		return r < 0 ? r : DOCKER_NO_LOGIN;
	}
	entry = entry_for(auths, registry);
	r = entry ? decode_entry(&l, entry, e) : 0;
	if (r < 0) {
		docker_login_deinit(&l);
		return err_prefix(e, r, "auths of %s", registry);
	}
	if (l.user || l.identity_token) {
		*out = l;
		return 0;
	}
	r = store ? decode_helper(helper, store, e) : 0;
	return r < 0 ? r : DOCKER_NO_LOGIN;
}

/* A file with secrets: into one allocation, wiped by the caller. */
static int read_secret_file(char **out, size_t *size, const char *path, struct err *e)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > DOCKER_MAX_CONFIG)
		return err_set(e, -EINVAL, "%s: not a file of at most %u bytes", path, DOCKER_MAX_CONFIG);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	r = pread_full(fd, text, (size_t)st.st_size, 0);
	if (r < 0) {
		free(text);
		return err_errno(e, r, "%s", path);
	}
	*out = text;
	*size = (size_t)st.st_size;
	return 0;
}

/* Docker's own place for config.json. */
static int default_path(char path[static 4096])
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	int n = -1;

	if (dir && *dir)
		n = snprintf(path, 4096, "%s/config.json", dir);
	else if (home && *home)
		n = snprintf(path, 4096, "%s/.docker/config.json", home);
	return n < 0 || n >= 4096 ? -ENOENT : 0;
}

int docker_login_find(struct docker_login *out, const char *path, const char *registry, struct err *e)
{
	char place[4096], helper[DOCKER_HELPER_SIZE];
	char *text = NULL;
	size_t size = 0;
	int r;

	if (!path && default_path(place) < 0)
		return DOCKER_NO_LOGIN;
	r = read_secret_file(&text, &size, path ? path : place, e);
	if (r == -ENOENT && !path)
		return DOCKER_NO_LOGIN;
	if (r < 0)
		return r;
	r = docker_config_decode(out, helper, text, size, registry, e);
	explicit_bzero(text, size);
	free(text);
	if (r < 0)
		return err_prefix(e, r, "%s", path ? path : place);
	if (r == DOCKER_NO_LOGIN && helper[0])
		r = docker_helper_ask(out, helper,
				      strcmp(registry, DOCKER_HUB) == 0 ? DOCKER_HUB_SERVER : registry, e);
	return r;
}
