/* SPDX-License-Identifier: Apache-2.0
 * Asking a credential helper, the program docker-credential-NAME (docker-credential-helpers, "get"): the
 * server's name on its stdin, JSON on its stdout. */
#ifndef COCOON_CHUNKSTORE_DOCKER_HELPER_H
#define COCOON_CHUNKSTORE_DOCKER_HELPER_H

#include "chunkstore/docker_config.h"
#include "proto/base/err.h"

#define DOCKER_HELPER_SECONDS 30

/* 0 and a login; DOCKER_NO_LOGIN when the helper has none (it exits with a failure); -EIO, -ENOENT,
 * -ETIMEDOUT. */
int docker_helper_ask(struct docker_login *out, const char *helper, const char *server, struct err *e);

/* The helper's answer. 0 or -EINVAL. */
int docker_helper_decode(struct docker_login *out, const char *json, size_t size, struct err *e);

#endif
