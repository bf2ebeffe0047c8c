/* SPDX-License-Identifier: Apache-2.0
 * How registries are spoken to: what the options --plain-http, --ca and --authfile of every command say. */
#ifndef COCOON_PUBLISHER_REMOTE_H
#define COCOON_PUBLISHER_REMOTE_H

#include <stdbool.h>

struct remote {
	bool plain_http;
	const char *ca_file;   /* borrowed; NULL: the system's */
	const char *auth_file; /* borrowed; NULL: docker's config.json where docker looks */
};

#endif
