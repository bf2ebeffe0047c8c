/* SPDX-License-Identifier: Apache-2.0
 * libcurl's easy interface, one handle for each exchange that runs; a handle keeps its connection for the
 * next one to the same host, because on a cold start round trips are what costs. Redirects are not followed
 * here: who decides about credentials follows them. */
#include "chunkstore/http.h"
#include "proto/base/cleanup.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_IDLE 32
#define MAX_HEADERS (128u << 10) /* of one answer */

struct connection {
	CURL *easy;
	char origin[HTTP_ORIGIN_SIZE]; /* of its last exchange */
	struct connection *next;
};

struct http_pool {
	char *ca_file, *user_agent;
	long connect_timeout_ms, stall_timeout_s;
	atomic_bool stopped;	 /* set once; read by progress() of each exchange */
	pthread_mutex_t lock;	 /* guards what follows */
	struct connection *idle; /* used last first */
	unsigned n_idle;
};

/* One exchange while it runs. */
struct running {
	struct http_pool *pool;
	struct http_exchange *x;
	CURL *easy;
	size_t header_bytes;
	uint64_t sent; /* of the body */
	bool begun;
	int error; /* of begin, sink, body, or a bound */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_init;

static void init_curl(void)
{
	global_init = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_pool_open(struct http_pool **out, const struct registry_options *o, struct err *e)
{
	struct http_pool *p;

	(void)pthread_once(&once, init_curl);
	if (global_init != CURLE_OK)
		return err_set(e, -EIO, "libcurl does not start: %s", curl_easy_strerror(global_init));
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&p->lock, NULL);
	p->connect_timeout_ms = o->connect_timeout_ms ? (long)o->connect_timeout_ms : 10000;
	p->stall_timeout_s = (o->stall_timeout_ms ? (long)o->stall_timeout_ms : 15000) / 1000;
	if (p->stall_timeout_s == 0)
		p->stall_timeout_s = 1;
	p->user_agent = strdup(o->user_agent ? o->user_agent : "cocoon/" COCOON_VERSION);
	p->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	if (!p->user_agent || (o->ca_file && !p->ca_file)) {
		http_pool_close(p);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*out = p;
	return 0;
}

void http_pool_stop(struct http_pool *p)
{
	atomic_store(&p->stopped, true);
}

bool http_pool_stopped(struct http_pool *p)
{
	return atomic_load(&p->stopped);
}

static void connection_free(struct connection *c)
{
	curl_easy_cleanup(c->easy);
	free(c);
}

void http_pool_close(struct http_pool *p)
{
	if (!p)
		return;
	while (p->idle) {
		struct connection *c = p->idle;

		p->idle = c->next;
		connection_free(c);
	}
	(void)pthread_mutex_destroy(&p->lock);
	free(p->ca_file);
	free(p->user_agent);
	free(p);
}

/* An idle connection to `origin`, else a fresh one. NULL: no memory. */
static struct connection *connection_take(struct http_pool *p, const char *origin)
{
	struct connection **at, *c = NULL;

	(void)pthread_mutex_lock(&p->lock);
	for (at = &p->idle; *at && strcmp((*at)->origin, origin) != 0; at = &(*at)->next)
		;
	if (*at) {
		c = *at;
		*at = c->next;
		p->n_idle--;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->easy = curl_easy_init();
	if (!c->easy) {
		free(c);
		return NULL;
	}
	(void)snprintf(c->origin, sizeof(c->origin), "%s", origin);
	return c;
}

static void connection_give_back(struct http_pool *p, struct connection *c)
{
	struct connection **at, *drop = NULL;

	curl_easy_reset(c->easy); /* forgets the question, keeps the connection */
	(void)pthread_mutex_lock(&p->lock);
	c->next = p->idle;
	p->idle = c;
	if (++p->n_idle > MAX_IDLE) {
		for (at = &p->idle; (*at)->next; at = &(*at)->next)
			;
		drop = *at;
		*at = NULL;
		p->n_idle--;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (drop)
		connection_free(drop);
}

static void take_location(struct http_exchange *x, const char *value, size_t n)
{
	char text[HTTP_MAX_URL];

	if (n >= sizeof(text))
		return;
	memcpy(text, value, n);
	text[n] = '\0';
	if (http_url_resolve(x->url, text, x->answer.location) < 0)
		x->answer.location[0] = '\0';
}

static void take_challenge(struct http_answer *a, const char *value, size_t n)
{
	struct http_challenge c;

	/* of several headers the best one */
	if (http_challenge_decode(&c, value, n) == 0 && c.scheme > a->challenge.scheme)
		a->challenge = c;
}

static bool header_is(const char *line, size_t n, const char *name, const char **value, size_t *size)
{
	size_t k = strlen(name);

	if (n <= k || strncasecmp(line, name, k) != 0 || line[k] != ':')
		return false;
	line += k + 1;
	n -= k + 1;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n > 0 && strchr("\r\n \t", line[n - 1]))
		n--;
	*value = line;
	*size = n;
	return true;
}

/* Headers that break their own grammar count as not sent. */
static size_t take_header(char *line, size_t one, size_t n, void *arg)
{
	struct running *run = arg;
	struct http_answer *a = &run->x->answer;
	const char *v;
	size_t size;

	(void)one;
	run->header_bytes += n;
	if (run->header_bytes > MAX_HEADERS) {
		run->error = -E2BIG;
		return 0;
	}
	if (n > 5 && memcmp(line, "HTTP/", 5) == 0)
		*a = (struct http_answer){0}; /* an interim answer was before */
	else if (header_is(line, n, "Content-Length", &v, &size))
		a->has_length = http_number_decode(&a->length, v, size) == 0;
	else if (header_is(line, n, "Content-Range", &v, &size))
		a->has_range = http_content_range_decode(&a->range, v, size) == 0;
	else if (header_is(line, n, "Range", &v, &size))
		a->has_received = http_upload_range_decode(&a->received, v, size) == 0;
	else if (header_is(line, n, "Retry-After", &v, &size))
		(void)http_number_decode(&a->retry_after_s, v, size);
	else if (header_is(line, n, "WWW-Authenticate", &v, &size))
		take_challenge(a, v, size);
	else if (header_is(line, n, "Location", &v, &size))
		take_location(run->x, v, size);
	return n;
}

static void take_words(struct http_answer *a, const char *p, size_t n)
{
	size_t at = strlen(a->words);

	for (; n > 0 && at < HTTP_MAX_WORDS; n--, p++)
		a->words[at++] = (*p < 0x20 || *p > 0x7e) ? ' ' : *p;
	a->words[at] = '\0';
}

static int begin(struct running *run)
{
	struct http_exchange *x = run->x;

	if (run->begun)
		return 0;
	run->begun = true;
	(void)curl_easy_getinfo(run->easy, CURLINFO_RESPONSE_CODE, &x->answer.status);
	if (x->answer.status / 100 != 2 || !x->begin)
		return 0;
	return x->begin(x->arg, &x->answer);
}

static size_t take_body(char *p, size_t one, size_t n, void *arg)
{
	struct running *run = arg;
	struct http_exchange *x = run->x;

	(void)one;
	run->error = begin(run);
	if (run->error < 0)
		return 0;
	if (x->answer.status / 100 != 2) {
		/* enough to tell a person; a failure has no right to a long body */
		take_words(&x->answer, p, n);
		run->header_bytes += n;
		return run->header_bytes > MAX_HEADERS ? 0 : n;
	}
	if (x->sink)
		run->error = x->sink(x->arg, p, n);
	return run->error < 0 ? 0 : n;
}

static size_t give_body(char *to, size_t one, size_t room, void *arg)
{
	struct running *run = arg;
	struct http_exchange *x = run->x;
	uint64_t left = x->body_size - run->sent;
	size_t n = one * room < left ? one * room : (size_t)left;

	if (n == 0)
		return 0;
	run->error = x->body->read(x->body->arg, to, n, x->body_from + run->sent);
	if (run->error < 0)
		return CURL_READFUNC_ABORT;
	run->sent += n;
	return n;
}

static int progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct running *run = arg;

	(void)a, (void)b, (void)c, (void)d;
	return atomic_load(&run->pool->stopped);
}

/* Append "name: value" to the list; false: no memory. */
static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
	size_t n = strlen(name) + strlen(value) + 3;
	struct curl_slist *more;
	char *line;

	line = malloc(n);
	if (!line)
		return false;
	(void)snprintf(line, n, "%s: %s", name, value);
	more = curl_slist_append(*list, line);
	explicit_bzero(line, n);
	free(line);
	if (!more)
		return false;
	*list = more;
	return true;
}

static void free_headers(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

/* Options can only fail for lack of memory or an unknown option; both make `ok` false. */
#define SET(option, value) (ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_question(CURL *easy, struct http_exchange *x, struct curl_slist **headers)
{
	bool ok = true;

	if (x->authorization)
		ok = ok && add_header(headers, "Authorization", x->authorization);
	if (x->accept)
		ok = ok && add_header(headers, "Accept", x->accept);
	if (x->content_type)
		ok = ok && add_header(headers, "Content-Type", x->content_type);
	if (x->range)
		ok = ok && add_header(headers, "Range", x->range);
	if (x->content_range)
		ok = ok && add_header(headers, "Content-Range", x->content_range);
	/* waiting for "100 Continue" costs a second where a registry does not send it */
	ok = ok && add_header(headers, "Expect", "");
	SET(CURLOPT_URL, x->url);
	if (x->body) {
		/* There is no seek function: on a connection that broke curl would send the body a second
		 * time, and a registry would have its beginning twice. */
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body_size);
	} else if (strcmp(x->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (strcmp(x->method, "GET") != 0) {
		SET(CURLOPT_POSTFIELDS, "");
		SET(CURLOPT_POSTFIELDSIZE, 0L);
	}
	SET(CURLOPT_CUSTOMREQUEST, x->method);
	SET(CURLOPT_HTTPHEADER, *headers);
	return ok;
}

static bool set_rules(CURL *easy, const struct http_pool *p, const struct http_exchange *x)
{
	bool ok = true;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_USERAGENT, p->user_agent);
	SET(CURLOPT_CONNECTTIMEOUT_MS, p->connect_timeout_ms);
	SET(CURLOPT_LOW_SPEED_LIMIT, 1024L);
	SET(CURLOPT_LOW_SPEED_TIME, p->stall_timeout_s);
	SET(CURLOPT_BUFFERSIZE, 256L << 10);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (p->ca_file)
		SET(CURLOPT_CAINFO, p->ca_file);
	if (x->direct)
		SET(CURLOPT_NOPROXY, "*");
	return ok;
}

static bool set_callbacks(CURL *easy, struct running *run)
{
	bool ok = true;

	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, run);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, run);
	SET(CURLOPT_READFUNCTION, give_body);
	SET(CURLOPT_READDATA, run);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, progress);
	SET(CURLOPT_XFERINFODATA, run);
	return ok;
}

