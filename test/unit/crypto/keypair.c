/* SPDX-License-Identifier: Apache-2.0
 * A fresh key pair: both files or none, the private one for its owner only, and it opens what is wrapped for
 * it. */
#include "crypto/keypair.h"
#include "crypto/keywrap.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <sys/stat.h>

TestSuite(keypair, .init = scratch_open, .fini = scratch_close);

Test(keypair, opens_what_is_wrapped_for_it)
{
	const struct secret key = {{1, 2, 3}};
	const struct digest image = {{4}};
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
	struct secret got;
	struct err e = {""};

	cr_assert_eq(keypair_write(scratch_path("k"), scratch_path("k.pub"), &e), 0, "%s", e.text);
	cr_assert_eq(keywrap_wrap(&b, &key, &image, scratch_path("k.pub"), &e), 0, "%s", e.text);
	buf_u8(&b, '\0');
	cr_assert_eq(keywrap_unwrap(&got, (const char *)b.data, &image, scratch_path("k"), &e), 0, "%s",
		     e.text);
	cr_assert(secret_equal(&got, &key));
}

Test(keypair, modes)
{
	struct stat st;
	struct err e = {""};

	(void)umask(0);
	cr_assert_eq(keypair_write(scratch_path("k"), scratch_path("k.pub"), &e), 0, "%s", e.text);
	cr_assert_eq(stat(scratch_path("k"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(stat(scratch_path("k.pub"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0644);
}

Test(keypair, both_or_none_and_never_replaced)
{
	struct stat st;
	struct err e = {""};

	cr_assert_eq(mkdir(scratch_path("k.pub"), 0700), 0);
	cr_assert_eq(keypair_write(scratch_path("k"), scratch_path("k.pub"), &e), -EEXIST);
	cr_assert_eq(stat(scratch_path("k"), &st), -1, "the private half alone was left");
	cr_assert_eq(keypair_write(scratch_path("k.pub"), scratch_path("x.pub"), &e), -EEXIST);
	cr_assert_eq(stat(scratch_path("x.pub"), &st), -1);
}
