/* SPDX-License-Identifier: Apache-2.0
 * A registry in the test's own process: HTTP/1.1 on a loopback port, contents in memory, and a switch for
 * each fault that a real one shows once a year. Requests are counted, so that a test can say how many there
 * were. */
#ifndef COCOON_TEST_FAKE_REGISTRY_H
#define COCOON_TEST_FAKE_REGISTRY_H

#include "crypto/sha256.h"
#include "fake_image.h"
#include "proto/base/digest.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake_blob {
	char name[256]; /* digest text, or "repository:tag" of a manifest */
	uint8_t *data;
	size_t size;
	struct fake_blob *next;
};

struct fake_upload {
	uint8_t *data;
	size_t size;
};

struct fake_registry {
	int listener;
	char host[32]; /* 127.0.0.1:PORT */
	pthread_t thread;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t ended;
	bool stopping;
	int fds[64]; /* of connections that live */
	unsigned n_threads;
	struct fake_blob *blobs, *manifests;
	struct fake_upload uploads[16];
	unsigned n_uploads;

	/* faults: each is 0 when off; counts go down as they are used */
	unsigned fail_next, fail_status; /* that many requests are answered with that status */
	unsigned retry_after;		 /* ... and this header */
	unsigned cut_next, cut_after;	 /* that many bodies end after so many bytes */
	unsigned stall_next;		 /* that many requests are never answered */
	bool no_ranges;			 /* a range is answered with the whole blob */
	bool wrong_range;		 /* ... with the range one byte further */
	bool no_content_range;
	bool corrupt;			       /* every blob's first byte is changed */
	unsigned delay_ms;		       /* before each answer */
	unsigned cut_upload, cut_upload_after; /* that many uploads break after so many bytes */
	unsigned expire_uploads;	       /* that many uploads are unknown when asked for */
	const char *redirect;		       /* blobs are at this host:port */
	const char *basic;		       /* the value of Authorization that is wanted */
	const char *bearer;		       /* the token that is wanted; /token gives it */
	const char *token_basic;	       /* what /token wants */
	bool huge_header;

	/* what was seen */
	unsigned requests, gets, heads, puts, patches, posts, tokens, connections, blob_gets;
	bool leaked; /* an Authorization came where none belongs */
	char last_range[64];
};

struct fake_request {
	char method[8], path[2048];
	char authorization[1024], range[64];
	uint64_t length;
};

static inline struct fake_blob *fake_find(struct fake_blob *list, const char *name)
{
	while (list && strcmp(list->name, name) != 0)
		list = list->next;
	return list;
}

static inline void fake_put(struct fake_blob **list, const char *name, const void *p, size_t n)
{
	struct fake_blob *b = fake_find(*list, name);

	if (!b) {
		b = calloc(1, sizeof(*b));
		b->next = *list;
		*list = b;
	}
	(void)snprintf(b->name, sizeof(b->name), "%s", name);
	free(b->data);
	b->data = malloc(n + 1);
	memcpy(b->data, p, n);
	b->size = n;
}

static inline struct digest fake_add_blob(struct fake_registry *f, const void *p, size_t n)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d;

	cr_assert_eq(sha256(&d, p, n), 0);
	(void)pthread_mutex_lock(&f->lock);
	fake_put(&f->blobs, digest_text(&d, text), p, n);
	(void)pthread_mutex_unlock(&f->lock);
	return d;
}

/* Under its tag and its digest, in any repository. */
static inline struct digest fake_add_manifest(struct fake_registry *f, const char *tag, const void *p,
					      size_t n)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d;

	cr_assert_eq(sha256(&d, p, n), 0);
	(void)pthread_mutex_lock(&f->lock);
	fake_put(&f->manifests, digest_text(&d, text), p, n);
	if (tag)
		fake_put(&f->manifests, tag, p, n);
	(void)pthread_mutex_unlock(&f->lock);
	return d;
}

