/* SPDX-License-Identifier: Apache-2.0
 * Calls to a service that answers as it is told: whole, in pieces, wrong, late or not at all. */
#include "proto/base/io.h"
#include "proto/ttrpc/client.h"
#include "proto/ttrpc/frame.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

TestSuite(ttrpc_client, .init = scratch_open, .fini = scratch_close, .timeout = 60);

#define TIMEOUT_MS 200u

/* What the service does with each call of one connection. */
struct service {
	int listener;
	pthread_t thread;
	struct answer {
		struct ttrpc_response response;
		uint32_t stream;      /* 0: the call's */
		enum ttrpc_type type; /* 0: a response */
		const char *raw;      /* instead of an answer, n bytes, and the end */
		size_t n;
		bool silent;
	} answers[4];
	struct ttrpc_request asked[4];
	char payloads[4][32];
};

static struct address where(void)
{
	char text[PATH_MAX + 16];
	struct address a;

	(void)snprintf(text, sizeof(text), "unix:%s/service", scratch);
	cr_assert_eq(address_parse(&a, text, NULL), 0);
	return a;
}

static void say(int fd, const struct answer *a, uint32_t stream)
{
	struct ttrpc_header h = {.stream = a->stream ? a->stream : stream,
				 .type = a->type ? a->type : TTRPC_RESPONSE};
	struct buf b = {.max = TTRPC_MAX_DATA};

	ttrpc_response_encode(&b, &a->response);
	h.size = (uint32_t)b.size;
	(void)ttrpc_frame_write(fd, &h, b.data);
	buf_deinit(&b);
}

static void *serve(void *arg)
{
	struct service *s = arg;
	int fd = accept(s->listener, NULL, NULL);

	for (size_t i = 0; i < 4; i++) {
		struct ttrpc_frame f = {.payload = NULL};

		if (ttrpc_frame_read(fd, &f) < 0)
			break;
		cr_assert_eq(ttrpc_request_decode(&s->asked[i], f.payload, f.header.size, NULL), 0);
		(void)snprintf(s->payloads[i], sizeof(s->payloads[i]), "%.*s", (int)s->asked[i].payload.left,
			       (const char *)s->asked[i].payload.at);
		if (s->answers[i].raw) {
			(void)write_full(fd, s->answers[i].raw, s->answers[i].n);
			ttrpc_frame_deinit(&f);
			break;
		}
		if (!s->answers[i].silent)
			say(fd, &s->answers[i], f.header.stream);
		ttrpc_frame_deinit(&f);
	}
	(void)close(fd);
	return NULL;
}

static void begin(struct service *s, struct ttrpc_client *c)
{
	struct address a = where();
	struct err e = {""};

	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(s->listener >= 0 && bind(s->listener, &a.sa, a.size) == 0 && listen(s->listener, 1) == 0);
	cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
	cr_assert_eq(ttrpc_client_open(c, &a, TIMEOUT_MS, &e), 0, "%s", e.text);
}

static void end(struct service *s, struct ttrpc_client *c)
{
	ttrpc_client_close(c);
	ttrpc_client_close(c);
	cr_assert_eq(pthread_join(s->thread, NULL), 0);
	(void)close(s->listener);
}

/* One call; what it gave is in `reply` and `e`. */
static int call(struct service *s, struct buf *reply, struct err *e)
{
	struct ttrpc_client c;
	int r;

	begin(s, &c);
	r = ttrpc_client_call(&c, "a.Service", "Method", bytes_of("question", 8), reply, e);
	end(s, &c);
	return r;
}

Test(ttrpc_client, asks_one_thing_after_another)
{
	struct service s = {.answers = {{.response.payload = bytes_of("one", 3)},
					{.response.payload = bytes_of("two", 3)}}};
	struct buf reply = {.max = 64};
	struct ttrpc_client c;
	struct err e = {""};

	begin(&s, &c);
	cr_assert_eq(ttrpc_client_call(&c, "a.Service", "One", bytes_of("1", 1), &reply, &e), 0, "%s",
		     e.text);
	cr_assert_eq(ttrpc_client_call(&c, "a.Service", "Two", bytes_of("2", 1), &reply, &e), 0, "%s",
		     e.text);
	end(&s, &c);
	cr_assert_eq(reply.size, 6);
	cr_assert_arr_eq(reply.data, "onetwo", 6);
	cr_assert_str_eq(s.asked[0].service, "a.Service");
	cr_assert_str_eq(s.asked[1].method, "Two");
	cr_assert_str_eq(s.payloads[1], "2");
	cr_assert_eq(s.asked[0].timeout_ns, UINT64_C(1000000) * TIMEOUT_MS);
	buf_deinit(&reply);
}

Test(ttrpc_client, tells_a_refusal_in_the_services_words)
{
	struct service s = {
		.answers = {{.response = {.code = TTRPC_PERMISSION_DENIED, .words = "no, never"}}}};
	struct buf reply = {.max = 64};
	struct err e = {""};

	cr_assert_eq(call(&s, &reply, &e), -EACCES);
	cr_assert_str_eq(e.text, "no, never");
	cr_assert_eq(reply.size, 0);
}

