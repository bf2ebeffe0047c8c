/* SPDX-License-Identifier: Apache-2.0
 * The door to a pod's VM: answers api.ImagePullService/PullImage by mounting, hands all else on to the real
 * Confidential Data Hub. This process has neither keys nor plaintext; the programs that mount have, each
 * those of its image. */
#ifndef COCOON_GUESTFS_PODS_DOOR_H
#define COCOON_GUESTFS_PODS_DOOR_H

#include "guestfs/pods/pull.h"
#include "proto/wire/address.h"

#include <stdbool.h>

struct door_options {
	struct puller_options puller;
	const struct address *cdh; /* NULL: there is none */
	bool unsealed_to_cdh; /* it pulls what is not sealed, under its own policy; else that is refused */
};

/* Serve the listening descriptor until SIGTERM or SIGINT; what is mounted stays. A byte is written to `ready`
 * once it is served; both stay the caller's. */
int door_run(const struct door_options *o, int listener, int ready, struct err *e);

#endif
