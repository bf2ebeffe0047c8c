/* SPDX-License-Identifier: Apache-2.0
 * Question and answer are the only field of their message. */
#include "guestfs/key_service.h"
#include "proto/ttrpc/protobuf.h"

#include <errno.h>

#define SERVICE "keyprovider.KeyProviderService"
#define MESSAGE_MAX (2 * KEY_PROVIDER_MAX_ANSWER)

enum { PROTOCOL_INPUT = 1, PROTOCOL_OUTPUT = 1 };

static int take_output(struct buf *answer, const struct buf *reply, struct err *e)
{
	struct bytes b = bytes_of(reply->data, reply->size), output = bytes_of(NULL, 0);
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&b, &f, e)) == 0)
		if (f.number == PROTOCOL_OUTPUT)
			output = f.bytes;
	if (r < 0)
		return r;
	buf_put(answer, output.at, output.left);
	return buf_failed(answer) ? err_set(e, -E2BIG, "an answer of %zu bytes", output.left) : 0;
}

/* Whatever the reason of a refusal, there is no key. */
static int refusal(int r)
{
	switch (-r) {
	case EINVAL:
	case ENOENT:
	case EEXIST:
	case EACCES:
	case ENOTSUP:
	case EBADMSG:
	case EREMOTEIO:
		return -ENOKEY;
	default:
		return r;
	}
}

static int ask(struct ttrpc_client *c, const char *method, const struct buf *question, struct buf *answer,
	       struct err *e)
{
	cleanup_buf struct buf message = {.max = MESSAGE_MAX, .secret = true};
	cleanup_buf struct buf reply = {.max = MESSAGE_MAX, .secret = true};
	int r;

	protobuf_put_bytes(&message, PROTOCOL_INPUT, question->data, question->size);
	if (buf_failed(&message))
		return err_set(e, -ENOMEM, "out of memory");
	r = ttrpc_client_call(c, SERVICE, method, bytes_of(message.data, message.size), &reply, e);
	return r < 0 ? refusal(r) : take_output(answer, &reply, e);
}

int key_service_wrap(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	return ask(arg, "WrapKey", question, answer, e);
}

int key_service_unwrap(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	return ask(arg, "UnWrapKey", question, answer, e);
}
