/* SPDX-License-Identifier: Apache-2.0
 * What a key provider answers, to a question of either kind. A key that was taken out of an answer is the one
 * that comes out again when it is wrapped and unwrapped by a provider that hides nothing. */
#include "crypto/key_provider.h"
#include "proto/base/base64.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

static int answer_with(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	const struct bytes *text = arg;

	(void)question;
	(void)e;
	buf_put(answer, text->at, text->left);
	return buf_failed(answer) ? -E2BIG : 0;
}

/* The options come back as they are, as the packet. */
static int keep_nothing(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	const char *results = arg;
	const char *in = (const char *)question->data;
	const char *data = memmem(in, question->size, "\"optsdata\":\"", 12);

	(void)e;
	buf_put(answer, results, strlen(results));
	data = data ? data + 12 : (const char *)memmem(in, question->size, "\"annotation\":\"", 14) + 14;
	buf_put(answer, data, strcspn(data, "\"") + 1);
	buf_put(answer, "}}", 2);
	return buf_failed(answer) ? -E2BIG : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char wrapped[] = "{\"keywrapresults\":{\"annotation\":\"";
	static char unwrapped[] = "{\"keyunwrapresults\":{\"optsdata\":\"";
	const struct digest image = {{0x11, 0x22}};
	struct bytes text = bytes_of(data, size);
	cleanup_buf struct buf packet = {.max = 1 << 20}, again = {.max = 1 << 20};
	struct secret key = {{0}}, same;
	struct err e;

	if (key_provider_wrap(&packet, &key, &image, "", answer_with, &text, &e) == 0)
		fuzz_assert(packet.size > 0);
	if (key_provider_unwrap(&key, "cGFja2V0", &image, answer_with, &text, &e) < 0)
		return 0;
	fuzz_assert(key_provider_wrap(&again, &key, &image, "", keep_nothing, wrapped, &e) == 0);
	buf_u8(&again, 0);
	fuzz_assert(!buf_failed(&again));
	fuzz_assert(key_provider_unwrap(&same, (char *)again.data, &image, keep_nothing, unwrapped, &e) == 0);
	fuzz_assert(secret_equal(&key, &same));
	return 0;
}
