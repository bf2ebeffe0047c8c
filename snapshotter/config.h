/* SPDX-License-Identifier: Apache-2.0
 * The daemon's configuration: a YAML file, every field optional, unknown fields and wrong types refused with
 * their line. What is not in the file has the default that contrib/cocoon-snapshotter.yaml shows. */
#ifndef COCOON_SNAPSHOTTER_CONFIG_H
#define COCOON_SNAPSHOTTER_CONFIG_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdint.h>

struct config_registry {
	char *ca_file, *docker_config; /* NULL when not given */
	char **plain_http;
	unsigned n_plain_http;
	char **allowed; /* what guests may name; none given: any registry */
	unsigned n_allowed;
};

/* TLS to guests that have a network between them and this host; `address` is NULL: not at all. */
struct config_tls {
	char *address, *certificate, *key; /* address: what address_parse_listen() takes */
	struct digest *guests;		   /* pins of their keys; none: every guest may connect */
	unsigned n_guests;
};

struct config_local {
	char *snapshotter; /* containerd's name for this road */
	char *guestfs, *front;
	char **keys;
	unsigned n_keys;
	uint64_t cache_bytes;
	unsigned timeout_seconds;
};

struct config_kata {
	char *snapshotter;  /* likewise */
	char *plain_images; /* who brings images that are not sealed: "host" or "guest" */
};

#define CONFIG_DEFAULT_ROOT "/var/lib/cocoon"

/* Strings are owned by the struct; those with a default are never NULL. */
struct config {
	char *address, *root;
	char *chunk_socket;    /* never NULL after config_complete() */
	uint32_t vsock_port;   /* 0: no vsock */
	char **hybrid_sockets; /* patterns, see chunkstore/hybrid_sockets.h; owned */
	unsigned n_hybrid_sockets;
	struct config_tls tls;
	uint32_t max_connections; /* 0: the server's own default */
	uint64_t cache_max_bytes;
	struct config_registry registry;
	struct config_local local;
	struct config_kata kata;
	char *metrics; /* HOST:PORT, or NULL */
};

/* The defaults alone, when path is NULL. -EINVAL with the file's name and line. config_deinit() it. */
int config_load(struct config *out, const char *path, struct err *e);
/* Replace a string that came from the file by one of the command line. */
int config_set(char **field, const char *value);
/* Fill in what follows from other fields, once those are final. */
int config_complete(struct config *c);
void config_deinit(struct config *c);

#endif
