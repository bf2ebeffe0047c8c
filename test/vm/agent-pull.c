/* SPDX-License-Identifier: Apache-2.0
 * agent-pull SOCKET IMAGE BUNDLE: asks as Kata's agent does for an image in a bundle, within the agent's
 * time; prints the manifest's digest. */
#include "proto/base/cleanup.h"
#include "proto/ttrpc/client.h"
#include "proto/ttrpc/protobuf.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 4096
#define TIMEOUT_MS 60000

static int pull(struct ttrpc_client *c, const char *image, const char *bundle, struct buf *reply,
		struct err *e)
{
	cleanup_buf struct buf payload;

	buf_init(&payload, TEXT_MAX);
	protobuf_put_bytes(&payload, 1, image, strlen(image));
	protobuf_put_bytes(&payload, 2, bundle, strlen(bundle));
	if (buf_failed(&payload))
		return err_set(e, -1, "a name too long");
	return ttrpc_client_call(c, "api.ImagePullService", "PullImage", bytes_of(payload.data, payload.size),
				 reply, e);
}

static int tell(const struct buf *reply, struct err *e)
{
	struct bytes b = bytes_of(reply->data, reply->size);
	struct protobuf_field f;

	if (protobuf_next(&b, &f, e) != 0 || f.number != 1)
		return err_set(e, -1, "an answer without a digest");
	(void)printf("%.*s\n", (int)f.bytes.left, (const char *)f.bytes.at);
	return 0;
}

int main(int argc, char **argv)
{
	struct ttrpc_client c = {.fd = -1};
	struct address a;
	struct err e = {""};
	cleanup_buf struct buf reply;
	int r;

	if (argc != 4) {
		(void)fputs("usage: agent-pull unix:SOCKET IMAGE BUNDLE\n", stderr);
		return 2;
	}
	buf_init(&reply, TEXT_MAX);
	r = address_parse(&a, argv[1], &e);
	if (r == 0)
		r = ttrpc_client_open(&c, &a, TIMEOUT_MS, &e);
	if (r == 0)
		r = pull(&c, argv[2], argv[3], &reply, &e);
	if (r == 0)
		r = tell(&reply, &e);
	ttrpc_client_close(&c);
	if (r != 0)
		(void)fprintf(stderr, "agent-pull: %s\n", e.text);
	return r != 0;
}
