/* SPDX-License-Identifier: Apache-2.0
 * Manifests and indexes: what decodes keeps its promises. */
#include "proto/oci/manifest.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

static void check_sealed(const struct oci_manifest *m)
{
	fuzz_assert(m->n_layers >= 2 && m->n_layers <= MAX_BLOBS);
	for (uint32_t i = 0; i + 1 < m->n_layers; i++)
		fuzz_assert(strcmp(m->layers[i].media_type, MEDIA_TYPE_LAYER) == 0);
	fuzz_assert(strcmp(m->layers[m->n_layers - 1].media_type, MEDIA_TYPE_INDEX) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct oci_entry *entry;
	struct oci_platform host;
	struct oci_manifest m;
	struct err e;

	if (oci_manifest_decode(&m, data, size, &e) < 0)
		return 0;
	oci_platform_host(&host);
	if (m.kind == OCI_INDEX)
		(void)oci_index_choose(&entry, &m, &host, &e);
	else if (m.sealed)
		check_sealed(&m);
	else
		fuzz_assert(m.n_layers > 0);
	oci_manifest_deinit(&m);
	return 0;
}
