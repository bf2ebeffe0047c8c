/* SPDX-License-Identifier: Apache-2.0
 * libcyaml reads the file against a schema into structs of its own; they are moved into the daemon's. It
 * tells what is wrong through its log, innermost place first: the message and the first place with a line are
 * kept. */
#include "snapshotter/config.h"

#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/wire/address.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE (256u << 10)
#define MAX_TEXT 4096
#define MAX_ENTRIES 64
#define MAX_GUESTS 4096
#define DEFAULT_CACHE (20ull << 30)

/* ---- The file ---- */

struct file_tls {
	char *address, *certificate, *key;
	char **guests;
	unsigned n_guests;
};

struct file_chunks {
	char *socket;
	uint32_t vsock_port;
	char **hybrid_sockets;
	unsigned n_hybrid_sockets;
	struct file_tls *tls;
	uint32_t max_connections;
	uint64_t cache_max_bytes;
};

struct file_metrics {
	char *address;
};

struct file {
	char *address, *root;
	struct file_chunks *chunks;
	struct config_registry *registry;
	struct config_local *local;
	struct config_kata *kata;
	struct file_metrics *metrics;
};

#define OPTIONAL_TEXT(key, type, member)                                                                     \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 1, MAX_TEXT)
#define OPTIONAL_GROUP(key, type, member, fields)                                                            \
	CYAML_FIELD_MAPPING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, fields)
#define OPTIONAL_NUMBER(key, type, member) CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)

static const cyaml_schema_value_t text_entry = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, MAX_TEXT)};

static const cyaml_schema_field_t tls_fields[] = {
	OPTIONAL_TEXT("address", struct file_tls, address),
	OPTIONAL_TEXT("certificate", struct file_tls, certificate),
	OPTIONAL_TEXT("key", struct file_tls, key),
	CYAML_FIELD_SEQUENCE_COUNT("guests", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_tls,
				   guests, n_guests, &text_entry, 0, MAX_GUESTS),
	CYAML_FIELD_END};

static const cyaml_schema_field_t chunks_fields[] = {
	OPTIONAL_TEXT("socket", struct file_chunks, socket),
	OPTIONAL_NUMBER("vsock_port", struct file_chunks, vsock_port),
	CYAML_FIELD_SEQUENCE_COUNT("hybrid_sockets", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
				   struct file_chunks, hybrid_sockets, n_hybrid_sockets, &text_entry, 0,
				   MAX_ENTRIES),
	OPTIONAL_GROUP("tls", struct file_chunks, tls, tls_fields),
	OPTIONAL_NUMBER("max_connections", struct file_chunks, max_connections),
	OPTIONAL_NUMBER("cache_max_bytes", struct file_chunks, cache_max_bytes),
	CYAML_FIELD_END};

static const cyaml_schema_field_t registry_fields[] = {
	OPTIONAL_TEXT("ca_file", struct config_registry, ca_file),
	OPTIONAL_TEXT("docker_config", struct config_registry, docker_config),
	CYAML_FIELD_SEQUENCE_COUNT("plain_http", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
				   struct config_registry, plain_http, n_plain_http, &text_entry, 0,
				   MAX_ENTRIES),
	CYAML_FIELD_SEQUENCE_COUNT("allowed", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
				   struct config_registry, allowed, n_allowed, &text_entry, 0, MAX_ENTRIES),
	CYAML_FIELD_END};

static const cyaml_schema_field_t local_fields[] = {
	OPTIONAL_TEXT("snapshotter", struct config_local, snapshotter),
	OPTIONAL_TEXT("guestfs", struct config_local, guestfs),
	OPTIONAL_TEXT("front", struct config_local, front),
	CYAML_FIELD_SEQUENCE_COUNT("keys", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_local,
				   keys, n_keys, &text_entry, 0, MAX_ENTRIES),
	OPTIONAL_NUMBER("cache_bytes", struct config_local, cache_bytes),
	OPTIONAL_NUMBER("timeout_seconds", struct config_local, timeout_seconds),
	CYAML_FIELD_END};

static const cyaml_schema_field_t kata_fields[] = {
	OPTIONAL_TEXT("snapshotter", struct config_kata, snapshotter),
	OPTIONAL_TEXT("plain_images", struct config_kata, plain_images), CYAML_FIELD_END};

