/* SPDX-License-Identifier: Apache-2.0
 * containerd.services.snapshots.v1: the ten methods between protobuf messages and snapshots.h. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOTS_SERVICE_H
#define COCOON_SNAPSHOTTER_SNAPSHOTS_SERVICE_H

#include "snapshotter/rpc_server.h"
#include "snapshotter/snapshots.h"

#define N_SNAPSHOTS_METHODS 10

/* Their handlers take a `struct snapshots *`. */
extern const struct rpc_method snapshots_methods[N_SNAPSHOTS_METHODS];

#endif
