/* SPDX-License-Identifier: Apache-2.0
 * Questions are written as Go's ocicrypt writes them, answers are read as Go and as Rust write them. */
#include "crypto/key_provider.h"
#include "crypto/json_secret.h"
#include "crypto/keywrap.h"
#include "crypto/private_options.h"
#include "proto/base/base64.h"
#include "proto/base/json.h"

#include <errno.h>
#include <string.h>

#define MAX_QUESTION (KEYWRAP_MAX_ANNOTATION + 1024u)

static void put_text(struct buf *to, const char *text)
{
	buf_put(to, text, strlen(text));
}

/* The bytes of `member` of `results`, the only member of an answer that counts. */
static int decode_answer(struct buf *to, struct buf *answer, const char *results, const char *member,
			 struct err *e)
{
	cleanup_json json_t *j = NULL;
	struct json_blank blank;
	int r = json_secret_take(&blank, to, (char *)answer->data, answer->size, member, JSON_BASE64_OR_LIST);

	if (r < 0)
		return err_set(e, -EPROTO, "the key provider's answer: %s is %s", member,
			       r == -ENOENT ? "missing" : "neither base64 nor a list of bytes");
	r = json_object_parse(&j, answer->data, answer->size, KEY_PROVIDER_MAX_ANSWER,
			      "the key provider's answer", e);
	if (r < 0)
		return r == -ENOMEM ? r : -EPROTO;
	if (!json_is_blank(json_object_get(json_object_get(j, results), member), &blank))
		return err_set(e, -EPROTO, "the key provider's answer: %s is not where it belongs", member);
	return 0;
}

static void wrap_question(struct buf *to, const struct buf *options, const char *parameters)
{
	put_text(to, "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"" KEY_PROVIDER_NAME
		     "\":[\"");
	base64_encode(to, BASE64_STANDARD, parameters, strlen(parameters));
	put_text(to, "\"]},\"DecryptConfig\":{\"Parameters\":{}}},\"optsdata\":\"");
	base64_encode(to, BASE64_STANDARD, options->data, options->size);
	put_text(to, "\"},\"keyunwrapparams\":{\"dc\":null,\"annotation\":null}}");
}

int key_provider_wrap(struct buf *to, const struct secret *image_key, const struct digest *descriptor,
		      const char *parameters, key_provider_ask *ask, void *arg, struct err *e)
{
	cleanup_buf struct buf options = {.max = PRIVATE_OPTIONS_MAX, .secret = true};
	cleanup_buf struct buf question = {.max = MAX_QUESTION, .secret = true};
	cleanup_buf struct buf answer = {.max = KEY_PROVIDER_MAX_ANSWER, .secret = true};
	cleanup_buf struct buf packet = {.max = KEYWRAP_MAX_ANNOTATION};
	int r;

	private_options_encode(&options, image_key, descriptor);
	wrap_question(&question, &options, parameters);
	if (buf_failed(&options) || buf_failed(&question))
		return err_set(e, -ENOMEM, "no room for a question to the key provider");
	r = ask(arg, &question, &answer, e);
	if (r == 0)
		r = decode_answer(&packet, &answer, "keywrapresults", "annotation", e);
	if (r < 0)
		return r;
	if (packet.size == 0)
		return err_set(e, -EPROTO, "the key provider's answer: annotation is empty");
	if (to->size > 0)
		buf_u8(to, ',');
	base64_encode(to, BASE64_STANDARD, packet.data, packet.size);
	return buf_failed(to) ? err_set(e, -E2BIG, "more recipients than fit into %zu bytes", to->max) : 0;
}

/* One packet, n characters of base64. */
static int unwrap_one(struct secret *image_key, const char *text, size_t n, const struct digest *descriptor,
		      key_provider_ask *ask, void *arg, struct err *e)
{
	cleanup_buf struct buf packet = {.max = KEYWRAP_MAX_ANNOTATION};
	cleanup_buf struct buf question = {.max = MAX_QUESTION};
	cleanup_buf struct buf answer = {.max = KEY_PROVIDER_MAX_ANSWER, .secret = true};
	cleanup_buf struct buf options = {.max = KEY_PROVIDER_MAX_ANSWER, .secret = true};
	int r;

	if (n == 0 || base64_decode(&packet, BASE64_STANDARD, text, n) < 0)
		return err_set(e, -EINVAL, "not base64");
	put_text(&question, "{\"op\":\"keyunwrap\",\"keywrapparams\":{\"ec\":null,\"optsdata\":null},"
			    "\"keyunwrapparams\":{\"dc\":{\"Parameters\":{\"" KEY_PROVIDER_NAME
			    "\":[]}},\"annotation\":\"");
	buf_put(&question, text, n);
	put_text(&question, "\"}}");
	if (buf_failed(&question))
		return err_set(e, -ENOMEM, "out of memory");
	r = ask(arg, &question, &answer, e);
	if (r == 0)
		r = decode_answer(&options, &answer, "keyunwrapresults", "optsdata", e);
	return r < 0 ? r : private_options_decode(image_key, &options, descriptor, e);
}

int key_provider_unwrap(struct secret *image_key, const char *annotation, const struct digest *descriptor,
			key_provider_ask *ask, void *arg, struct err *e)
{
	if (strnlen(annotation, KEYWRAP_MAX_ANNOTATION + 1) > KEYWRAP_MAX_ANNOTATION)
		return err_set(e, -EINVAL, "wrapped keys: over %u bytes", KEYWRAP_MAX_ANNOTATION);
	for (unsigned k = 1;; k++) {
		size_t n = strcspn(annotation, ",");
		int r = unwrap_one(image_key, annotation, n, descriptor, ask, arg, e);

		annotation += n;
		if (r == 0)
			return 0;
		if (r != -ENOKEY || *annotation == '\0' || k == KEY_PROVIDER_MAX_PACKETS)
			return err_prefix(e, r, "wrapped key %u", k);
		annotation++;
	}
}