Test(ttrpc_client, takes_no_answer_that_is_none)
{
	static const char cut[] = "\0\0\0\x09\0\0\0\1\2\0abc", another_kind[] = "\0\0\0\4\0\0\0\1\7\0abcd",
			  no_protobuf[] = "\0\0\0\2\0\0\0\1\2\0\xff\xff", large[] = "\xff\0\0\0\0\0\0\1\2\0";
	struct {
		struct answer answer;
		size_t room;
		int result;
	} cases[] = {
		{{.stream = 3}, 64, -EPROTO},
		{{.type = TTRPC_DATA}, 64, -EPROTO},
		{{.raw = "", .n = 0}, 64, -ECONNRESET},
		{{.raw = cut, .n = sizeof(cut) - 1}, 64, -ECONNRESET},
		{{.raw = another_kind, .n = sizeof(another_kind) - 1}, 64, -EPROTO},
		{{.raw = no_protobuf, .n = sizeof(no_protobuf) - 1}, 64, -EPROTO},
		{{.raw = large, .n = sizeof(large) - 1}, 64, -ECONNRESET},
		{{.response.payload = bytes_of("four", 4)}, 3, -E2BIG},
		{{.silent = true}, 64, -ETIMEDOUT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct service s = {.answers = {cases[i].answer}};
		struct buf reply = {.max = cases[i].room};
		struct err e = {""};

		cr_assert_eq(call(&s, &reply, &e), cases[i].result, "%zu: %s", i, e.text);
		buf_deinit(&reply);
		scratch_close();
		scratch_open();
	}
}

Test(ttrpc_client, sends_no_question_over_the_limit)
{
	struct service s = {.answers = {{.silent = true}}};
	char *large = calloc(1, TTRPC_MAX_DATA);
	struct buf reply = {.max = 64};
	struct ttrpc_client c;
	struct err e = {""};

	begin(&s, &c);
	cr_assert_eq(ttrpc_client_call(&c, "a", "b", bytes_of(large, TTRPC_MAX_DATA), &reply, &e), -E2BIG);
	end(&s, &c);
	free(large);
}

Test(ttrpc_client, does_not_connect_to_nobody)
{
	struct address a = where();
	struct ttrpc_client c;
	struct err e = {""};

	cr_assert_eq(ttrpc_client_open(&c, &a, TIMEOUT_MS, &e), -ENOENT);
	cr_assert_str_eq(e.text, "connecting: No such file or directory");
}

Test(ttrpc_client, large_messages_pass_whole_and_longer_ones_are_skipped)
{
	static const char over[] = "\0\x40\0\1\0\0\0\1\1\0";
	struct ttrpc_header h = {.size = TTRPC_MAX_DATA, .stream = 1, .type = TTRPC_REQUEST};
	struct ttrpc_frame f = {.payload = NULL};
	uint8_t *bytes = malloc(TTRPC_MAX_DATA + 1);
	int pair[2], status;
	pid_t pid;

	cr_assert(bytes && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	memset(bytes, 'x', TTRPC_MAX_DATA + 1);
	pid = fork();
	if (pid == 0) {
		bool good = write_full(pair[0], over, 10) == 0 &&
			    write_full(pair[0], bytes, TTRPC_MAX_DATA + 1) == 0 &&
			    ttrpc_frame_write(pair[0], &h, bytes) == 0;

		_exit(good ? 0 : 1);
	}
	cr_assert_eq(ttrpc_frame_read(pair[1], &f), -E2BIG);
	cr_assert_eq(f.header.stream, 1);
	cr_assert_eq(ttrpc_frame_read(pair[1], &f), 0);
	cr_assert_eq(f.header.size, TTRPC_MAX_DATA);
	cr_assert_eq(memcmp(f.payload, bytes, TTRPC_MAX_DATA), 0);
	ttrpc_frame_deinit(&f);
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
	(void)close(pair[0]);
	cr_assert_eq(ttrpc_frame_read(pair[1], &f), -ENODATA);
	cr_assert_eq(ttrpc_frame_write(pair[1], &h, bytes), -EPIPE);
	(void)close(pair[1]);
	free(bytes);
}

Test(ttrpc_client, codes_and_errors_are_each_others)
{
	static const struct {
		int error;
		enum ttrpc_code code;
	} both[] = {
		{-EINVAL, TTRPC_INVALID_ARGUMENT},
		{-ETIMEDOUT, TTRPC_DEADLINE_EXCEEDED},
		{-ENOENT, TTRPC_NOT_FOUND},
		{-EEXIST, TTRPC_ALREADY_EXISTS},
		{-EACCES, TTRPC_PERMISSION_DENIED},
		{-ENOMEM, TTRPC_RESOURCE_EXHAUSTED},
		{-ENOTSUP, TTRPC_FAILED_PRECONDITION},
		{-ENOSYS, TTRPC_UNIMPLEMENTED},
		{-ECONNREFUSED, TTRPC_UNAVAILABLE},
		{-EBADMSG, TTRPC_DATA_LOSS},
	};

	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
		cr_assert_eq(ttrpc_code_of(both[i].error), both[i].code, "%zu", i);
		cr_assert_eq(ttrpc_error_of(both[i].code), both[i].error, "%zu", i);
	}
	cr_assert_eq(ttrpc_code_of(-ENOKEY), TTRPC_PERMISSION_DENIED);
	cr_assert_eq(ttrpc_code_of(-EUCLEAN), TTRPC_DATA_LOSS);
	cr_assert_eq(ttrpc_code_of(-EPERM), TTRPC_INTERNAL);
	cr_assert_eq(ttrpc_error_of(TTRPC_INTERNAL), -EREMOTEIO);
	cr_assert_eq(ttrpc_error_of(4711), -EREMOTEIO);
}