static int outcome(struct running *run, CURLcode code, const char *words, const char *origin, struct err *e)
{
	struct http_exchange *x = run->x;

	if (run->error == -E2BIG && !run->begun)
		return err_set(e, -E2BIG, "%s: headers of more than %u bytes", origin, MAX_HEADERS);
	if (run->error < 0)
		return err_errno(e, run->error, "%s", origin);
	if (http_pool_stopped(run->pool))
		return err_set(e, -ECANCELED, "%s: stopped", origin);
	x->tls_refused = code == CURLE_SSL_CONNECT_ERROR;
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
		return err_set(e, -EACCES, "%s: %s", origin, *words ? words : curl_easy_strerror(code));
	/* a failure whose body is too long, or shorter than announced (docker-registry's 416), is still that
	 * failure */
	if (code != CURLE_OK && x->answer.status < 300)
		return err_set(e, -EAGAIN, "%s: %s", origin, *words ? words : curl_easy_strerror(code));
	run->error = begin(run);
	return run->error < 0 ? err_errno(e, run->error, "%s", origin) : 0;
}

int http_exchange(struct http_pool *p, struct http_exchange *x, struct err *e)
{
	struct running run = {.pool = p, .x = x};
	char words[CURL_ERROR_SIZE] = "", origin[HTTP_ORIGIN_SIZE];
	struct curl_slist *headers = NULL;
	struct connection *c;
	int r;

	x->answer = (struct http_answer){0};
	x->tls_refused = false;
	if (http_url_origin(x->url, origin) < 0)
		return err_set(e, -EINVAL, "not a URL that we follow");
	c = connection_take(p, origin);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	run.easy = c->easy;
	if (set_rules(c->easy, p, x) && set_question(c->easy, x, &headers) && set_callbacks(c->easy, &run) &&
	    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, words) == CURLE_OK)
		r = outcome(&run, curl_easy_perform(c->easy), words, origin, e);
	else
		r = err_set(e, -ENOMEM, "%s: libcurl refuses the request", origin);
	free_headers(headers);
	connection_give_back(p, c);
	return r;
}
