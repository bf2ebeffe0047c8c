/* SPDX-License-Identifier: Apache-2.0
 * URLs by libcurl's own parser, so that what we compare is what is connected to. */
#include "chunkstore/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static CURLU *parse(const char *url)
{
	CURLU *u = strlen(url) < HTTP_MAX_URL ? curl_url() : NULL;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK) {
		curl_url_cleanup(u);
		u = NULL;
	}
	return u;
}

int http_url_origin(const char *url, char to[static HTTP_ORIGIN_SIZE])
{
	CURLU *u = parse(url);
	char *scheme = NULL, *host = NULL, *port = NULL;
	int n = -1;

	if (u && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	    (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0))
		n = snprintf(to, HTTP_ORIGIN_SIZE, "%s://%s:%s", scheme, host, port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	if (n < 0 || n >= HTTP_ORIGIN_SIZE)
		return -EINVAL;
	for (char *c = to; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return 0;
}

static int put_url(CURLU *u, char to[static HTTP_MAX_URL])
{
	char *text = NULL;
	int r = -EINVAL;

	if (curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK && strlen(text) < HTTP_MAX_URL) {
		memcpy(to, text, strlen(text) + 1);
		r = 0;
	}
	curl_free(text);
	return r;
}

int http_url_resolve(const char *base, const char *reference, char to[static HTTP_MAX_URL])
{
	CURLU *u = parse(base);
	int r = -EINVAL;

	if (u && *reference && curl_url_set(u, CURLUPART_URL, reference, 0) == CURLUE_OK)
		r = put_url(u, to);
	curl_url_cleanup(u);
	return r;
}

int http_url_add(char url[static HTTP_MAX_URL], const char *name, const char *value)
{
	CURLU *u = parse(url);
	char pair[HTTP_MAX_URL];
	int n = snprintf(pair, sizeof(pair), "%s=%s", name, value);
	int r = -EINVAL;

	if (u && n > 0 && (size_t)n < sizeof(pair) &&
	    curl_url_set(u, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE) == CURLUE_OK)
		r = put_url(u, url);
	curl_url_cleanup(u);
	return r;
}
