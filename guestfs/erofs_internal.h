/* SPDX-License-Identifier: Apache-2.0
 * What the files of the EROFS reader share; nobody else includes this. */
#ifndef COCOON_GUESTFS_EROFS_INTERNAL_H
#define COCOON_GUESTFS_EROFS_INTERNAL_H

#include "guestfs/erofs_reader.h"

#include <stdbool.h>

#define EROFS_BLOCK_BITS 12
#define EROFS_BLOCK 4096u
#define EROFS_SLOT 32u
#define XATTR_HEADER_SIZE 12u

#endif
