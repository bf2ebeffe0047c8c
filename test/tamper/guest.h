/* SPDX-License-Identifier: Apache-2.0
 * A guest at a host of the test's: the real source over the wire, under a clock that runs fast, as millions
 * of broken connections cannot wait for the pauses between two attempts. */
#ifndef COCOON_TEST_GUEST_H
#define COCOON_TEST_GUEST_H

#include "guestfs/source.h"

/* The image `test.example/image:1` of the host at unix socket `path`. Aborts on failure. */
struct source *guest_source(const char *path);

#endif
