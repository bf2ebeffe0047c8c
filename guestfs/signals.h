/* SPDX-License-Identifier: Apache-2.0
 * Signals that are read like other events, instead of interrupting. */
#ifndef COCOON_GUESTFS_SIGNALS_H
#define COCOON_GUESTFS_SIGNALS_H

#include "proto/base/err.h"

#include <stddef.h>

/* Block n signals, in this thread and in those that it starts from now on. A descriptor to read them from
 * (signalfd(2), close-on-exec), the caller's to close; or a negative errno. */
int signals_open(const int *signals, size_t n, struct err *e);

#endif
