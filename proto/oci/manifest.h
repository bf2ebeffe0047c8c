/* SPDX-License-Identifier: Apache-2.0
 * Manifests, image indexes and configs of the OCI image-spec and of Docker (schema 2), read from untrusted
 * JSON: duplicate keys, other schema versions, a document that is both index and manifest, negative or huge
 * sizes, more than the limits below are refused (-EUCLEAN; -ENOTSUP for what is well-formed but not an
 * image). Any thread. */
#ifndef COCOON_OCI_MANIFEST_H
#define COCOON_OCI_MANIFEST_H

#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/format/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OCI_MAX_DOCUMENT (4u << 20) /* distribution-spec: registries take manifests of at least 4 MiB */
#define OCI_MAX_LAYERS 512u
#define OCI_MAX_ENTRIES 512u /* of an index */
#define OCI_MEDIA_TYPE_SIZE 128

#define OCI_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define DOCKER_TYPE_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_TYPE_LIST "application/vnd.docker.distribution.manifest.list.v2+json"

/* A content descriptor. */
struct oci_blob {
	char media_type[OCI_MEDIA_TYPE_SIZE];
	struct digest digest;
	uint64_t size; /* at most 2^53 */
};

struct oci_platform {
	char os[32], architecture[32], variant[32]; /* "" when absent */
};

enum oci_kind { OCI_MANIFEST, OCI_INDEX };

struct oci_entry { /* of an index */
	struct oci_blob blob;
	struct oci_platform platform;
	char ref_name[129]; /* org.opencontainers.image.ref.name (OCI layouts), "" when absent */
};

struct oci_manifest {
	enum oci_kind kind;
	/* OCI_MANIFEST */
	struct oci_blob config;
	uint32_t n_layers;
	struct oci_blob *layers; /* owned */
	/* owned; annotations of the last layer: ANNOTATION_JWE, ANNOTATION_PROVIDER; or NULL */
	char *keys_jwe, *keys_provider;
	bool sealed;		  /* the last layer is a cocoon index: FORMAT.md [M1] holds then */
	bool has_descriptor;	  /* a sealed image's manifest says which descriptor is its own [M4] */
	struct digest descriptor; /* zero without */
	/* OCI_INDEX */
	uint32_t n_entries;
	struct oci_entry *entries; /* owned */
};

/* Decode a manifest or an index. On success oci_manifest_deinit() it. */
int oci_manifest_decode(struct oci_manifest *out, const void *json, size_t size, struct err *e);
void oci_manifest_deinit(struct oci_manifest *m);

/* For a sealed image: blobs_digest as FORMAT.md [D10] defines it cannot be computed here (no hashing in
 * proto/); callers hash the digests of layers[0 … n_layers-2] themselves: crypto/sha256.h. */

/* "os/arch[/variant]" as --platform takes it. 0 or -EINVAL. */
int oci_platform_parse(struct oci_platform *out, const char *text, struct err *e);
/* The platform of this machine. */
void oci_platform_host(struct oci_platform *out);
/* The first entry of an index that fits: os and architecture equal; variant equal, or not asked for. -ENOENT.
 */
int oci_index_choose(const struct oci_entry **out, const struct oci_manifest *index,
		     const struct oci_platform *want, struct err *e);

/* What we need of an image config. */
struct oci_config {
	struct oci_platform platform;
	uint32_t n_diff_ids;
	struct digest *diff_ids; /* owned */
	char *user;		 /* owned; config.User, "" when absent */
};

int oci_config_decode(struct oci_config *out, const void *json, size_t size, struct err *e);
void oci_config_deinit(struct oci_config *c);

#endif
