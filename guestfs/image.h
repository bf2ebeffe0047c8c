/* SPDX-License-Identifier: Apache-2.0
 * The image reader: address → chunk → verified plaintext. It trusts nothing a source says: every byte it
 * returns was checked along descriptor → hash tree → table entry → id → tag → header → decompression
 * (FORMAT.md §6). Used by both fronts of the guest, and by `cocoon verify` and `cocoon export`: they look at
 * an image with the guest's own eyes. Any thread, after image_open(). What is resident grows with use up to
 * `cache_bytes` and the touched part of the map. */
#ifndef COCOON_GUESTFS_IMAGE_H
#define COCOON_GUESTFS_IMAGE_H

#include "crypto/secret.h"
#include "guestfs/policy.h"
#include "guestfs/source.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/format/descriptor.h"
#include "proto/oci/manifest.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IMAGE_VIEW_PARTS 64u

struct chunk;
struct image;

/* How the image key is found: given, or unwrapped from the manifest's annotation; guestfs/key_spec.h has the
 * finder that programs use. Returns 0 or a negative errno (-ENOKEY when there is none); everything but `arg`
 * and `key` is the image's. A finder with several keys at hand picks the one that image_key_fits(). */
typedef int image_key_finder(void *arg, struct secret *key, const struct oci_manifest *manifest,
			     const struct descriptor *descriptor, const struct digest *descriptor_digest,
			     struct err *e);

/* Compare the key's commitment with the descriptor's [K2]. 0, -ENOKEY for another image's key, -ENOMEM. */
int image_key_fits(const struct secret *key, const struct descriptor *descriptor);

struct image_options {
	size_t cache_bytes;	 /* for chunks, kept or on their way; 0 means 32 MiB */
	unsigned int timeout_ms; /* after it a read asks for nothing more, nor waits for memory; 0: 30 s */
	const struct digest *want_manifest; /* refuse any other (-EBADMSG); NULL: whatever the source opens */
	const struct digest *want_descriptor; /* the same for the identity */
	const struct digest *want_either;     /* the same for the one or the other */
	const struct policy *policy; /* asked before a key is looked for; NULL: every image is allowed */
	image_key_finder *find_key;
	void *find_key_arg;
};

/* Open the image behind `source`: manifest, descriptor, blobs digest, key commitment, root chunk are checked
 * when this returns 0, and nothing was fetched before the descriptor was accepted and the policy allowed it.
 * The image owns `source` from then on; on failure the caller keeps it. -EBADMSG, -EUCLEAN, -ENOKEY,
 * -ENOTSUP, -EACCES for what the policy does not allow, or the source's errors. */
int image_open(struct image **out, struct source *source, const struct image_options *options, struct err *e);
/* Reads fail from now on, also those that wait for the source: before an end that cannot wait for them. */
void image_stop(struct image *i);
void image_close(struct image *i); /* wipes; no call may be running. NULL is fine */

const struct descriptor *image_descriptor(const struct image *i);
const struct digest *image_descriptor_digest(const struct image *i);
const struct digest *image_manifest_digest(const struct image *i);
const struct oci_manifest *image_manifest(const struct image *i);

/* Exactly n bytes of the plaintext image at `offset`, or a negative errno and zeros. -EINVAL past the end. */
int image_pread(struct image *i, void *to, size_t n, uint64_t offset, struct err *e);

/* Plaintext where it lies: `parts` back to back are what was asked for. */
struct image_view {
	struct iovec parts[IMAGE_VIEW_PARTS];
	size_t n_parts;
	struct chunk *chunks[IMAGE_VIEW_PARTS]; /* the reader's own */
};

/* image_pread() without a copy, of at least one byte: the memory is held until image_view_release(), which
 * must come soon, as other reads wait for it. 0; VIEW_TOO_LARGE when this is more than can be held at once,
 * and image_pread() must be asked; or a negative errno. Nothing is held then. */
enum { VIEW_TOO_LARGE = 1 };
int image_view(struct image *i, struct image_view *v, size_t n, uint64_t offset, struct err *e);
void image_view_release(struct image *i, struct image_view *v);

/* Say that [offset, offset + n) will be read soon; returns at once, failures are silent. */
void image_will_need(struct image *i, uint64_t offset, uint64_t n);

/* Before the first read: find the start-up list's chunks, then load them in the background, always by the
 * same requests. From then on reads of them wait for those. Without a list nothing is done. 0; STARTUP_CUT
 * when not all of it fits into the cache: the rest is read on demand like everything else; a negative errno
 * when the list itself cannot be had: reading without it would tell what it is there to hide. */
enum { STARTUP_CUT = 1 };
int image_prefetch_startup(struct image *i, struct err *e);

/* Append the source image's OCI config (JSON bytes) to `to`. */
int image_config(struct image *i, struct buf *to, struct err *e);

/* Check everything: every table block, every chunk's id, tag, header and plaintext, the whole map. Calls
 * `progress(arg, done, total)` in bytes. 0 or the first failure. */
int image_verify(struct image *i, void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		 struct err *e);

struct image_stats {
	uint64_t stored_bytes; /* sealed bytes that came from the source */
	uint64_t plain_bytes;  /* plaintext returned */
	uint64_t chunks;       /* opened */
	uint64_t failures;
	struct source_stats source;
};
void image_stats(const struct image *i, struct image_stats *out);

#endif
