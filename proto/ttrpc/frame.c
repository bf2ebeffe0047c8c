/* SPDX-License-Identifier: Apache-2.0
 * A header, and the bytes that it announces. */
#include "proto/ttrpc/frame.h"
#include "proto/base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static int skip(int fd, uint32_t n)
{
	uint8_t scrap[4096];
	int r = 0;

	while (r == 0 && n > 0) {
		uint32_t part = n < sizeof(scrap) ? n : (uint32_t)sizeof(scrap);

		r = read_full(fd, scrap, part);
		n -= part;
	}
	explicit_bzero(scrap, sizeof(scrap));
	return r;
}

int ttrpc_frame_read(int fd, struct ttrpc_frame *out)
{
	struct ttrpc_frame f = {.payload = NULL};
	uint8_t raw[TTRPC_HEADER_SIZE];
	int r = read_full(fd, raw, sizeof(raw));

	if (r == 0)
		r = ttrpc_header_decode(&f.header, raw, NULL);
	if (r == -E2BIG) {
		r = skip(fd, f.header.size);
		*out = f;
		return r < 0 ? r : -E2BIG;
	}
	if (r < 0)
		return r;
	f.payload = malloc((size_t)f.header.size + 1); /* of nothing, too, there is a pointer */
	if (!f.payload)
		return -ENOMEM;
	r = read_full(fd, f.payload, f.header.size);
	if (r < 0)
		ttrpc_frame_deinit(&f);
	else
		*out = f;
	return r;
}

void ttrpc_frame_deinit(struct ttrpc_frame *f)
{
	if (f->payload)
		explicit_bzero(f->payload, f->header.size);
	free(f->payload);
	f->payload = NULL;
}

int ttrpc_frame_write(int fd, const struct ttrpc_header *h, const void *payload)
{
	uint8_t raw[TTRPC_HEADER_SIZE];
	union {
		const void *in;
		void *out;
	} borrowed = {.in = payload}; /* an iovec has no const */
	struct iovec parts[2] = {{raw, sizeof(raw)}, {borrowed.out, h->size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	ttrpc_header_encode(h, raw);
	while (parts[1].iov_len > 0 || parts[0].iov_len > 0) {
		ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (size_t i = 0; i < 2 && n > 0; i++) {
			size_t part = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;

			if (part == 0)
				continue;
			parts[i].iov_base = (uint8_t *)parts[i].iov_base + part;
			parts[i].iov_len -= part;
			n -= (ssize_t)part;
		}
	}
	return 0;
}
