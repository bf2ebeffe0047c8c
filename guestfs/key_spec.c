/* SPDX-License-Identifier: Apache-2.0
 * Key specifications, and the finder that tries them. What a file holds is known only when the descriptor
 * confirms it. */
#include "guestfs/key_spec.h"
#include "crypto/keyfile.h"
#include "crypto/keywrap.h"
#include "guestfs/key_service.h"
#include "proto/base/io.h"
#include "proto/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum key_kind kind;
} kinds[] = {
	{"file:", KEY_FILE},
	{"recipient:", KEY_RECIPIENT},
	{"cdh:", KEY_CDH},
};

/* Of this machine: whoever is asked for a key is trusted, and outside of it is the host. */
static bool is_hub_address(const char *text)
{
	struct address a;

	return address_parse(&a, text, NULL) == 0 && a.sa.sa_family == AF_UNIX;
}

int key_specs_add(struct key_specs *k, const char *text, struct err *e)
{
	if (strcmp(text, "cdh") == 0)
		text = "cdh:" KEY_CDH_ADDRESS;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, n) != 0)
			continue;
		if (text[n] == '\0' || (kinds[i].kind == KEY_CDH && !is_hub_address(text + n)))
			break;
		if (k->n == KEY_SPECS_MAX)
			return err_set(e, -E2BIG, "more than %d keys", KEY_SPECS_MAX);
		k->spec[k->n++] =
			(struct key_spec){.kind = kinds[i].kind, .path = text + n, .cdh = {.fd = -1}};
		buf_init_secret(&k->spec[k->n - 1].text, KEYWRAP_MAX_PEM);
		return 0;
	}
	return err_set(e, -EINVAL,
		       "a key is file:PATH, recipient:PATH, cdh or cdh:ADDRESS, a path and never the secret "
		       "itself (it would be visible to every process)");
}

bool key_specs_fit_anyones(const struct key_specs *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->spec[i].kind != KEY_FILE)
			return true;
	return false;
}

static int connect_cdh(struct key_spec *s)
{
	struct address address;
	int r = address_parse(&address, s->path, NULL);

	return r < 0 ? r : ttrpc_client_open(&s->cdh, &address, KEY_SERVICE_TIMEOUT_MS, NULL);
}

void key_specs_load(struct key_specs *k)
{
	for (size_t i = 0; i < k->n; i++) {
		struct key_spec *s = &k->spec[i];

		s->result =
			s->kind == KEY_CDH ? connect_cdh(s) : file_read(AT_FDCWD, s->path, &s->text, NULL);
	}
}

void key_specs_wipe(struct key_specs *k)
{
	for (size_t i = 0; i < k->n; i++) {
		buf_deinit(&k->spec[i].text);
		ttrpc_client_close(&k->spec[i].cdh);
	}
}

static int try_file(const struct key_spec *s, struct secret *key, struct err *e)
{
	int r = keyfile_decode(key, (const char *)s->text.data, s->text.size, KEYFILE_IMAGE, e);

	return r < 0 ? err_prefix(e, r, "%s", s->path) : 0;
}

static int ask_cdh(struct key_spec *s, struct secret *key, const struct oci_manifest *manifest,
		   const struct digest *descriptor_digest, struct err *e)
{
	int r;

	if (!manifest->keys_provider)
		return err_set(e, -ENOKEY, "the image's manifest has no key that a key provider wrapped");
	/* not there yet, or in the middle of a restart: who asked may ask again */
	if (s->result < 0)
		return err_errno(e, s->result == -ENOENT ? -ECONNREFUSED : s->result,
				 "the Confidential Data Hub at %s is away", s->path);
	r = key_provider_unwrap(key, manifest->keys_provider, descriptor_digest, key_service_unwrap, &s->cdh,
				e);
	return r < 0 ? err_prefix(e, r, "the Confidential Data Hub at %s", s->path) : 0;
}

static int find_key(struct key_spec *s, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *descriptor_digest,
		    struct err *e)
{
	int r;

	if (s->kind == KEY_CDH)
		r = ask_cdh(s, key, manifest, descriptor_digest, e);
	else if (s->kind == KEY_RECIPIENT && !manifest->keys_jwe)
		r = err_set(e, -ENOKEY, "%s: the image's manifest has no wrapped key", s->path);
	else if (s->result < 0)
		r = err_errno(e, s->result == -E2BIG ? -EINVAL : s->result, "%s", s->path);
	else if (s->kind == KEY_FILE)
		r = try_file(s, key, e);
	else
		r = keywrap_unwrap_pem(key, manifest->keys_jwe, descriptor_digest, &s->text, s->path, e);
	if (r < 0)
		return r;
	r = image_key_fits(key, descriptor);
	return r < 0 ? err_set(e, r, "%s: not this image's key", s->path) : 0;
}

/* A key must not seem to be wrong because there was no memory to look at it. */
static int try_spec(struct key_spec *s, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *descriptor_digest,
		    struct err *e)
{
	unsigned int shortages = memory_shortages();
	int r = find_key(s, key, manifest, descriptor, descriptor_digest, e);

	return r < 0 && memory_shortages() != shortages ? err_set(e, -ENOMEM, "%s: out of memory", s->path)
							: r;
}

int key_specs_find(void *arg, struct secret *key, const struct oci_manifest *manifest,
		   const struct descriptor *descriptor, const struct digest *descriptor_digest, struct err *e)
{
	struct key_specs *k = arg;
	struct err all = {""};
	int result = -ENOKEY;

	if (k->n == 0)
		return err_set(e, -ENOKEY, "no key was given");
	for (size_t i = 0; i < k->n; i++) {
		struct err one = {""};
		int r = try_spec(&k->spec[i], key, manifest, descriptor, descriptor_digest, &one);

		if (r == 0)
			return 0;
		secret_wipe(key);
		result = i == 0 || r == result ? r : -ENOKEY;
		if (i == 0)
			all = one;
		else
			(void)err_set(&all, r, "%s; %s", all.text, one.text);
	}
	return err_set(e, result, "%s", all.text);
}
