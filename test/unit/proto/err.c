/* SPDX-License-Identifier: Apache-2.0
 * Error words: the code comes back, the words are printable and cut, NULL is fine. */
#include "proto/base/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(err, set_returns_the_code_and_keeps_the_words)
{
	struct err e;

	cr_assert_eq(err_set(&e, -EPROTO, "frame %d of %s", 7, "host"), -EPROTO);
	cr_assert_str_eq(e.text, "frame 7 of host");
}

Test(err, prefix_stands_in_front)
{
	struct err e;

	(void)err_set(&e, -EPROTO, "inner");
	cr_assert_eq(err_prefix(&e, -EIO, "outer %d", 1), -EIO);
	cr_assert_str_eq(e.text, "outer 1: inner");
}

Test(err, errno_adds_the_reason)
{
	struct err e;

	cr_assert_eq(err_errno(&e, -ENOENT, "file %s", "x"), -ENOENT);
	cr_assert_str_eq(e.text, "file x: No such file or directory");
}

Test(err, null_takes_no_words)
{
	cr_assert_eq(err_set(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(err_prefix(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(err_errno(NULL, -EIO, "x"), -EIO);
}

Test(err, control_characters_never_reach_a_terminal)
{
	struct err e;

	(void)err_set(&e, -EIO, "a\033[2Jb\nc\xff\x7f");
	cr_assert_str_eq(e.text, "a?[2Jb?c??");
}

Test(err, long_words_are_cut)
{
	char words[2 * ERR_TEXT_MAX];
	struct err e;

	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	(void)err_set(&e, -EIO, "%s", words);
	cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
	(void)err_prefix(&e, -EIO, "%s", words);
	cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
	(void)err_errno(&e, -EIO, "%s", words);
	cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
}