/* All of an image; its manifest under `tag`. After fake_image_make(). */
static inline void fake_image_add(struct fake_registry *f, struct fake_image *i, const char *tag)
{
	fake_image_documents(i);
	(void)fake_add_blob(f, i->config, strlen(i->config));
	(void)fake_add_blob(f, i->data, i->data_size);
	(void)fake_add_blob(f, i->index, i->index_size);
	(void)fake_add_manifest(f, tag, i->manifest, strlen(i->manifest));
}

static inline bool fake_send(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

__attribute__((format(printf, 5, 6))) static inline bool
fake_answer(int fd, const struct fake_request *q, int status, size_t length, const char *headers, ...)
{
	char text[4096];
	va_list args;
	int n;

	n = snprintf(text, sizeof(text), "HTTP/1.1 %d Because\r\nContent-Length: %zu\r\n", status, length);
	va_start(args, headers);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n, headers, args);
	va_end(args);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
	(void)q;
	return fake_send(fd, text, (size_t)n);
}

/* A line of the head into `line`; the number of its bytes, or -1. */
static inline int fake_line(int fd, char *line, size_t room)
{
	size_t n = 0;

	while (n + 1 < room) {
		if (recv(fd, line + n, 1, 0) != 1)
			return -1;
		if (line[n] == '\n') {
			line[n] = '\0';
			if (n > 0 && line[n - 1] == '\r')
				line[--n] = '\0';
			return (int)n;
		}
		n++;
	}
	return -1;
}

static inline bool fake_read_head(int fd, struct fake_request *q)
{
	char line[4096];
	int n;

	*q = (struct fake_request){.length = 0};
	if (fake_line(fd, line, sizeof(line)) <= 0 || sscanf(line, "%7s %2047s", q->method, q->path) != 2)
		return false;
	while ((n = fake_line(fd, line, sizeof(line))) > 0) {
		(void)sscanf(line, "Range: %63s", q->range);
		(void)sscanf(line, "Authorization: %1023[^\r\n]", q->authorization);
		(void)sscanf(line, "Content-Length: %lu", &q->length);
	}
	return n == 0;
}

/* A file or a part of it, perhaps with a fault. */
static inline bool fake_send_blob(struct fake_registry *f, int fd, const struct fake_request *q,
				  const struct fake_blob *b, bool is_blob)
{
	uint64_t first = 0, last = b->size ? b->size - 1 : 0;
	bool ranged = is_blob && sscanf(q->range, "bytes=%lu-%lu", &first, &last) >= 1,
	     head = q->method[0] == 'H';
	size_t n, cut;
	uint8_t *copy;
	bool ok;

	if (ranged && first >= b->size)
		return fake_answer(fd, q, 416, 0, "Content-Range: bytes */%zu\r\n", b->size);
	if (!ranged || f->no_ranges) {
		ranged = false;
		first = 0;
		last = b->size ? b->size - 1 : 0;
	}
	if (last >= b->size)
		last = b->size ? b->size - 1 : 0;
	n = b->size ? (size_t)(last - first + 1) : 0;
	copy = malloc(n + 1);
	memcpy(copy, b->data + first, n);
	if (f->corrupt && is_blob && n > 0)
		copy[0] ^= 1;
	cut = n;
	if (is_blob && !head && f->cut_next > 0 && f->cut_after < n) {
		f->cut_next--;
		cut = f->cut_after;
	}
	(void)pthread_mutex_unlock(&f->lock);
	if (!ranged)
		ok = fake_answer(fd, q, 200, n, "Content-Type: application/octet-stream\r\n");
	else if (f->no_content_range)
		ok = fake_answer(fd, q, 206, n, "Content-Type: application/octet-stream\r\n");
	else
		ok = fake_answer(fd, q, 206, n, "Content-Range: bytes %lu-%lu/%zu\r\n",
				 first + f->wrong_range, last + f->wrong_range, b->size + f->wrong_range);
	if (ok && !head)
		ok = fake_send(fd, copy, cut) && cut == n;
	free(copy);
	(void)pthread_mutex_lock(&f->lock);
	return ok;
}

static inline void fake_skip(int fd, uint64_t n)
{
	char sink[4096];

	while (n > 0) {
		ssize_t r = recv(fd, sink, n < sizeof(sink) ? n : sizeof(sink), 0);

		if (r <= 0)
			return;
		n -= (uint64_t)r;
	}
}

