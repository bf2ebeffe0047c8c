/* SPDX-License-Identifier: Apache-2.0
 * A signal to end while the mount is being made: the host may let every request of that wait, and whoever
 * gave the command must not have to wait with it. Nothing is visible yet, so the process just ends. */
#ifndef COCOON_GUESTFS_EARLY_END_H
#define COCOON_GUESTFS_EARLY_END_H

#include "guestfs/background.h"
#include "proto/base/err.h"

struct early_end;

/* Watch `signals`, a signalfd of SIGTERM, SIGINT and others, in a thread; the first two end the process with
 * EXIT_MOUNT, after background_failed(). Both are borrowed. */
int early_end_start(struct early_end **out, int signals, struct background *b, struct err *e);
/* From now on signals are the caller's. NULL is fine. */
void early_end_stop(struct early_end *w);

#endif
