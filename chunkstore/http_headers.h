/* SPDX-License-Identifier: Apache-2.0
 * Headers of a registry's answers, read strictly from untrusted text (RFC 9110). Pure; any thread. */
#ifndef COCOON_CHUNKSTORE_HTTP_HEADERS_H
#define COCOON_CHUNKSTORE_HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_scheme { HTTP_AUTH_NONE, HTTP_AUTH_BASIC, HTTP_AUTH_BEARER };

/* The challenge of a WWW-Authenticate header that we can answer. */
struct http_challenge {
	enum http_scheme scheme;
	char realm[1024], service[256]; /* of Bearer; printable ASCII */
};

/* The value of one header, which may hold several challenges; Bearer is preferred to Basic. 0; -EINVAL when
 * the text breaks the grammar or a limit, -ENOTSUP when it offers neither (or Bearer without a realm). */
int http_challenge_decode(struct http_challenge *out, const char *text, size_t n);

struct http_range {
	uint64_t first, last; /* both are in it */
	bool has_total;
	uint64_t total;
};

/* Content-Range of a 206, "bytes FIRST-LAST/TOTAL" (TOTAL may be an asterisk), FIRST ≤ LAST < TOTAL. 0 or
 * -EINVAL. */
int http_content_range_decode(struct http_range *out, const char *text, size_t n);

/* Range of an upload's status (distribution-spec: "0-LAST", also with "bytes="): how many bytes the registry
 * has in *received. "0-0" means nothing, because registries write it for an empty upload too. 0 or -EINVAL.
 */
int http_upload_range_decode(uint64_t *received, const char *text, size_t n);

/* Decimal digits and nothing else. 0 or -EINVAL. */
int http_number_decode(uint64_t *out, const char *text, size_t n);

#endif