static const cyaml_schema_field_t metrics_fields[] = {OPTIONAL_TEXT("address", struct file_metrics, address),
						      CYAML_FIELD_END};

static const cyaml_schema_field_t file_fields[] = {
	OPTIONAL_TEXT("address", struct file, address),
	OPTIONAL_TEXT("root", struct file, root),
	OPTIONAL_GROUP("chunks", struct file, chunks, chunks_fields),
	OPTIONAL_GROUP("registry", struct file, registry, registry_fields),
	OPTIONAL_GROUP("local", struct file, local, local_fields),
	OPTIONAL_GROUP("kata", struct file, kata, kata_fields),
	OPTIONAL_GROUP("metrics", struct file, metrics, metrics_fields),
	CYAML_FIELD_END};

static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields)};

/* ---- What libcyaml says ---- */

struct words {
	char what[256], where[128];
};

__attribute__((format(printf, 3, 0))) static void note_line(cyaml_log_t level, void *ctx, const char *format,
							    va_list args)
{
	struct words *w = ctx;
	char line[256];

	if (level < CYAML_LOG_ERROR || vsnprintf(line, sizeof(line), format, args) < 0)
		return;
	line[strcspn(line, "\n")] = '\0';
	if (strstr(line, "line:") && !w->where[0])
		(void)snprintf(w->where, sizeof(w->where), "%s", line + strspn(line, " "));
	else if (!w->what[0] && !strstr(line, "Backtrace"))
		(void)snprintf(w->what, sizeof(w->what), "%s", line);
}

static cyaml_config_t settings_for(struct words *words)
{
	return (cyaml_config_t){.log_fn = note_line,
				.log_ctx = words,
				.mem_fn = cyaml_mem,
				.log_level = CYAML_LOG_ERROR,
				.flags = CYAML_CFG_NO_ALIAS};
}

static int read_file(struct file **out, const char *path, struct err *e)
{
	struct words words = {"", ""};
	cyaml_config_t settings = settings_for(&words);
	cleanup_buf struct buf text;
	cyaml_data_t *data = NULL;
	cyaml_err_t failure;
	int r;

	buf_init(&text, MAX_FILE);
	r = file_read(AT_FDCWD, path, &text, e);
	if (r < 0)
		return r;
	failure = cyaml_load_data(text.data, text.size, &settings, &file_schema, &data, NULL);
	if (failure != CYAML_OK)
		return err_set(e, -EINVAL, "%s: %s%s%s%s", path,
			       words.what[0] ? words.what : cyaml_strerror(failure),
			       words.where[0] ? " (" : "", words.where, words.where[0] ? ")" : "");
	*out = (struct file *)data;
	return 0;
}

/* cyaml_mem is realloc and free, so what it allocated may change its owner. */
static void take(char **to, char **from)
{
	if (*from) {
		free(*to);
		*to = take_ptr(*from);
	}
}

