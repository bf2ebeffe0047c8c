/* SPDX-License-Identifier: Apache-2.0
 * A POSIX ACL as archivers write it, "user::rw-,user:1000:r--,group::r--,mask::r--,other::---", as the
 * kernel's attribute value (acl(5), include/uapi/linux/posix_acl_xattr.h). Any thread. */
#ifndef COCOON_PUBLISHER_POSIX_ACL_H
#define COCOON_PUBLISHER_POSIX_ACL_H

#include "proto/base/bytes.h"

#include <stddef.h>
#include <stdint.h>

#define POSIX_ACL_MAX 65535u /* bytes of the value */

/* Append the value to `out`, and tell which permissions a mode has beside it (its group's are the mask:
 * acl(5)). 0; POSIX_ACL_MINIMAL when the mode says all of it (nothing is appended); POSIX_ACL_NAMES when it
 * names users or groups without their numbers; -EUCLEAN when it is not an ACL; -E2BIG; -ENOMEM. */
enum { POSIX_ACL_MINIMAL = 1, POSIX_ACL_NAMES };
int posix_acl_encode(const void *text, size_t n, struct buf *out, uint16_t *mode);

#endif
