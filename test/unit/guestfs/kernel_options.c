/* SPDX-License-Identifier: Apache-2.0
 * A kernel of the test's own, which lacks what the test says. */
#include "guestfs/kernel_options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static enum kernel_answer answers[KERNEL_OPTIONS];
static unsigned int asked[KERNEL_OPTIONS];
static struct err e;

static enum kernel_answer answer(enum kernel_option o)
{
	asked[o]++;
	return answers[o];
}

static void has_all(void)
{
	memset(answers, 0, sizeof(answers)); /* KERNEL_HAS */
	memset(asked, 0, sizeof(asked));
	e.text[0] = '\0';
}

static struct address at(const char *text)
{
	struct address a;

	cr_assert_eq(address_parse(&a, text, NULL), 0, "%s", text);
	return a;
}

/* What is refused, and nothing else, when this option alone is missing. */
static const struct {
	enum kernel_option option;
	enum front_kind front;
	const char *host;
	bool pods, refused;
} cases[] = {
	{KERNEL_FUSE, FRONT_AUTO, "unix:/h", false, true},
	{KERNEL_FUSE, FRONT_TREE, "unix:/h", false, true},
	{KERNEL_EROFS, FRONT_AUTO, "unix:/h", true, false},
	{KERNEL_EROFS, FRONT_TREE, "unix:/h", true, false},
	{KERNEL_EROFS, FRONT_BLOCK, "unix:/h", false, true},
	{KERNEL_EROFS, FRONT_LOOP, "unix:/h", false, true},
	{KERNEL_EROFS_FILE, FRONT_BLOCK, "unix:/h", true, false},
	{KERNEL_LOOP, FRONT_AUTO, "unix:/h", true, false},
	{KERNEL_LOOP, FRONT_BLOCK, "unix:/h", true, false},
	{KERNEL_LOOP, FRONT_LOOP, "unix:/h", false, true},
	{KERNEL_OVERLAY, FRONT_AUTO, "unix:/h", false, false},
	{KERNEL_OVERLAY, FRONT_AUTO, "unix:/h", true, true},
	{KERNEL_TMPFS_XATTR, FRONT_AUTO, "unix:/h", false, false},
	{KERNEL_TMPFS_XATTR, FRONT_AUTO, "unix:/h", true, true},
	{KERNEL_VSOCK, FRONT_AUTO, "unix:/h", true, false},
	{KERNEL_VSOCK, FRONT_AUTO, "vsock:1:7681", false, true},
	{KERNEL_VSOCK, FRONT_AUTO, "vsock:2:7681", false, true},
	{KERNEL_VIRTIO_VSOCK, FRONT_AUTO, "unix:/h", true, false},
	{KERNEL_VIRTIO_VSOCK, FRONT_AUTO, "vsock:1:7681", true, false},
	{KERNEL_VIRTIO_VSOCK, FRONT_AUTO, "vsock:2:7681", false, true},
	{KERNEL_SECCOMP, FRONT_AUTO, "vsock:2:7681", true, false},
	{KERNEL_LANDLOCK, FRONT_AUTO, "vsock:2:7681", true, false},
};

Test(kernel_options, refuses_what_is_needed_and_names_it)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address host = at(cases[i].host);
		const struct kernel_use use = {.front = cases[i].front, .host = &host, .pods = cases[i].pods};

		has_all();
		answers[cases[i].option] = KERNEL_LACKS;
		cr_assert_eq(kernel_options_check(&use, answer, &e), cases[i].refused ? -ENOTSUP : 0,
			     "case %zu: %s", i, e.text);
		cr_assert_eq(strstr(e.text, kernel_option_name(cases[i].option)) != NULL, cases[i].refused);
		cr_assert_eq(strstr(e.text, kernel_option_purpose(cases[i].option)) != NULL,
			     cases[i].refused);
		has_all();
		answers[cases[i].option] = KERNEL_UNKNOWN;
		cr_assert_eq(kernel_options_check(&use, answer, &e), 0, "case %zu, unknown: %s", i, e.text);
	}
}

Test(kernel_options, block_front_wants_a_loop_device_where_erofs_takes_no_file)
{
	const struct kernel_use use = {.front = FRONT_BLOCK};

	has_all();
	answers[KERNEL_EROFS_FILE] = answers[KERNEL_LOOP] = KERNEL_LACKS;
	cr_assert_eq(kernel_options_check(&use, answer, &e), -ENOTSUP);
	cr_assert_not_null(strstr(e.text, "CONFIG_BLK_DEV_LOOP"));
}

Test(kernel_options, question_that_is_logged_is_asked_only_in_need)
{
	const struct kernel_use use = {.front = FRONT_BLOCK, .pods = true};

	has_all();
	cr_assert_eq(kernel_options_check(&use, answer, &e), 0);
	cr_assert_eq(asked[KERNEL_EROFS_FILE], 0);
}

Test(kernel_options, names_all_that_are_missing)
{
	struct address host = at("vsock:2");
	const struct kernel_use use = {.front = FRONT_LOOP, .host = &host, .pods = true};

	has_all();
	for (size_t i = 0; i < KERNEL_OPTIONS; i++)
		answers[i] = KERNEL_LACKS;
	cr_assert_eq(kernel_options_check(&use, answer, &e), -ENOTSUP);
	for (enum kernel_option o = 0; o < KERNEL_OPTIONS; o++)
		cr_assert_eq(strstr(e.text, kernel_option_name(o)) != NULL,
			     kernel_option_is_needed(o, &use, answer), "%s: %s", kernel_option_name(o),
			     e.text);
}

Test(kernel_options, real_kernel_answers)
{
	for (enum kernel_option o = 0; o <= KERNEL_OPTIONS; o++)
		cr_assert(kernel_ask(o) <= KERNEL_UNKNOWN);
	cr_assert_eq(kernel_ask(KERNEL_OPTIONS), KERNEL_UNKNOWN);
}
