/* SPDX-License-Identifier: Apache-2.0
 * A key provider that keeps what it wraps, and what is made of its answers. */
#include "crypto/key_provider.h"
#include "proto/base/base64.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(key_provider, .timeout = 60);

#define IMAGE_DIGEST "sha256:1122000000000000000000000000000000000000000000000000000000000000"

static const struct digest image = {{0x11, 0x22}};
static const struct secret image_key = {{1, 2, 3, 4, 5}};

/* What the provider was asked, and says. */
struct provider {
	char question[4096];
	unsigned n_questions;
	const char *answers[20]; /* of each question; NULL: fails with `failure` */
	int failure;
};

static int ask(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	struct provider *p = arg;
	const char *text = p->answers[p->n_questions++];

	(void)snprintf(p->question, sizeof(p->question), "%.*s", (int)question->size,
		       (const char *)question->data);
	if (!text)
		return err_set(e, p->failure, "it does not");
	buf_put(answer, text, strlen(text));
	cr_assert_not(buf_failed(answer));
	return 0;
}

static char *unwrapped(const char *options, bool list)
{
	struct buf b = {.max = 1 << 16};
	char *text;

	for (const char *c = options; list && *c; c++) {
		char number[8];

		buf_put(&b, number,
			(size_t)snprintf(number, sizeof(number), "%s%u", c == options ? "" : ", ",
					 (unsigned)*c));
	}
	if (!list)
		base64_encode(&b, BASE64_STANDARD, options, strlen(options));
	cr_assert(asprintf(&text, "{\"keyunwrapresults\":{\"optsdata\":%s%.*s%s}}", list ? "[" : "\"",
			   (int)b.size, (const char *)b.data, list ? "]" : "\"") > 0);
	buf_deinit(&b);
	return text;
}

static const char good_options[] =
	"{\"symkey\":\"AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"digest\":\"" IMAGE_DIGEST
	"\",\"cipheroptions\":{}}";

Test(key_provider, is_asked_as_ocicrypt_asks)
{
	struct provider p = {.answers = {"{\"keywrapresults\":{\"annotation\":[123, 125]}}",
					 "{\"keywrapresults\":{\"annotation\":\"e30=\"}}"}};
	struct buf to = {.max = 4096}, options = {.max = 4096};
	struct err e = {""};
	char *want;

	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "keyid=a::b", ask, &p, &e), 0, "%s", e.text);
	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "keyid=a::b", ask, &p, &e), 0, "%s", e.text);
	cr_assert_eq(to.size, 9);
	cr_assert_arr_eq(to.data, "e30=,e30=", 9);
	base64_encode(&options, BASE64_STANDARD, good_options, strlen(good_options));
	cr_assert(asprintf(&want,
			   "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"attestation-"
			   "agent\":"
			   "[\"a2V5aWQ9YTo6Yg==\"]},\"DecryptConfig\":{\"Parameters\":{}}},\"optsdata\":\"%.*"
			   "s\"},"
			   "\"keyunwrapparams\":{\"dc\":null,\"annotation\":null}}",
			   (int)options.size, (const char *)options.data) > 0);
	cr_assert_str_eq(p.question, want);
	free(want);
	buf_deinit(&to);
	buf_deinit(&options);
}

Test(key_provider, gives_the_key_as_base64_and_as_a_list)
{
	for (int list = 0; list < 2; list++) {
		char *answer = unwrapped(good_options, list);
		struct provider p = {.answers = {answer}};
		struct secret key = {{0}};
		struct err e = {""};

		cr_assert_eq(key_provider_unwrap(&key, "e30=", &image, ask, &p, &e), 0, "%s", e.text);
		cr_assert(secret_equal(&key, &image_key));
		cr_assert_str_eq(p.question,
				 "{\"op\":\"keyunwrap\",\"keywrapparams\":{\"ec\":null,\"optsdata\":null},"
				 "\"keyunwrapparams\":{\"dc\":{\"Parameters\":{\"attestation-agent\":[]}},"
				 "\"annotation\":\"e30=\"}}");
		free(answer);
	}
}

Test(key_provider, is_asked_about_each_packet_until_one_opens)
{
	char *answer = unwrapped(good_options, true);
	struct provider p = {.answers = {NULL, NULL, answer}, .failure = -ENOKEY};
	struct secret key;
	struct err e = {""};

	cr_assert_eq(key_provider_unwrap(&key, "AAAA,BBBB,CCCC,DDDD", &image, ask, &p, &e), 0, "%s", e.text);
	cr_assert_eq(p.n_questions, 3);
	cr_assert(strstr(p.question, "\"CCCC\""));
	free(answer);
}

