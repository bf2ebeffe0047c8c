/* SPDX-License-Identifier: Apache-2.0
 * Requests of containerd's snapshot service as bytes from a stranger: the first byte chooses the method's
 * message. Whatever is taken must be text that can be sent back: packed and decoded again it is the same
 * size. */
#include "snapshotter/message.h"

#include "proto/containerd/snapshots.pb-c.h"

#include "test/fuzz/fuzz.h"

#include <stdlib.h>

#define BUDGET (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&containerd__services__snapshots__v1__prepare_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__view_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__mounts_request__descriptor,
		&containerd__services__snapshots__v1__commit_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__remove_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__stat_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__update_snapshot_request__descriptor,
		&containerd__services__snapshots__v1__list_snapshots_request__descriptor,
		&containerd__services__snapshots__v1__usage_request__descriptor,
		&containerd__services__snapshots__v1__cleanup_request__descriptor,
	};
	const ProtobufCMessageDescriptor *type;
	ProtobufCMessage *m, *again;
	struct arena a, b;

	if (size == 0)
		return 0;
	type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	arena_init(&a, BUDGET);
	arena_init(&b, BUDGET);
	if (message_decode(&m, type, data + 1, size - 1, &a, NULL) == 0) {
		size_t n = protobuf_c_message_get_packed_size(m);
		uint8_t *packed = malloc(n ? n : 1);

		fuzz_assert(!packed || protobuf_c_message_pack(m, packed) == n);
		if (packed && message_decode(&again, type, packed, n, &b, NULL) == 0)
			fuzz_assert(protobuf_c_message_get_packed_size(again) == n);
		free(packed);
	}
	arena_deinit(&a);
	arena_deinit(&b);
	return 0;
}
