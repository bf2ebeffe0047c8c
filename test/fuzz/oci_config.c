/* SPDX-License-Identifier: Apache-2.0
 * Image configs. */
#include "proto/oci/manifest.h"
#include "test/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_config c;
	struct err e;

	if (oci_config_decode(&c, data, size, &e) < 0)
		return 0;
	fuzz_assert(c.user && c.n_diff_ids <= OCI_MAX_LAYERS);
	oci_config_deinit(&c);
	return 0;
}
