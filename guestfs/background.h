/* SPDX-License-Identifier: Apache-2.0
 * Going into the background, so that the command returns when there is something to use and says why when
 * there is not. */
#ifndef COCOON_GUESTFS_BACKGROUND_H
#define COCOON_GUESTFS_BACKGROUND_H

#include "proto/base/err.h"

#define BACKGROUND_LINE_SIZE 96

struct background {
	int fd;	    /* to the waiting first process; -1: none waits */
	int notify; /* to a service manager; -1: none asked */
	char line[BACKGROUND_LINE_SIZE];
};

/* Before threads start. In the first process this does not return: it waits for background_ready() or
 * _failed() in the other and exits as they say, printing the words. The other is killed with the first, until
 * it is ready. */
int background_begin(struct background *b, struct err *e);

/* Connect to the service manager that asked for it (sd_notify(3)), as long as this process may. */
void background_manager(struct background *b);

/* What is to be printed on standard output in the end, whichever that is; "" for nothing. */
void background_say(struct background *b, const char *line);

/* It can be used: let the first process go with exit code 0; tell the service manager, too. When that is not
 * possible, as this process would end with the first one, the error of prctl(2): then it has failed. */
int background_ready(struct background *b);

/* It cannot: have the first process print "cocoon-guestfs: <words>" on standard error and exit with `code`;
 * without one, print it here. */
void background_failed(struct background *b, int code, const char *words);

#endif
