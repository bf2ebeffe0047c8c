/* SPDX-License-Identifier: Apache-2.0
 * Keys from files: which one is used, and what is said when none fits. */
#include "guestfs/key_spec.h"
#include "crypto/kdf.h"
#include "crypto/keyfile.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <string.h>

TestSuite(key_spec, .init = scratch_open, .fini = scratch_close, .timeout = 60);

static struct key_specs k;
static char texts[8][PATH_MAX + 8];

static void add_file(int n, const char *name, const struct secret *s)
{
	char path[PATH_MAX];
	struct err e = {""};

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	if (s)
		cr_assert_eq(keyfile_write(s, path, KEYFILE_IMAGE, &e), 0, "%s", e.text);
	(void)snprintf(texts[n], sizeof(texts[n]), "file:%s", path);
	cr_assert_eq(key_specs_add(&k, texts[n], &e), 0);
}

static struct descriptor descriptor_of(const struct secret *s)
{
	struct descriptor d = {0};
	struct secret prk;

	cr_assert_eq(kdf_prk(&prk, SALT_IMAGE, s), 0);
	cr_assert_eq(kdf_commitment(d.key_commitment, &prk), 0);
	return d;
}

static int find(const struct descriptor *d, struct secret *key, struct err *e)
{
	static const struct oci_manifest manifest;
	static const struct digest digest;

	key_specs_wipe(&k);
	key_specs_load(&k);
	return key_specs_find(&k, key, &manifest, d, &digest, e);
}

Test(key_spec, uses_the_first_key_that_fits)
{
	struct secret a = {{1}}, b = {{2}}, got;
	struct descriptor d = descriptor_of(&b);
	struct err e = {""};

	add_file(0, "missing", NULL);
	add_file(1, "a", &a);
	add_file(2, "b", &b);
	cr_assert_eq(find(&d, &got, &e), 0, "%s", e.text);
	cr_assert(secret_equal(&got, &b));
}

Test(key_spec, says_what_each_one_was)
{
	struct secret a = {{1}}, b = {{2}}, got;
	struct descriptor d = descriptor_of(&b);
	struct err e = {""};

	cr_assert_eq(find(&d, &got, &e), -ENOKEY);
	add_file(0, "a", &a);
	cr_assert_eq(find(&d, &got, &e), -ENOKEY);
	cr_assert(strstr(e.text, "/a: not this image's key"), "%s", e.text);
	cr_assert_eq(key_specs_add(&k, "recipient:/nowhere", &e), 0);
	cr_assert_eq(find(&d, &got, &e), -ENOKEY);
	cr_assert(strstr(e.text, "no wrapped key") && strstr(e.text, "/a: not"), "%s", e.text);
}

Test(key_spec, refuses_what_is_no_path_and_does_not_repeat_it)
{
	static const char *const bad[] = {
		"",	"c2VjcmV0",	     "file:",	   "recipient:",   "env:KEY",	   "File:x",
		"cdh:", "cdh:/run/cdh.sock", "cdhunix:/x", "cdh:c2VjcmV0", "cdh:vsock:2:1"};
	struct err e = {""};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(key_specs_add(&k, bad[i], &e), -EINVAL, "%s", bad[i]);
		cr_assert_null(strstr(e.text, "c2VjcmV0"));
	}
	for (int i = 0; i < KEY_SPECS_MAX; i++)
		cr_assert_eq(key_specs_add(&k, "file:x", &e), 0);
	cr_assert_eq(key_specs_add(&k, "file:x", &e), -E2BIG);
}