/* The body of PATCH and PUT behind what the upload has. False: it broke off. */
static inline bool fake_receive(struct fake_registry *f, int fd, struct fake_upload *u, uint64_t length)
{
	uint64_t want = length;
	bool cut = f->cut_upload > 0 && f->cut_upload_after < length;

	if (cut) {
		f->cut_upload--;
		want = f->cut_upload_after;
	}
	u->data = realloc(u->data, u->size + (size_t)want + 1);
	(void)pthread_mutex_unlock(&f->lock);
	for (uint64_t at = 0; at < want;) {
		ssize_t r = recv(fd, u->data + u->size + at, (size_t)(want - at), 0);

		if (r <= 0)
			break;
		at += (uint64_t)r;
	}
	(void)pthread_mutex_lock(&f->lock);
	u->size += (size_t)want;
	return !cut;
}

static inline bool fake_upload(struct fake_registry *f, int fd, const struct fake_request *q)
{
	char digest[DIGEST_TEXT_SIZE] = "", got[DIGEST_TEXT_SIZE];
	const char *at = strstr(q->path, "/uploads/");
	unsigned number = at ? (unsigned)atoi(at + 9) : 0;
	const char *query = strstr(q->path, "digest=");
	struct fake_upload *u = &f->uploads[number % 16];
	struct digest d;

	if (q->method[0] == 'P' && q->method[1] == 'O') {
		const char *mount = strstr(q->path, "mount=");

		if (mount && sscanf(mount, "mount=%71[^&]", digest) == 1 && fake_find(f->blobs, digest))
			return fake_answer(fd, q, 201, 0, "Location: /v2/x\r\n");
		number = f->n_uploads++;
		f->uploads[number % 16].size = 0;
		return fake_answer(fd, q, 202, 0,
				   "Location: /v2/a/b/blobs/uploads/%u?_state=abc\r\nRange: 0-0\r\n", number);
	}
	if (number >= f->n_uploads || (q->method[0] == 'G' && f->expire_uploads > 0)) {
		if (f->expire_uploads > 0)
			f->expire_uploads--;
		return fake_answer(fd, q, 404, 0, "X: y\r\n");
	}
	if (q->method[0] == 'G')
		return fake_answer(
			fd, q, 204, 0,
			"Location: http://%s/v2/a/b/blobs/uploads/%u?_state=def\r\nRange: 0-%zu\r\n", f->host,
			number, u->size ? u->size - 1 : 0);
	if (!fake_receive(f, fd, u, q->length))
		return false;
	if (q->method[1] == 'A')
		return fake_answer(
			fd, q, 202, 0,
			"Location: http://%s/v2/a/b/blobs/uploads/%u?_state=ghi\r\nRange: 0-%zu\r\n", f->host,
			number, u->size - 1);
	if (query)
		(void)snprintf(digest, sizeof(digest), "sha256:%.64s",
			       query + 13 + (query[13] == ':' ? 1 : 3));
	(void)sha256(&d, u->data, u->size);
	if (strcmp(digest_text(&d, got), digest) != 0)
		return fake_answer(fd, q, 400, 0, "X: y\r\n");
	fake_put(&f->blobs, got, u->data, u->size);
	return fake_answer(fd, q, 201, 0, "Location: /v2/x\r\n");
}

static inline bool fake_is_authorised(struct fake_registry *f, const struct fake_request *q)
{
	char want[1100];

	if (f->basic)
		return strcmp(q->authorization, f->basic) == 0;
	if (!f->bearer)
		return true;
	(void)snprintf(want, sizeof(want), "Bearer %s", f->bearer);
	return strcmp(q->authorization, want) == 0;
}

