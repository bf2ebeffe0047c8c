/* SPDX-License-Identifier: Apache-2.0
 * Image policies. */
#include "guestfs/policy.h"
#include "test/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct digest stranger = {{0xf0, 0x0d}};
	struct policy p;
	struct err e;

	if (policy_decode(&p, data, size, &e) < 0)
		return 0;
	fuzz_assert(p.n_images <= POLICY_MAX_IMAGES);
	for (size_t i = 0; i < p.n_images; i++)
		fuzz_assert(policy_ask(&p, &p.images[i], &stranger, &e) == 0 &&
			    policy_ask(&p, &stranger, &p.images[i], &e) == 0);
	policy_deinit(&p);
	return 0;
}
