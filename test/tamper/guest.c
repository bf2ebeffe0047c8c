/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"
#include "guestfs/source_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* In front of the C library's: the back-off has its own tests, and millions of broken connections could not
 * wait for it. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	(void)clock;
	(void)flags;
	(void)t;
	(void)left;
	return 0;
}

struct source *guest_source(const char *path)
{
	struct reference reference;
	char address[200];
	struct source *s;
	struct err e = {""};

	(void)snprintf(address, sizeof(address), "unix:%s", path);
	if (reference_parse(&reference, "test.example/image:1", &e) < 0 ||
	    source_wire_new(&s, &(struct source_wire_options){.address = address, .reference = &reference},
			    &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	return s;
}
