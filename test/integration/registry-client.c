/* SPDX-License-Identifier: Apache-2.0
 * The registry client by hand, for registry.sh:
 *
 *   registry-client [--ca FILE] [--config FILE] [--plain HOST]… COMMAND …
 *     resolve REF                     digest and size of the manifest
 *     manifest REF                    its bytes
 *     has REF DIGEST                  size of a blob
 *     range REF DIGEST OFFSET SIZE    bytes of a blob
 *     blob REF DIGEST SIZE            a whole blob, checked
 *     push REF FILE [FROM]            a blob; prints its digest and uploaded, present or mounted
 *     put REF MEDIATYPE FILE          a manifest
 *
 * Exit code 0, or 1 with words on stderr. */
#include "chunkstore/registry.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int to_stdout(void *arg, const void *p, size_t n)
{
	(void)arg;
	return write_full(STDOUT_FILENO, p, n);
}

static int parse_digest(struct digest *out, const char *text, struct err *e)
{
	return digest_parse(out, text) < 0 ? err_set(e, -EINVAL, "%s: not a digest", text) : 0;
}

static int manifest(struct registry_client *c, const struct reference *ref, bool print, struct err *e)
{
	cleanup_buf struct buf bytes;
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;
	int r;

	buf_init(&bytes, OCI_MAX_DOCUMENT);
	r = registry_get_manifest(c, ref, &bytes, &digest, e);
	if (r == 0 && print)
		return write_full(STDOUT_FILENO, bytes.data, bytes.size);
	if (r == 0)
		printf("%s %zu\n", digest_text(&digest, text), bytes.size);
	return r;
}

static int hash_file(int fd, struct digest *out, uint64_t *size)
{
	static uint8_t piece[1 << 16];
	struct sha256 hash;
	uint64_t at = 0;
	ssize_t n;

	if (sha256_init(&hash) < 0)
		return -ENOMEM;
	while ((n = pread(fd, piece, sizeof(piece), (off_t)at)) > 0) {
		(void)sha256_update(&hash, piece, (size_t)n);
		at += (uint64_t)n;
	}
	*size = at;
	return n < 0 ? -errno : sha256_final(&hash, out);
}

static int push(struct registry_client *c, const struct reference *ref, const char *path, const char *from,
		struct err *e)
{
	static const char *const answers[] = {"uploaded", "present", "mounted"};
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[DIGEST_TEXT_SIZE];
	struct registry_body body;
	struct digest digest;
	uint64_t size;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	r = hash_file(fd, &digest, &size);
	if (r < 0)
		return err_errno(e, r, "%s", path);
	body = registry_body_file(&fd, size);
	r = registry_push_blob(c, ref, &digest, &body, from, e);
	if (r < 0)
		return r;
	printf("%s %s\n", digest_text(&digest, text), answers[r]);
	return 0;
}

static int put(struct registry_client *c, const struct reference *ref, const char *type, const char *path,
	       struct err *e)
{
	cleanup_buf struct buf bytes;
	int r;

	buf_init(&bytes, OCI_MAX_DOCUMENT);
	r = file_read(AT_FDCWD, path, &bytes, e);
	return r < 0 ? r : registry_put_manifest(c, ref, type, bytes.data, bytes.size, e);
}

static int blob_command(struct registry_client *c, const struct reference *ref, int n, char **v,
			struct err *e)
{
	struct oci_blob blob = {0};
	uint64_t size;
	int r = parse_digest(&blob.digest, v[2], e);

	if (r < 0)
		return r;
	if (strcmp(v[0], "range") == 0 && n == 5)
		return registry_get_range(c, ref, &blob.digest, strtoull(v[3], NULL, 10),
					  strtoull(v[4], NULL, 10), to_stdout, NULL, e);
	if (strcmp(v[0], "blob") == 0 && n == 4) {
		blob.size = strtoull(v[3], NULL, 10);
		return registry_get_blob(c, ref, &blob, to_stdout, NULL, e);
	}
	if (strcmp(v[0], "has") != 0 || n != 3)
		return err_set(e, -EINVAL, "no such command");
	r = registry_has_blob(c, ref, &blob.digest, &size, e);
	if (r == 0)
		printf("%" PRIu64 "\n", size);
	return r;
}

static int run(struct registry_client *c, int n, char **v, struct err *e)
{
	struct reference ref;
	int r = n < 2 ? err_set(e, -EINVAL, "no command") : reference_parse(&ref, v[1], e);

	if (r < 0)
		return r;
	if (n == 2 && (strcmp(v[0], "resolve") == 0 || strcmp(v[0], "manifest") == 0))
		return manifest(c, &ref, v[0][0] == 'm', e);
	if (strcmp(v[0], "push") == 0 && n <= 4 && n >= 3)
		return push(c, &ref, v[2], n == 4 ? v[3] : NULL, e);
	if (strcmp(v[0], "put") == 0 && n == 4)
		return put(c, &ref, v[2], v[3], e);
	return n < 3 ? err_set(e, -EINVAL, "no such command") : blob_command(c, &ref, n, v, e);
}

int main(int n, char **v)
{
	static const struct option names[] = {{"ca", required_argument, NULL, 'a'},
					      {"config", required_argument, NULL, 'c'},
					      {"plain", required_argument, NULL, 'p'},
					      {"patience", required_argument, NULL, 't'},
					      {0}};
	struct registry_options options = {0};
	struct registry_client *c = NULL;
	const char *plain[8];
	struct err e = {""};
	int option, r;

	while ((option = getopt_long(n, v, "+", names, NULL)) != -1) {
		if (option == 'a')
			options.ca_file = optarg;
		else if (option == 'c')
			options.docker_config = optarg;
		else if (option == 't')
			options.patience_ms = (unsigned)atoi(optarg);
		else if (option == 'p' && options.n_plain_http < 8)
			plain[options.n_plain_http++] = optarg;
		else
			return 2;
	}
	options.plain_http = plain;
	r = registry_client_open(&c, &options, &e);
	if (r == 0)
		r = run(c, n - optind, v + optind, &e);
	registry_client_close(c);
	if (r < 0)
		(void)fprintf(stderr, "registry-client: %s (%d)\n", e.text, -r);
	return r < 0;
}
