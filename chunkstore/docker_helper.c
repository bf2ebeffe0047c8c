/* SPDX-License-Identifier: Apache-2.0
 * Runs a credential helper, and reads the JSON that it answers with. */
#include "chunkstore/docker_helper.h"
#include "chunkstore/helper.h"
#include "chunkstore/secret_json.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_ANSWER (2 * DOCKER_MAX_SECRET)

int docker_helper_decode(struct docker_login *out, const char *json, size_t size, struct err *e)
{
	cleanup_secret_json json_t *j = secret_json_load(json, size, NULL);
	struct docker_login l = {0};
	int r = secret_json_copy(&l.user, json_object_get(j, "Username"), DOCKER_MAX_SECRET);

	if (r == 0)
		r = secret_json_copy(&l.password, json_object_get(j, "Secret"), DOCKER_MAX_SECRET);
	if (r < 0) {
		docker_login_deinit(&l);
		return err_set(e, -EINVAL, "answer without Username and Secret");
	}
	if (strcmp(l.user, "<token>") == 0) {
		l.identity_token = take_ptr(l.password);
		free(take_ptr(l.user));
	}
	*out = l;
	return 0;
}

int docker_helper_ask(struct docker_login *out, const char *helper, const char *server, struct err *e)
{
	char program[DOCKER_HELPER_SIZE + 32], get[] = "get";
	char *const argv[] = {program, get, NULL};
	cleanup_buf struct buf answer = {.max = MAX_ANSWER, .secret = true};
	int r;

	(void)snprintf(program, sizeof(program), "docker-credential-%s", helper);
	r = helper_run(argv, bytes_of(server, strlen(server)), &answer, DOCKER_HELPER_SECONDS, e);
	if (r == HELPER_FAILED)
		return DOCKER_NO_LOGIN;
	if (r == 0)
		r = docker_helper_decode(out, (const char *)answer.data, answer.size, e);
	return r == -EINVAL ? err_prefix(e, -EIO, "%s", program) : r;
}
