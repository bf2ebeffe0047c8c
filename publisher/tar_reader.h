/* SPDX-License-Identifier: Apache-2.0
 * A tar as a sequence of entries: ustar and V7 (POSIX.1-2017, pax, "ustar Interchange Format"), PAX records,
 * GNU long names, base-256 numbers, and the four forms of sparse files. The input is untrusted: what
 * contradicts itself, is cut off or over a limit is refused with -EUCLEAN and words; nothing is guessed. As
 * the container tools do, global PAX headers are passed over, links, devices and directories have no data
 * whatever their size field says.
 *
 * Not libarchive: it loses the sign of times between -1 s and 0, and lets a malformed PAX record pass with
 * the same warning as a name outside of the locale. An image must be exactly its tar. */
#ifndef COCOON_PUBLISHER_TAR_READER_H
#define COCOON_PUBLISHER_TAR_READER_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_MAX_EXTENSION (1u << 20) /* bytes of PAX records, or of a long name */
#define TAR_MAX_EXTENTS (1u << 18)   /* of a sparse file */

enum tar_type {
	TAR_FILE = '0',
	TAR_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHR = '3',
	TAR_BLK = '4',
	TAR_DIR = '5',
	TAR_FIFO = '6',
};

/* Where stored bytes of a file belong. In order, not overlapping, none empty. */
struct tar_extent {
	uint64_t offset, size;
};

/* Everything borrowed from the reader until the next call. */
struct tar_entry {
	enum tar_type type;
	const char *path;
	const char *link; /* of TAR_LINK and TAR_SYMLINK */
	uint16_t mode;	  /* the lowest 12 bits */
	uint32_t uid, gid;
	uint32_t major, minor; /* of devices */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size; /* of the file, holes included */
	const struct tar_extent *extents;
	size_t n_extents;
	bool sparse;
	struct bytes pax; /* the PAX records, well-formed: tar_pax_next() */
};

struct tar_reader;

/* Gives up to n bytes, fewer only at the end. */
typedef int tar_pull_fn(void *arg, void *buf, size_t n, size_t *got, struct err *e);

int tar_reader_new(struct tar_reader **out, tar_pull_fn *pull, void *arg);
void tar_reader_free(struct tar_reader *t);

/* The next entry; what is left of the one before is passed over. 0; TAR_END behind the last one, when also
 * the rest of the input was pulled and is nothing but zeroes; or what `pull` returned. */
enum { TAR_END = 1 };
int tar_next(struct tar_reader *t, struct tar_entry *out, struct err *e);

/* The next n stored bytes of the entry, those of all its extents one after another; fewer only behind the
 * last. */
int tar_read(struct tar_reader *t, void *buf, size_t n, size_t *got, struct err *e);

/* The next of an entry's PAX records; false at the end. Keys are not NUL-terminated and may be any bytes but
 * '='. */
struct pax_record {
	const char *key;
	size_t key_size;
	const uint8_t *value;
	size_t value_size;
};
bool tar_pax_next(struct bytes *pax, struct pax_record *out);

#endif