static void free_list(char **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

/* libcyaml does not tell an empty list from one that is not there. */
static void take_list(char ***to, unsigned *n_to, char ***from, unsigned *n_from)
{
	if (!*from)
		return;
	free_list(*to, *n_to);
	*to = take_ptr(*from);
	*n_to = *n_from;
	*n_from = 0;
}

/* The word "none" stands for an empty list. */
static void take_hybrid_sockets(struct config *c, struct file_chunks *f)
{
	take_list(&c->hybrid_sockets, &c->n_hybrid_sockets, &f->hybrid_sockets, &f->n_hybrid_sockets);
	if (c->n_hybrid_sockets == 1 && strcmp(c->hybrid_sockets[0], "none") == 0)
		free(c->hybrid_sockets[--c->n_hybrid_sockets]);
}

/* Without TLS there is nothing to say of it. Who may connect is always said: whoever may, can have this host
 * ask registries. */
static int take_tls(struct config_tls *c, struct file_tls *f, const char *path, struct err *e)
{
	bool any = f->n_guests == 1 && strcmp(f->guests[0], "any") == 0;
	struct address unused;

	if (!f->address || !f->certificate || !f->key || f->n_guests == 0)
		return err_set(
			e, -EINVAL,
			"%s: chunks.tls needs address, certificate, key and guests, which are the pins of "
			"their keys or [ any ]",
			path);
	if (address_parse_listen(&unused, f->address, e) < 0 || !unused.tls)
		return err_set(e, -EINVAL, "%s: chunks.tls.address %.256s is not tls:ADDRESS:PORT", path,
			       f->address);
	c->guests = calloc(f->n_guests, sizeof(*c->guests));
	if (!c->guests)
		return err_set(e, -ENOMEM, "out of memory");
	for (; !any && c->n_guests < f->n_guests; c->n_guests++)
		if (digest_parse(&c->guests[c->n_guests], f->guests[c->n_guests]) < 0)
			return err_set(e, -EINVAL,
				       "%s: chunks.tls.guests: %.128s is not sha256: and 64 hex digits", path,
				       f->guests[c->n_guests]);
	take(&c->address, &f->address);
	take(&c->certificate, &f->certificate);
	take(&c->key, &f->key);
	return 0;
}

static void take_file(struct config *c, struct file *f)
{
	take(&c->address, &f->address);
	take(&c->root, &f->root);
	if (f->chunks) {
		take(&c->chunk_socket, &f->chunks->socket);
		c->vsock_port = f->chunks->vsock_port;
		take_hybrid_sockets(c, f->chunks);
		c->max_connections = f->chunks->max_connections;
		if (f->chunks->cache_max_bytes)
			c->cache_max_bytes = f->chunks->cache_max_bytes;
	}
	if (f->registry) {
		take(&c->registry.ca_file, &f->registry->ca_file);
		take(&c->registry.docker_config, &f->registry->docker_config);
		take_list(&c->registry.plain_http, &c->registry.n_plain_http, &f->registry->plain_http,
			  &f->registry->n_plain_http);
		take_list(&c->registry.allowed, &c->registry.n_allowed, &f->registry->allowed,
			  &f->registry->n_allowed);
	}
	if (f->local) {
		take(&c->local.snapshotter, &f->local->snapshotter);
		take(&c->local.guestfs, &f->local->guestfs);
		take(&c->local.front, &f->local->front);
		take_list(&c->local.keys, &c->local.n_keys, &f->local->keys, &f->local->n_keys);
		c->local.cache_bytes = f->local->cache_bytes;
		if (f->local->timeout_seconds)
			c->local.timeout_seconds = f->local->timeout_seconds;
	}
	if (f->kata) {
		take(&c->kata.snapshotter, &f->kata->snapshotter);
		take(&c->kata.plain_images, &f->kata->plain_images);
	}
	if (f->metrics)
		take(&c->metrics, &f->metrics->address);
}

/* ---- The configuration ---- */

int config_set(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* Where Kata Containers has the sockets of Cloud Hypervisor, Firecracker and Dragonball: its Go runtime below
 * /run/vc, its Rust runtime below /run/kata. */
static const char *const kata_sockets[] = {
	"/run/vc/vm/*/clh.sock",
	"/run/vc/firecracker/*/root/kata.hvsock",
	"/run/kata/*/root/ch-vm.sock",
	"/run/kata/*/root/kata.hvsock",
};
#define N_KATA_SOCKETS (sizeof(kata_sockets) / sizeof(kata_sockets[0]))

static int set_hybrid_sockets(struct config *c)
{
	c->hybrid_sockets = calloc(N_KATA_SOCKETS, sizeof(*c->hybrid_sockets));
	if (!c->hybrid_sockets)
		return -ENOMEM;
	for (; c->n_hybrid_sockets < N_KATA_SOCKETS; c->n_hybrid_sockets++)
		if (config_set(&c->hybrid_sockets[c->n_hybrid_sockets], kata_sockets[c->n_hybrid_sockets]) <
		    0)
			return -ENOMEM;
	return 0;
}

static int set_defaults(struct config *c)
{
	int r = config_set(&c->address, "/run/cocoon/snapshotter.sock");

	if (r == 0)
		r = config_set(&c->root, CONFIG_DEFAULT_ROOT);
	if (r == 0)
		r = config_set(&c->local.snapshotter, "cocoon");
	if (r == 0)
		r = config_set(&c->kata.snapshotter, "cocoon-kata");
	if (r == 0)
		r = config_set(&c->kata.plain_images, "host");
	if (r == 0)
		r = config_set(&c->local.guestfs, "cocoon-guestfs");
	if (r == 0)
		r = config_set(&c->local.front, "auto");
	if (r == 0)
		r = set_hybrid_sockets(c);
	c->cache_max_bytes = DEFAULT_CACHE;
	c->local.timeout_seconds = 60;
	return r;
}

static int check(const struct config *c, const char *path, struct err *e)
{
	static const char *const fronts[] = {"auto", "block", "loop", "tree"};
	bool known = false;

	if (*c->root != '/')
		return err_set(e, -EINVAL, "%s: root %.256s is not an absolute path", path, c->root);
	if (c->chunk_socket && *c->chunk_socket != '/')
		return err_set(e, -EINVAL, "%s: chunks.socket %.256s is not an absolute path", path,
			       c->chunk_socket);
	for (unsigned i = 0; i < c->n_hybrid_sockets; i++)
		if (c->hybrid_sockets[i][0] != '/')
			return err_set(e, -EINVAL, "%s: chunks.hybrid_sockets %.256s is not an absolute path",
				       path, c->hybrid_sockets[i]);
	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++)
		known = known || strcmp(c->local.front, fronts[i]) == 0;
	if (!known)
		return err_set(e, -EINVAL, "%s: local.front is auto, block, loop or tree, not %.64s", path,
			       c->local.front);
	if (strcmp(c->kata.plain_images, "host") != 0 && strcmp(c->kata.plain_images, "guest") != 0)
		return err_set(e, -EINVAL, "%s: kata.plain_images is host or guest, not %.64s", path,
			       c->kata.plain_images);
	if (strcmp(c->local.snapshotter, c->kata.snapshotter) == 0)
		return err_set(e, -EINVAL, "%s: local.snapshotter and kata.snapshotter are the same: %.64s",
			       path, c->local.snapshotter);
	if (c->local.timeout_seconds > 3600)
		return err_set(e, -EINVAL, "%s: local.timeout_seconds is at most 3600", path);
	return 0;
}

int config_load(struct config *out, const char *path, struct err *e)
{
	struct config c = {0};
	struct file *f = NULL;
	int r = set_defaults(&c);

	if (r == 0 && path)
		r = read_file(&f, path, e);
	if (f) {
		struct words words = {"", ""};
		cyaml_config_t settings = settings_for(&words);

		take_file(&c, f);
		if (f->chunks && f->chunks->tls)
			r = take_tls(&c.tls, f->chunks->tls, path, e);
		(void)cyaml_free(&settings, &file_schema, (cyaml_data_t *)f, 0);
		if (r == 0)
			r = check(&c, path, e);
	}
	if (r < 0) {
		config_deinit(&c);
		return r;
	}
	*out = c;
	return 0;
}

int config_complete(struct config *c)
{
	if (c->chunk_socket)
		return 0;
	/* The place that guests know, or one for each root: several daemons on a host do not meet. */
	if (strcmp(c->root, CONFIG_DEFAULT_ROOT) == 0)
		return config_set(&c->chunk_socket, "/run/cocoon/chunks.sock");
	if (asprintf(&c->chunk_socket, "%s/chunks.sock", c->root) < 0) {
		c->chunk_socket = NULL;
		return -ENOMEM;
	}
	return 0;
}

void config_deinit(struct config *c)
{
	free(c->address);
	free(c->root);
	free(c->chunk_socket);
	free(c->registry.ca_file);
	free(c->registry.docker_config);
	free_list(c->hybrid_sockets, c->n_hybrid_sockets);
	free(c->tls.address);
	free(c->tls.certificate);
	free(c->tls.key);
	free(c->tls.guests);
	free_list(c->registry.plain_http, c->registry.n_plain_http);
	free_list(c->registry.allowed, c->registry.n_allowed);
	free(c->local.snapshotter);
	free(c->kata.snapshotter);
	free(c->kata.plain_images);
	free(c->local.guestfs);
	free(c->local.front);
	free_list(c->local.keys, c->local.n_keys);
	free(c->metrics);
	*c = (struct config){0};
}
