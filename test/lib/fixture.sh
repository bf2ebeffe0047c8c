# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# A host of the tests' own: fixture-host seals an EROFS image and serves it, without registry, publisher and snapshotter.
# To be sourced after cleanup.sh.
#
#   fixture_image              $WORK/tree, 3 MB of noise and some text, and the same as $WORK/image
#   fixture_host_start CUT     seals $WORK/image in chunks of CUT bytes, serves it at $WORK/host.sock, writes $WORK/key
#     HOST_PID

fixture_host_start() {
	start_daemon host "${COCOON_BUILD:?the build directory}/guestfs/fixture-host" "$WORK/image" "$WORK/host.sock" "$WORK/key" "$1"
	HOST_PID=$STARTED_PID
	wait_socket "$WORK/host.sock" 20 "$HOST_PID"
}

fixture_image() {
	mkdir -p "$WORK/tree/sub" && head -c 3000000 /dev/urandom >"$WORK/tree/random" && seq 100000 >"$WORK/tree/sub/text" &&
		mkfs.erofs "$WORK/image" "$WORK/tree" >/dev/null
}
