/* SPDX-License-Identifier: Apache-2.0
 * Credentials for a registry, from docker's config.json: auths (auth, username and password, identitytoken),
 * credHelpers and credsStore (the program docker-credential-NAME, as docker runs it). The file is read anew
 * for each question, so that a login renewed beside a running daemon counts, and no secret stays in memory.
 * Any thread. */
#ifndef COCOON_CHUNKSTORE_DOCKER_CONFIG_H
#define COCOON_CHUNKSTORE_DOCKER_CONFIG_H

#include "proto/base/err.h"

#include <stddef.h>

#define DOCKER_MAX_CONFIG (1u << 20)
#define DOCKER_MAX_SECRET (64u << 10) /* ECR and GCR passwords are a few KiB */

/* Secrets. Either user and password, or an identity token (an OAuth2 refresh token); unused members are NULL.
 */
struct docker_login {
	char *user, *password, *identity_token; /* owned, wiped */
};

enum docker_answer { DOCKER_NO_LOGIN = 1 };

/* The login for `registry` (host[:port]). `path` is a config.json, or NULL for $DOCKER_CONFIG/config.json and
 * then $HOME/.docker/config.json; only then may the file be missing. 0 and a login to docker_login_deinit();
 * DOCKER_NO_LOGIN; -EINVAL for a broken file, -EIO or -ETIMEDOUT for a broken helper, and errors of reading.
 * The words never hold a secret. */
int docker_login_find(struct docker_login *out, const char *path, const char *registry, struct err *e);
void docker_login_deinit(struct docker_login *l); /* wipes */

/* What config.json itself says about `registry`: 0 and a login; DOCKER_NO_LOGIN, with the name of the helper
 * program to ask in `helper` ("" when there is none). -EINVAL with words. */
#define DOCKER_HELPER_SIZE 128
int docker_config_decode(struct docker_login *out, char helper[static DOCKER_HELPER_SIZE], const char *json,
			 size_t size, const char *registry, struct err *e);

#endif
