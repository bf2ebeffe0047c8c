/* SPDX-License-Identifier: Apache-2.0
 * A relay whose own method pulls, and a look now and then for pods that have ended. */
#include "guestfs/pods/door.h"
#include "guestfs/pods/relay.h"
#include "guestfs/signals.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"
#include "proto/oci/reference.h"
#include "proto/ttrpc/protobuf.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define REAP_MS 1000
#define BUNDLE_SIZE 512
#define ANSWER_MS 500u /* before the caller gives up: an answer must still reach it */

enum { PULL_IMAGE_URL = 1, PULL_BUNDLE_PATH = 2 }; /* of api.ImagePullRequest */
enum { PULL_MANIFEST_DIGEST = 1 };		   /* of api.ImagePullResponse */

struct door {
	const struct door_options *options;
	struct puller *puller;
};

static int decode_pull(struct bytes b, char image[static REFERENCE_TEXT_SIZE],
		       char bundle[static BUNDLE_SIZE], struct err *e)
{
	struct protobuf_field f;
	int r;

	image[0] = bundle[0] = '\0';
	while ((r = protobuf_next(&b, &f, e)) == 0) {
		if (f.number == PULL_IMAGE_URL)
			r = protobuf_text(image, REFERENCE_TEXT_SIZE, &f, "image_url", e);
		else if (f.number == PULL_BUNDLE_PATH)
			r = protobuf_text(bundle, BUNDLE_SIZE, &f, "bundle_path", e);
		if (r < 0)
			return -EINVAL;
	}
	return r < 0 ? -EINVAL : 0;
}

/* When to answer a call with this time-out at the latest. */
static struct deadline deadline_of(uint64_t timeout_ns)
{
	uint64_t ms = timeout_ns / 1000000;

	ms = ms > UINT32_MAX ? UINT32_MAX : ms;
	return deadline_after((unsigned int)(ms > 2 * ANSWER_MS ? ms - ANSWER_MS : ms / 2));
}

static int pull_image(void *arg, const struct ttrpc_request *request, struct buf *reply, struct err *e)
{
	char image[REFERENCE_TEXT_SIZE], bundle[BUNDLE_SIZE], manifest[DIGEST_TEXT_SIZE];
	struct deadline deadline = deadline_of(request->timeout_ns);
	struct door *d = arg;
	int r = decode_pull(request->payload, image, bundle, e);

	if (r == 0)
		r = puller_pull(d->puller, image, bundle, request->timeout_ns ? &deadline : NULL, manifest,
				e);
	if (r == -ENOTSUP && d->options->unsealed_to_cdh) {
		log_info("handed on, not a sealed image: %s", e->text);
		return RELAY_HAND_ON;
	}
	if (r < 0) {
		log_warn("pull refused error=%d %s", -r, e->text);
		return r;
	}
	protobuf_put_bytes(reply, PULL_MANIFEST_DIGEST, manifest, strlen(manifest));
	return buf_failed(reply) ? -ENOMEM : 0;
}

int door_run(const struct door_options *o, int listener, int ready, struct err *e)
{
	struct door door = {.options = o};
	const struct relay_options options = {
		.service = "api.ImagePullService",
		.method = "PullImage",
		.call = pull_image,
		.arg = &door,
		.behind = o->cdh,
		.name = "the Confidential Data Hub",
	};
	cleanup_close int signals = signals_open((const int[]){SIGTERM, SIGINT}, 2, e);
	int r = signals < 0 ? signals : puller_open(&door.puller, &o->puller, e);
	struct relay *relay = NULL;
	struct pollfd p;

	if (r == 0)
		r = relay_start(&relay, listener, &options, e);
	if (r == 0)
		r = write_full(ready, "", 1);
	p = (struct pollfd){.fd = signals, .events = POLLIN};
	while (r == 0 && poll(&p, 1, REAP_MS) <= 0)
		puller_reap(door.puller);
	relay_stop(relay);
	puller_close(door.puller);
	return r;
}