/* One request, under the lock; false ends the connection. */
static inline bool fake_serve(struct fake_registry *f, int fd, const struct fake_request *q)
{
	const char *blob = strstr(q->path, "/blobs/"), *manifest = strstr(q->path, "/manifests/");
	const struct fake_blob *b;

	f->requests++;
	f->gets += q->method[0] == 'G';
	f->heads += q->method[0] == 'H';
	f->posts += q->method[0] == 'P' && q->method[1] == 'O';
	f->puts += q->method[0] == 'P' && q->method[1] == 'U';
	f->patches += q->method[0] == 'P' && q->method[1] == 'A';
	(void)snprintf(f->last_range, sizeof(f->last_range), "%s", q->range);
	if (f->stall_next > 0) {
		f->stall_next--;
		(void)pthread_mutex_unlock(&f->lock);
		fake_skip(fd, UINT64_MAX); /* until the other side gives up */
		(void)pthread_mutex_lock(&f->lock);
		return false;
	}
	if (f->fail_next > 0) {
		f->fail_next--;
		fake_skip(fd, q->length);
		if (f->retry_after)
			return fake_answer(fd, q, (int)f->fail_status, 4, "Retry-After: %u\r\n",
					   f->retry_after) &&
			       fake_send(fd, "oops", q->method[0] == 'H' ? 0 : 4);
		return fake_answer(fd, q, (int)f->fail_status, 4, "X: y\r\n") &&
		       fake_send(fd, "oops", q->method[0] == 'H' ? 0 : 4);
	}
	if (f->huge_header) {
		static char filler[3000];

		memset(filler, 'x', sizeof(filler) - 1);
		(void)fake_send(fd, "HTTP/1.1 200 OK\r\n", 17);
		for (int i = 0; i < 100; i++)
			if (!fake_send(fd, "X: ", 3) || !fake_send(fd, filler, sizeof(filler) - 1) ||
			    !fake_send(fd, "\r\n", 2))
				break;
		return false;
	}
	if (strncmp(q->path, "/token", 6) == 0) {
		char json[512];
		int n = snprintf(json, sizeof(json), "{\"token\":\"%s\",\"expires_in\":300}",
				 f->bearer ? f->bearer : "x");

		f->tokens++;
		fake_skip(fd, q->length);
		if (f->token_basic && strcmp(q->authorization, f->token_basic) != 0)
			return fake_answer(fd, q, 401, 0, "X: y\r\n");
		return fake_answer(fd, q, 200, (size_t)n, "Content-Type: application/json\r\n") &&
		       fake_send(fd, json, (size_t)n);
	}
	if (!f->basic && !f->bearer && q->authorization[0])
		f->leaked = true;
	if (!fake_is_authorised(f, q)) {
		fake_skip(fd, q->length);
		if (f->basic)
			return fake_answer(fd, q, 401, 0, "WWW-Authenticate: Basic realm=\"test\"\r\n");
		return fake_answer(
			fd, q, 401, 0,
			"WWW-Authenticate: Bearer realm=\"http://%s/token\",service=\"fake\",scope=\"x\"\r\n",
			f->host);
	}
	if (strstr(q->path, "/blobs/uploads/"))
		return fake_upload(f, fd, q);
	if (manifest && q->method[0] == 'P') {
		uint8_t *body = malloc(q->length + 1);
		struct digest d;
		char text[DIGEST_TEXT_SIZE];

		if (recv(fd, body, q->length, MSG_WAITALL) != (ssize_t)q->length) {
			free(body);
			return false;
		}
		(void)sha256(&d, body, q->length);
		fake_put(&f->manifests, digest_text(&d, text), body, q->length);
		fake_put(&f->manifests, manifest + 11, body, q->length);
		free(body);
		return fake_answer(fd, q, 201, 0, "Docker-Content-Digest: %s\r\n", text);
	}
	b = blob ? fake_find(f->blobs, blob + 7) : manifest ? fake_find(f->manifests, manifest + 11) : NULL;
	if (!b)
		return fake_answer(fd, q, 404, 0, "X: y\r\n");
	f->blob_gets += blob && q->method[0] == 'G';
	if (blob && f->redirect)
		return fake_answer(fd, q, 307, 0, "Location: http://%s%s\r\n", f->redirect, q->path);
	return fake_send_blob(f, fd, q, b, blob != NULL);
}

