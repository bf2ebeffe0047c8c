/* SPDX-License-Identifier: Apache-2.0
 * What a credential helper answers: a login is whole or there is none. */
#include "chunkstore/docker_helper.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct docker_login l = {0};
	struct err e;
	int r = docker_helper_decode(&l, (const char *)data, size, &e);

	fuzz_assert(r == 0 || r == -EINVAL);
	if (r == 0)
		fuzz_assert(l.identity_token || (l.user && l.password));
	docker_login_deinit(&l);
	return 0;
}