Test(key_provider, is_not_asked_on_when_it_is_away_or_there_is_nothing_more)
{
	static const struct {
		const char *annotation;
		int failure, result;
		unsigned n_questions;
	} cases[] = {
		{"AAAA,BBBB", -ECONNREFUSED, -ECONNREFUSED, 1},
		{"AAAA,BBBB", -ENOKEY, -ENOKEY, 2},
		{"A,A,A,A,A,A,A,A,A,A,A,A,A,A,A,A,A,A", -ENOKEY, -EINVAL, 0},
		{"AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA,AAAA",
		 -ENOKEY, -ENOKEY, KEY_PROVIDER_MAX_PACKETS},
		{"", -ENOKEY, -EINVAL, 0},
		{"AAAA,", -ENOKEY, -EINVAL, 1},
		{"\"}}", -ENOKEY, -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct provider p = {.failure = cases[i].failure};
		struct secret key;
		struct err e = {""};

		cr_assert_eq(key_provider_unwrap(&key, cases[i].annotation, &image, ask, &p, &e),
			     cases[i].result, "%zu: %s", i, e.text);
		cr_assert_eq(p.n_questions, cases[i].n_questions, "%zu", i);
	}
}

Test(key_provider, refuses_an_annotation_over_its_limit)
{
	size_t n = (256u << 10) + 1;
	char *annotation = malloc(n + 1);
	struct provider p = {.failure = -ENOKEY};
	struct secret key;
	struct err e = {""};

	cr_assert(annotation);
	memset(annotation, 'A', n);
	annotation[n] = '\0';
	cr_assert_eq(key_provider_unwrap(&key, annotation, &image, ask, &p, &e), -EINVAL);
	cr_assert_eq(p.n_questions, 0);
	annotation[n - 1] = '\0';
	cr_assert_eq(key_provider_unwrap(&key, annotation, &image, ask, &p, &e), -ENOKEY);
	cr_assert_eq(p.n_questions, 1);
	free(annotation);
}

Test(key_provider, refuses_answers_that_are_none)
{
	static const struct {
		const char *answer;
		int result;
	} cases[] = {
		{"", -EPROTO},
		{"{}", -EPROTO},
		{"optsdata", -EPROTO},
		{"\"optsdata", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\"", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\"  ", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\": ", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\" \"\"}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"xoptsdata\":[1]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdatax\":[1]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":5}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":null}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":\"\"}}", -EUCLEAN},
		{"{\"keyunwrapresults\":{\"optsdata\":\"AAA\"}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":\"AAAA", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":\"AAAA\"}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[ ]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[1", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[1,]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[1 2]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[01]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[256]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[99999999999999999999]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[-1]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[a]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[1a]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[0,255,\t7\r\n]}}", -EUCLEAN},
		{"{\"keyunwrapresults\":{\"optsdata\":[1],\"optsdata\":[1]}}", -EPROTO},
		{"{\"optsdata\":[1,2]}", -EPROTO},
		{"{\"optsdata\":[1],\"keyunwrapresults\":{\"optsdata\":[1,2]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdata\":[1,2]}}x", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdat\\u0061\":[1,2]},\"x\":{\"optsdata\":[1,2]}}", -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdat\\u0061\":\"***\"},\"x\":{\"optsdata\":\"AAAA\"}}",
		 -EPROTO},
		{"{\"keyunwrapresults\":{\"optsdat\\u0061\":\"aaaa\"},\"x\":{\"optsdata\":\"AAAA\"}}",
		 -EPROTO},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct provider p = {.answers = {cases[i].answer}};
		struct secret key;
		struct err e = {""};

		cr_assert_eq(key_provider_unwrap(&key, "e30=", &image, ask, &p, &e), cases[i].result,
			     "%s: %s", cases[i].answer, e.text);
	}
}

Test(key_provider, refuses_the_key_of_another_image)
{
	char *answer =
		unwrapped("{\"symkey\":\"AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"digest\":\"sha256:"
			  "3344000000000000000000000000000000000000000000000000000000000000\"}",
			  true);
	struct provider p = {.answers = {answer}};
	struct secret key;
	struct err e = {""};

	cr_assert_eq(key_provider_unwrap(&key, "e30=", &image, ask, &p, &e), -EUCLEAN);
	free(answer);
}

Test(key_provider, refuses_to_wrap_into_nothing)
{
	struct provider empty = {.answers = {"{\"keywrapresults\":{\"annotation\":\"\"}}"}};
	struct provider away = {.failure = -ECONNREFUSED};
	struct provider packet = {.answers = {"{\"keywrapresults\":{\"annotation\":\"e30=\"}}"}};
	struct provider none = {.answers = {"{}"}};
	struct buf to = {.max = 3};
	struct err e = {""};
	char *parameters = calloc(1, 300u << 10);

	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "", ask, &empty, &e), -EPROTO);
	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "", ask, &none, &e), -EPROTO);
	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "", ask, &away, &e), -ECONNREFUSED);
	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, "", ask, &packet, &e), -E2BIG);
	memset(parameters, 'p', (300u << 10) - 1);
	cr_assert_eq(key_provider_wrap(&to, &image_key, &image, parameters, ask, &packet, &e), -ENOMEM);
	free(parameters);
	buf_deinit(&to);
}
