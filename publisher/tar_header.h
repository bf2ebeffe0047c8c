/* SPDX-License-Identifier: Apache-2.0
 * The headers of a tar entry, decoded: the block of 512 bytes and the PAX records. For tar_reader.c alone. */
#ifndef COCOON_PUBLISHER_TAR_HEADER_H
#define COCOON_PUBLISHER_TAR_HEADER_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "publisher/tar_reader.h"

#include <stdbool.h>
#include <stdint.h>

#define TAR_BLOCK 512u

struct tar_header {
	uint8_t type;	/* the typeflag as it stands there */
	char path[257]; /* prefix and name */
	char link[101];
	uint16_t mode;
	uint32_t uid, gid, major, minor;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size; /* stored */
};

/* A number field: octal text or base 256. -EUCLEAN. */
int tar_number(const uint8_t *field, size_t n, int64_t *out);

int tar_header_decode(struct tar_header *out, const uint8_t block[static TAR_BLOCK], struct err *e);

/* The sparse file that PAX records describe. */
struct tar_pax_sparse {
	bool major_0, major_1, minor_0, minor_1; /* "GNU.sparse.major" is "0", … */
	bool other_version;
	bool has_name;
	bool has_size;
	uint64_t size;	/* of the file */
	struct buf map; /* formats 0.0 and 0.1: "offset,size,…" */
};

/* Let the records change `h`, and fill `sparse` and, NUL-terminated, `path` and `link` when they tell them.
 * -EUCLEAN for a malformed record. */
int tar_pax_apply(struct bytes pax, struct tar_header *h, struct buf *path, struct buf *link,
		  struct tar_pax_sparse *sparse, struct err *e);

#endif