struct fake_connection {
	struct fake_registry *f;
	int fd;
	unsigned slot;
};

static inline void *fake_connection_thread(void *arg)
{
	struct fake_connection c = *(struct fake_connection *)arg;
	struct fake_request q;
	bool ok = true;

	free(arg);
	while (ok && fake_read_head(c.fd, &q)) {
		if (c.f->delay_ms)
			(void)usleep(c.f->delay_ms * 1000);
		(void)pthread_mutex_lock(&c.f->lock);
		ok = !c.f->stopping && fake_serve(c.f, c.fd, &q);
		(void)pthread_mutex_unlock(&c.f->lock);
	}
	(void)pthread_mutex_lock(&c.f->lock);
	c.f->fds[c.slot] = -1;
	(void)close(c.fd);
	if (--c.f->n_threads == 0)
		(void)pthread_cond_signal(&c.f->ended);
	(void)pthread_mutex_unlock(&c.f->lock);
	return NULL;
}

static inline void *fake_accept_thread(void *arg)
{
	struct fake_registry *f = arg;
	pthread_attr_t detached;
	pthread_t thread;
	int fd;

	(void)pthread_attr_init(&detached);
	(void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		struct fake_connection *c = malloc(sizeof(*c));
		unsigned slot = 0;

		(void)pthread_mutex_lock(&f->lock);
		while (slot < 63 && f->fds[slot] >= 0)
			slot++;
		f->fds[slot] = fd;
		f->connections++;
		f->n_threads++;
		*c = (struct fake_connection){f, fd, slot};
		(void)pthread_mutex_unlock(&f->lock);
		cr_assert_eq(pthread_create(&thread, &detached, fake_connection_thread, c), 0);
	}
	(void)pthread_attr_destroy(&detached);
	return NULL;
}

static inline void fake_start(struct fake_registry *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);

	*f = (struct fake_registry){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	for (int i = 0; i < 64; i++)
		f->fds[i] = -1;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->ended, NULL);
	cr_assert_eq(bind(f->listener, (struct sockaddr *)&a, size), 0);
	cr_assert_eq(listen(f->listener, 64), 0);
	cr_assert_eq(getsockname(f->listener, (struct sockaddr *)&a, &size), 0);
	(void)snprintf(f->host, sizeof(f->host), "127.0.0.1:%u", ntohs(a.sin_port));
	cr_assert_eq(pthread_create(&f->thread, NULL, fake_accept_thread, f), 0);
}

static inline void fake_free(struct fake_blob *b)
{
	while (b) {
		struct fake_blob *next = b->next;

		free(b->data);
		free(b);
		b = next;
	}
}

static inline void fake_stop(struct fake_registry *f)
{
	(void)shutdown(f->listener, SHUT_RDWR);
	(void)pthread_join(f->thread, NULL);
	(void)close(f->listener);
	(void)pthread_mutex_lock(&f->lock);
	f->stopping = true;
	for (int i = 0; i < 64; i++)
		if (f->fds[i] >= 0)
			(void)shutdown(f->fds[i], SHUT_RDWR);
	while (f->n_threads > 0)
		(void)pthread_cond_wait(&f->ended, &f->lock);
	(void)pthread_mutex_unlock(&f->lock);
	fake_free(f->blobs);
	fake_free(f->manifests);
	for (int i = 0; i < 16; i++)
		free(f->uploads[i].data);
	(void)pthread_mutex_destroy(&f->lock);
	(void)pthread_cond_destroy(&f->ended);
}

/* Change or read a field while the registry runs. */
#define FAKE_SET(f, field, value)                                                                            \
	do {                                                                                                 \
		(void)pthread_mutex_lock(&(f)->lock);                                                        \
		(f)->field = (value);                                                                        \
		(void)pthread_mutex_unlock(&(f)->lock);                                                      \
	} while (0)

static inline unsigned fake_count(struct fake_registry *f, const unsigned *field)
{
	unsigned v;

	(void)pthread_mutex_lock(&f->lock);
	v = *field;
	(void)pthread_mutex_unlock(&f->lock);
	return v;
}

#endif
