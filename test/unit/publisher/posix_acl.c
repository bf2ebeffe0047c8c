/* SPDX-License-Identifier: Apache-2.0
 * ACLs as text, and the attribute values that Linux gives for them. */
#include "publisher/posix_acl.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define E(tag, perm, id) tag, 0, perm, 0, (id)&0xff, (id) >> 8 & 0xff, (id) >> 16 & 0xff, (id) >> 24 & 0xff
#define NONE 0xffffffffu

/* As `setfacl` and `getfattr -e hex` have it on ext4. */
static const uint8_t extended[] = {
	2, 0, 0, 0, E(1, 6, NONE), E(2, 4, 1000u), E(4, 4, NONE), E(16, 6, NONE), E(32, 0, NONE)};

static void encodes(const char *text, const uint8_t *want, size_t size)
{
	struct buf b = {.max = POSIX_ACL_MAX};
	uint16_t mode = 0;
	int r = posix_acl_encode(text, strlen(text), &b, &mode);

	cr_assert_eq(r, 0, "%s: %d", text, r);
	cr_assert_eq(b.size, size, "%s: %zu bytes", text, b.size);
	cr_assert_arr_eq(b.data, want, size, "%s", text);
	cr_assert_eq(mode, want == extended ? 0660 : 0770, "the mask is the group's: %o", mode);
	buf_deinit(&b);
}

Test(posix_acl, encodes_what_archivers_write)
{
	encodes("user::rw-,user:1000:r--,group::r--,mask::rw-,other::---", extended, sizeof(extended));
	encodes("user::rw-\nuser:1000:r--\ngroup::r--\nmask::rw-\nother::---\n", extended, sizeof(extended));
	encodes("u::rw-,u:joe:r--:1000,g::r--,m::rw-,o::---", extended, sizeof(extended));
	encodes("other::---,mask::rw-,group::r--,user:1000:r--,user::rw-", extended, sizeof(extended));
	encodes("default:user::rw-,default:user:1000:r--,default:group::r--,default:mask::rw-,default:other::"
		"---",
		extended, sizeof(extended));
	encodes("# file: x\nuser::rw-\nuser:1000:r--\ngroup::r--\nmask::rw-\nother::---", extended,
		sizeof(extended));
}

Test(posix_acl, sorts_by_number)
{
	static const uint8_t want[] = {2,
				       0,
				       0,
				       0,
				       E(1, 7, NONE),
				       E(2, 1, 5u),
				       E(2, 2, 4294967294u),
				       E(4, 0, NONE),
				       E(8, 4, 7u),
				       E(8, 3, 600u),
				       E(16, 7, NONE),
				       E(32, 0, NONE)};

	encodes("user::rwx,user:4294967294:-w-,user:5:--x,group::---,group:600:-wx,group:7:r--,mask::rwx,"
		"other::---",
		want, sizeof(want));
}

Test(posix_acl, knows_what_a_mode_can_say)
{
	uint16_t mode;
	struct buf b = {.max = POSIX_ACL_MAX};
	static const char text[] = "user::rw-,group::r--,other::r--";

	cr_assert_eq(posix_acl_encode(text, strlen(text), &b, &mode), POSIX_ACL_MINIMAL);
	cr_assert_eq(b.size, 0);
}

Test(posix_acl, tells_names_without_numbers)
{
	uint16_t mode;
	struct buf b = {.max = POSIX_ACL_MAX};
	static const char text[] = "user::rw-,user:joe:r--,group::r--,mask::rw-,other::r--";

	cr_assert_eq(posix_acl_encode(text, strlen(text), &b, &mode), POSIX_ACL_NAMES);
	cr_assert_eq(b.size, 0);
}

Test(posix_acl, refuses_what_is_no_acl)
{
	uint16_t mode;
	static const char *const bad[] = {
		"",
		"user::rw-",
		"user::rw-,group::r--",
		"user::rw-,user:1:r--,group::r--,other::---",
		"user::rw-,user::r--,group::r--,other::---",
		"user::rw-,user:1:r--,user:1:r--,group::r--,mask::r--,other::---",
		"user::rw,group::r--,other::---",
		"user::rwxx,group::r--,other::---",
		"user::wr-,group::r--,other::---",
		"user:rw-,group::r--,other::---",
		"nobody::rw-,group::r--,other::---",
		"garbage",
		",,,",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = {.max = POSIX_ACL_MAX};

		cr_assert_eq(posix_acl_encode(bad[i], strlen(bad[i]), &b, &mode), -EUCLEAN, "%s", bad[i]);
		buf_deinit(&b);
	}
}

Test(posix_acl, refuses_more_entries_than_a_value_holds)
{
	uint16_t mode;
	struct buf b = {.max = POSIX_ACL_MAX}, text = {.max = 1 << 20};
	char entry[32];

	for (int i = 0; i < 9000; i++) {
		(void)snprintf(entry, sizeof(entry), "user:%d:r--,", i);
		buf_put(&text, entry, strlen(entry));
	}
	cr_assert_eq(posix_acl_encode(text.data, text.size, &b, &mode), -E2BIG);
	buf_deinit(&text);
}
