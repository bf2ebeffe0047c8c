/* SPDX-License-Identifier: Apache-2.0
 * containerd.services.snapshots.v1: the ten methods between protobuf messages and snapshots.h. containerd may
 * know the daemon by several names, all on one socket, and says in each request which it means. A name stands
 * for one road with a state of its own: containerd numbers the keys of each of its snapshotters by
 * themselves, and has removed from each what is not its own. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOTS_SERVICE_H
#define COCOON_SNAPSHOTTER_SNAPSHOTS_SERVICE_H

#include "snapshotter/rpc_server.h"
#include "snapshotter/snapshots.h"

#define N_SNAPSHOTS_METHODS 10

struct snapshots_service {
	struct {
		const char *snapshotter; /* containerd's name */
		struct snapshots *snapshots;
	} roads[N_ROADS]; /* all borrowed */
};

/* Their handlers take a `const struct snapshots_service *`, and name the call after its road. */
extern const struct rpc_method snapshots_methods[N_SNAPSHOTS_METHODS];

#endif
