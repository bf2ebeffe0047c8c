/* SPDX-License-Identifier: Apache-2.0
 * agent-pull SOCKET IMAGE BUNDLE: asks as Kata's agent does for an image in a bundle, prints the manifest's
 * digest. */
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/ttrpc/protobuf.h"
#include "proto/ttrpc/ttrpc.h"
#include "proto/wire/address.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_MAX 4096

static int ask(int fd, const char *image, const char *bundle)
{
	struct ttrpc_request request = {.service = "api.ImagePullService", .method = "PullImage"};
	struct ttrpc_header h = {.stream = 1, .type = TTRPC_REQUEST};
	uint8_t raw[TTRPC_HEADER_SIZE];
	cleanup_buf struct buf payload, message;
	int r;

	buf_init(&payload, ANSWER_MAX);
	buf_init(&message, 2 * ANSWER_MAX);
	protobuf_put_bytes(&payload, 1, image, strlen(image));
	protobuf_put_bytes(&payload, 2, bundle, strlen(bundle));
	request.payload = bytes_of(payload.data, payload.size);
	ttrpc_request_encode(&message, &request);
	if (buf_failed(&payload) || buf_failed(&message))
		return -1;
	h.size = (uint32_t)message.size;
	ttrpc_header_encode(&h, raw);
	r = write_full(fd, raw, sizeof(raw));
	return r < 0 ? r : write_full(fd, message.data, message.size);
}

static int answer(int fd, struct err *e)
{
	uint8_t raw[TTRPC_HEADER_SIZE], payload[ANSWER_MAX];
	struct ttrpc_response response;
	struct protobuf_field f;
	struct ttrpc_header h;
	int r = read_full(fd, raw, sizeof(raw));

	if (r == 0)
		r = ttrpc_header_decode(&h, raw, e);
	if (r < 0 || h.type != TTRPC_RESPONSE || h.stream != 1 || h.size > sizeof(payload))
		return err_set(e, -1, "not an answer");
	r = read_full(fd, payload, h.size);
	if (r == 0)
		r = ttrpc_response_decode(&response, payload, h.size, e);
	if (r < 0)
		return r;
	if (response.code != TTRPC_OK)
		return err_set(e, -1, "status %u: %s", (unsigned)response.code, response.words);
	if (protobuf_next(&response.payload, &f, e) != 0 || f.number != 1)
		return err_set(e, -1, "an answer without a digest");
	(void)printf("%.*s\n", (int)f.bytes.left, (const char *)f.bytes.at);
	return 0;
}

int main(int argc, char **argv)
{
	struct address a;
	struct err e = {"no connection"};
	cleanup_close int fd = -1;

	if (argc != 4) {
		(void)fputs("usage: agent-pull unix:SOCKET IMAGE BUNDLE\n", stderr);
		return 2;
	}
	if (address_parse(&a, argv[1], &e) == 0)
		fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &a.sa, a.size) == 0 && ask(fd, argv[2], argv[3]) == 0 &&
	    answer(fd, &e) == 0)
		return 0;
	(void)fprintf(stderr, "agent-pull: %s\n", e.text);
	return 1;
}
