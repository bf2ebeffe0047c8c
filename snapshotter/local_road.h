/* SPDX-License-Identifier: Apache-2.0
 * The local road: images mounted on this host, each by a cocoon-guestfs of its own, at ROOT/mounts/<chain
 * ID>. Those processes do not belong to the daemon: they go on when it ends or crashes, are found again when
 * it starts, and end when their mount goes. The daemon hands on the names of keys and never reads one. Any
 * thread. */
#ifndef COCOON_SNAPSHOTTER_LOCAL_ROAD_H
#define COCOON_SNAPSHOTTER_LOCAL_ROAD_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct local_road_config {
	const char *root;	 /* absolute; mounts/ is made below it */
	const char *guestfs;	 /* program, found in PATH when it has no slash */
	const char *host;	 /* where chunks are served, as guestfs takes it: unix:PATH */
	const char *const *keys; /* key specifications, as guestfs takes them */
	size_t n_keys;
	const char *front;    /* "auto", "block", "loop" or "tree" */
	uint64_t cache_bytes; /* plaintext kept by each guestfs; 0: its default */
	unsigned timeout_ms;  /* for mounting and for unmounting; 0: 60,000 */
};

struct local_road;

/* The configuration is copied. */
int local_road_open(struct local_road **out, const struct local_road_config *config, struct err *e);
/* Mounts that are being made, or are asked for later, fail soon with -ECANCELED. */
void local_road_cancel(struct local_road *r);
/* Mounts stay. No call may be running. NULL is fine. */
void local_road_close(struct local_road *r);

/* Make sure the image is mounted, and say where (absolute). Takes as long as a mount takes; who asks for an
 * image that is being mounted shares the result. The mount is held until local_road_release(), so that no
 * sweep takes it before the caller's snapshot is written down. -ETIMEDOUT, or -EIO with guestfs' own words.
 */
int local_road_mount(struct local_road *r, const struct digest *chain, const char *reference,
		     char path[static PATH_MAX], struct err *e);
void local_road_release(struct local_road *r, const struct digest *chain);

/* The image will be asked for soon: begin to mount it in the background. Failures are silent, as who asks
 * then tries again. */
void local_road_mount_ahead(struct local_road *r, const struct digest *chain, const char *reference);

/* Unmount every image that nobody holds and `keep` does not want. Fails at the end, with the first error. */
typedef bool local_road_keep(void *arg, const struct digest *chain);
int local_road_sweep(struct local_road *r, local_road_keep *keep, void *arg, struct err *e);

/* Images mounted and alive now. */
unsigned local_road_count(struct local_road *r);

#endif
