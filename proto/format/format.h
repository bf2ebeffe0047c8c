/* SPDX-License-Identifier: Apache-2.0
 * Numbers of the sealed image that more than one structure uses: proto/FORMAT.md, same names. */
#ifndef COCOON_FORMAT_FORMAT_H
#define COCOON_FORMAT_FORMAT_H

#include <stdint.h>

#define BLOCK_SIZE 4096u
#define FORMAT_VERSION 1u
#define SUITE_AES256GCM_SHA256_ZSTD 1u

#define MAX_CHUNK_SIZE (1u << 20)	     /* plaintext of one chunk */
#define MAX_STORED_SIZE ((1u << 20) + 65536) /* header, padding (Padmé adds < 3.2 % at this size) and tag */
#define MIN_STORED_SIZE 33u		     /* header 16, payload 1, tag 16 */
#define MAX_BLOBS 128u /* layers of one image; containerd's overlay limit is the same order */
#define MAX_MANIFEST_SIZE (1u << 20)
#define MAX_CONFIG_SIZE (16u << 20)
#define CHUNK_KEY_SIZE 32u

#define MEDIA_TYPE_LAYER "application/vnd.oci.image.layer.cocoon.v1"
#define MEDIA_TYPE_INDEX "application/vnd.oci.image.layer.cocoon.index.v1"
#define ANNOTATION_DESCRIPTOR "dev.cocoon.descriptor"
#define ANNOTATION_JWE "org.opencontainers.image.enc.keys.jwe"
#define ANNOTATION_PROVIDER "org.opencontainers.image.enc.keys.provider.attestation-agent"

/* Labels of key derivations and the constant AAD, FORMAT.md §7; the terminating NUL is the `00` there. */
#define LABEL_CHUNK_KEY "cocoon/1 chunk key"
#define LABEL_SALT "cocoon/1 salt"
#define LABEL_ROOT_CHUNK "cocoon/1 root chunk"
#define LABEL_COMMITMENT "cocoon/1 commitment"
#define LABEL_CUT "cocoon/1 cut"
#define SALT_DOMAIN "cocoon/1 domain" /* HKDF-Extract salts: no NUL */
#define SALT_META "cocoon/1 meta"
#define SALT_IMAGE "cocoon/1 image"
#define CHUNK_AAD "cocoon/1 chunk" /* no NUL */

#endif
