/* SPDX-License-Identifier: Apache-2.0
 * Running a program that answers one question: the question on its standard input, the answer on its standard
 * output, both possibly secret. Any thread. */
#ifndef COCOON_CHUNKSTORE_HELPER_H
#define COCOON_CHUNKSTORE_HELPER_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#define HELPER_FAILED 1

/* Run argv[0], found in PATH, ask it `question` (less than PIPE_BUF bytes), and append what it answers to
 * `answer` (from buf_init_secret() when it is one). 0; HELPER_FAILED when it exits with a failure;
 * -ETIMEDOUT after `seconds`, when it is killed; -E2BIG when `answer` is too small; -EIO when a signal killed
 * it; the errors of posix_spawn(3). Words begin with its name. */
int helper_run(char *const argv[], struct bytes question, struct buf *answer, unsigned int seconds,
	       struct err *e);

#endif
