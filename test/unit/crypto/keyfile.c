/* SPDX-License-Identifier: Apache-2.0
 * Key files: one shape in, one shape out, never replaced, never readable by others. */
#include "crypto/keyfile.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(keyfile, .init = scratch_open, .fini = scratch_close);

#define BODY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define GOOD "-----BEGIN COCOON DOMAIN SECRET-----\n" BODY "\n-----END COCOON DOMAIN SECRET-----\n"

Test(keyfile, text_is_as_the_format_says)
{
	cleanup_buf struct buf b = {.max = 256};
	struct secret s, got;

	for (int i = 0; i < SECRET_SIZE; i++)
		s.bytes[i] = (uint8_t)i;
	keyfile_encode(&b, &s, KEYFILE_DOMAIN);
	cr_assert_eq(b.size, strlen(GOOD));
	cr_assert_eq(memcmp(b.data, GOOD, b.size), 0);
	cr_assert_eq(keyfile_decode(&got, GOOD, strlen(GOOD), KEYFILE_DOMAIN, NULL), 0);
	cr_assert(secret_equal(&s, &got));
	cr_assert_eq(keyfile_decode(&got, GOOD, strlen(GOOD) - 1, KEYFILE_DOMAIN, NULL), 0,
		     "no newline at the end");
}

Test(keyfile, reads_what_it_writes)
{
	struct secret s, got;
	struct stat st;
	struct err e = {""};

	cr_assert_eq(secret_random(&s), 0);
	(void)umask(0);
	cr_assert_eq(keyfile_write(&s, scratch_path("k"), KEYFILE_IMAGE, &e), 0, "%s", e.text);
	cr_assert_eq(stat(scratch_path("k"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(keyfile_read(&got, scratch_path("k"), KEYFILE_IMAGE, &e), 0, "%s", e.text);
	cr_assert(secret_equal(&s, &got));
}

Test(keyfile, is_never_replaced)
{
	struct secret first = {{1}}, second = {{2}}, got;
	struct err e;

	cr_assert_eq(keyfile_write(&first, scratch_path("k"), KEYFILE_IMAGE, &e), 0);
	cr_assert_eq(keyfile_write(&second, scratch_path("k"), KEYFILE_IMAGE, &e), -EEXIST);
	cr_assert_eq(keyfile_read(&got, scratch_path("k"), KEYFILE_IMAGE, &e), 0);
	cr_assert(secret_equal(&first, &got));
	cr_assert_eq(keyfile_write(&first, scratch_path("no/where"), KEYFILE_IMAGE, &e), -ENOENT);
}

Test(keyfile, kinds_are_not_mixed_up)
{
	struct secret s = {{1}}, got;
	struct err e;

	cr_assert_eq(keyfile_write(&s, scratch_path("k"), KEYFILE_IMAGE, &e), 0);
	cr_assert_eq(keyfile_read(&got, scratch_path("k"), KEYFILE_DOMAIN, &e), -EINVAL);
	cr_assert_not_null(strstr(e.text, KEYFILE_DOMAIN));
	cr_assert_eq(keyfile_read(&got, scratch_path("none"), KEYFILE_DOMAIN, &e), -ENOENT);
}

Test(keyfile, refuses_every_other_shape)
{
	static const char *const bad[] = {
		"",
		"\n",
		BODY,
		BODY "\n",
		" " GOOD,
		"\n" GOOD,
		GOOD "\n",
		GOOD "x",
		GOOD GOOD,
		"-----BEGIN COCOON DOMAIN SECRET-----",
		"-----BEGIN COCOON DOMAIN SECRET-----\n",
		"-----BEGIN COCOON DOMAIN SECRET-----\n" BODY,
		"-----BEGIN COCOON DOMAIN SECRET-----\n" BODY "\n",
		"-----BEGIN COCOON DOMAIN SECRET-----\n" BODY "\n-----END COCOON IMAGE KEY-----\n",
		"-----BEGIN COCOON DOMAIN SECRET-----\r\n" BODY "\r\n-----END COCOON DOMAIN SECRET-----\r\n",
		"-----BEGIN COCOON DOMAIN SECRET-----\n" BODY " \n-----END COCOON DOMAIN SECRET-----\n",
		"-----BEGIN COCOON DOMAIN SECRET-----\n\n" BODY "\n-----END COCOON DOMAIN SECRET-----\n",
		/* 31 bytes, 33 bytes, a foreign letter, spare bits, a NUL's place */
		"-----BEGIN COCOON DOMAIN "
		"SECRET-----\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n-----END COCOON "
		"DOMAIN SECRET-----\n",
		"-----BEGIN COCOON DOMAIN "
		"SECRET-----\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n-----END COCOON "
		"DOMAIN SECRET-----\n",
		"-----BEGIN COCOON DOMAIN "
		"SECRET-----\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8-\n-----END COCOON "
		"DOMAIN SECRET-----\n",
		"-----BEGIN COCOON DOMAIN "
		"SECRET-----\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n-----END COCOON "
		"DOMAIN SECRET-----\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct secret got = {{7}};
		struct err e = {""};

		cr_assert_eq(keyfile_decode(&got, bad[i], strlen(bad[i]), KEYFILE_DOMAIN, &e), -EINVAL, "%zu",
			     i);
		cr_assert_neq(e.text[0], '\0');
		cr_assert_eq(got.bytes[0], 7, "written although refused");
	}
}

Test(keyfile, words_never_hold_the_key)
{
	static const char text[] = "-----BEGIN COCOON DOMAIN SECRET-----\n" BODY "\nno end\n";
	struct secret got;
	struct err e;

	cr_assert_eq(keyfile_decode(&got, text, strlen(text), KEYFILE_DOMAIN, &e), -EINVAL);
	cr_assert_null(strstr(e.text, "AAEC"));
}

Test(keyfile, refuses_long_files)
{
	char text[1000];
	struct secret got;
	struct err e;
	int fd = open(scratch_path("k"), O_WRONLY | O_CREAT, 0600);

	memset(text, 'x', sizeof(text));
	cr_assert_eq(write(fd, text, sizeof(text)), (ssize_t)sizeof(text));
	(void)close(fd);
	cr_assert_eq(keyfile_read(&got, scratch_path("k"), KEYFILE_DOMAIN, &e), -EINVAL);
}
