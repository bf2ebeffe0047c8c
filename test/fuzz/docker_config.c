/* SPDX-License-Identifier: Apache-2.0
 * docker's config.json: whatever is in it, a login is whole or there is none, and a helper's name is no path.
 */
#include "chunkstore/docker_config.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *const registries[] = {"r.io", "docker.io"};

	for (size_t i = 0; i < 2; i++) {
		char helper[DOCKER_HELPER_SIZE];
		struct docker_login l = {0};
		struct err e;
		int r = docker_config_decode(&l, helper, (const char *)data, size, registries[i], &e);

		fuzz_assert(r == 0 || r == DOCKER_NO_LOGIN || r == -EINVAL);
		if (r == 0)
			fuzz_assert(l.identity_token || (l.user && l.password));
		if (r == DOCKER_NO_LOGIN)
			fuzz_assert(strlen(helper) < sizeof(helper) && !strchr(helper, '/'));
		docker_login_deinit(&l);
	}
	return 0;
}
