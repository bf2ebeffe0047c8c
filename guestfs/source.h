/* SPDX-License-Identifier: Apache-2.0
 * Where sealed bytes come from: the wire, a registry, an OCI layout, or memory with injected faults. A source
 * moves bytes and promises nothing about them; guestfs/image.h checks every one. Sources stack (a fault
 * injector wraps another source). All calls may come from many threads at once and block until done or until
 * the source's own deadline. */
#ifndef COCOON_GUESTFS_SOURCE_H
#define COCOON_GUESTFS_SOURCE_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/format/chunk_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;

/* Where chunk `number` is said to be, decoded from a table entry that was checked. */
struct chunk_place {
	uint32_t number;
	struct chunk_entry entry;
};

/* How one chunk of source_read_chunks() arrived: `stored` (place->entry.stored_size bytes, borrowed for the
 * call) or `error` < 0 with stored NULL. Called from any thread, once for each place. */
typedef void chunk_arrival(void *arg, size_t i, const uint8_t *stored, int error);

struct source_stats {
	uint64_t reconnects; /* connections made after the first */
	uint64_t timeouts;   /* requests without an answer in time */
};

struct source_ops {
	/* The manifest (at most MAX_MANIFEST_SIZE, appended to `manifest`) and the descriptor of the image
	 * that this source was opened for. */
	int (*open)(struct source *s, struct buf *manifest, uint8_t descriptor[static DESCRIPTOR_SIZE],
		    struct err *e);
	/* n bytes at `offset` of the public part of the index blob. */
	int (*read_index)(struct source *s, void *to, size_t n, uint64_t offset, struct err *e);
	/* Fetch n different chunks (1 … 256), in any order. 0 when every arrival was called (each with its
	 * own error); negative when the request as a whole failed and no arrival was called. `ahead`: nobody
	 * waits yet.
	 */
	int (*read_chunks)(struct source *s, const struct chunk_place *places, size_t n, bool ahead,
			   chunk_arrival *arrival, void *arg, struct err *e);
	/* From now on every call fails, also those under way, within a second or so: nobody needs them. NULL
	 * when calls end by themselves soon enough. */
	void (*stop)(struct source *s);
	void (*stats)(struct source *s, struct source_stats *out); /* NULL: it counts nothing */
	void (*close)(struct source *s);			   /* no call is running */
};

struct source {
	const struct source_ops *ops; /* first member of each source's own struct */
};

#endif
