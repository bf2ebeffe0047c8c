/* SPDX-License-Identifier: Apache-2.0
 * A file, or the reading end of a pipe into which a thread puts what the registry client gives: the pipe
 * bounds what is under way, and closing it early ends the transfer. */
#include "publisher/blob_stream.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define PIPE_SIZE (1 << 20)

struct blob_stream {
	int fd;
	bool threaded; /* the members below are in use, and the thread was not joined yet */
	pthread_t thread;
	int pipe_end; /* the thread's */
	struct registry_client *client;
	const struct reference *where;
	struct oci_blob blob;
	int result; /* the thread's, read after join */
	struct err err;
};

int blob_stream_file(struct blob_stream **out, int fd, struct err *e)
{
	struct blob_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->fd = fd;
	*out = s;
	return 0;
}

static int to_pipe(void *arg, const void *p, size_t n)
{
	return write_full(*(int *)arg, p, n);
}

static void *transfer(void *arg)
{
	struct blob_stream *s = arg;

	s->result = registry_get_blob(s->client, s->where, &s->blob, to_pipe, &s->pipe_end, &s->err);
	(void)close(s->pipe_end);
	return NULL;
}

int blob_stream_registry(struct blob_stream **out, struct registry_client *client,
			 const struct reference *where, const struct oci_blob *blob, struct err *e)
{
	struct blob_stream *s = calloc(1, sizeof(*s));
	int ends[2], r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	if (pipe2(ends, O_CLOEXEC) < 0) {
		r = -errno;
		free(s);
		return err_errno(e, r, "cannot make a pipe");
	}
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* the default works too */
	s->fd = ends[0];
	s->pipe_end = ends[1];
	s->client = client;
	s->where = where;
	s->blob = *blob;
	r = -pthread_create(&s->thread, NULL, transfer, s);
	if (r < 0) {
		(void)close(ends[0]);
		(void)close(ends[1]);
		free(s);
		return err_errno(e, r, "cannot start a thread");
	}
	s->threaded = true;
	*out = s;
	return 0;
}

/* The pipe has run dry: how did the transfer end? */
static int transfer_result(struct blob_stream *s, struct err *e)
{
	if (s->threaded) {
		(void)pthread_join(s->thread, NULL);
		s->threaded = false;
	}
	return s->result < 0 ? err_set(e, s->result, "%s", s->err.text) : 0;
}

int blob_stream_read(void *stream, void *to, size_t room, size_t *n, struct err *e)
{
	struct blob_stream *s = stream;
	ssize_t got;

	do
		got = read(s->fd, to, room);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(e, -errno, "cannot read a blob");
	*n = (size_t)got;
	return got == 0 ? transfer_result(s, e) : 0;
}

void blob_stream_close(struct blob_stream *s)
{
	if (!s)
		return;
	(void)close(s->fd);
	if (s->threaded)
		(void)pthread_join(s->thread, NULL);
	free(s);
}
