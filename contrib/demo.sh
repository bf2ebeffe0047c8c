#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Watch a container start from an encrypted, lazily streamed image. Run as root
# on Debian 12:
#
#   contrib/demo.sh [--vm] [IMAGE [COMMAND…]]
#
# With --vm the container runs in a pod's virtual machine (QEMU, a Debian kernel, a
# virtio socket, no network), and each step from power-on to the container's first
# line gets its time; without, on this machine, beside a plain one for comparison.
# IMAGE is a reference (registry/repo:tag) or oci:DIR[:tag]; without it a Debian
# with python3 and numpy is made. COMMAND defaults to the image's own. Nothing
# outside a temporary directory is touched, except that missing Debian packages
# are installed; whatever happens, all is cleaned up at the end. With COCOON_BIN=DIR
# in the environment the programs there are used instead of building them.
#
# There are two sides, with a registry and a containerd each: `plain`, where the
# image is as it was, for comparison, and `host`, the untrusted machine that
# must learn nothing. Everything of the host is below $WORK/host, and all of it
# is searched.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for library in cleanup packages registry containerd build timed; do
	# shellcheck source=/dev/null
	. "$HERE/test/lib/$library.sh"
done

case ${1:-} in
-h | --help)
	sed -n '3,17s/^# \{0,1\}//p' "$0"
	exit
	;;
esac
[ "$(id -u)" = 0 ] || {
	echo "demo.sh: run it as root" >&2
	exit 1
}

VM=
if [ "${1:-}" = --vm ]; then
	VM=vm
	shift
fi
IMAGE=${1:-}
shift || true
COMMAND=("$@")
if [ -z "$IMAGE" ]; then
	COMMAND=(python3 -c 'import json, numpy; print("ok")')
fi

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() {
	echo "demo.sh: $*" >&2
	exit 1
}

# quietly LOG CMD…: its output goes to LOG and is shown only when it fails.
quietly() {
	local log=$1
	shift

	interruptible "$@" >>"$log" 2>&1 || {
		tail -n 30 "$log" >&2
		fail "this failed: $*"
	}
}

# --- the sealed side ------------------------------------------------------------

pull_and_run_sealed() {
	"$COCOON" pull --plain-http --address "$CONTAINERD_ADDRESS" "$SEALED_REF" >&2
	container_run cocoon "$SEALED_REF" demo "${COMMAND[@]}"
}

# --- the plain side ------------------------------------------------------------

pull_and_run_plain() {
	ctr images pull --plain-http "$PLAIN_REF" >&2
	container_run overlayfs "$PLAIN_REF" demo "${COMMAND[@]}"
}

# first_output NAME FUNCTION: seconds until the first line; the page cache is empty.
first_output() {
	local name=$1

	sync
	echo 3 >/proc/sys/vm/drop_caches
	cat "$COCOON_BIN"/* /usr/bin/{containerd,containerd-shim-runc-v2,ctr,docker-registry} /usr/sbin/runc >/dev/null
	ctr version >/dev/null
	timed_lines 1 300 "$2" 2>"$WORK/$name.run.log" || {
		tail -n 5 "$WORK/$name.run.log" >&2
		fail "the $name container printed nothing"
	}
	echo "  ${LINE_SECONDS[0]} s until: ${LINE_TEXT[0]}"
}

# An image from elsewhere is copied as it is and gets one more layer, with the canary.
make_source() {
	local source=$WORK/source

	if [ -z "$IMAGE" ]; then
		echo "  Debian, python3 and numpy from Debian's packages; this takes a few minutes"
		quietly "$WORK/source.log" "$HERE/test/images/make.py" debian "$source"
	else
		case $IMAGE in
		oci:* | docker://* | docker-archive:*) ;;
		*) IMAGE=docker://$IMAGE ;;
		esac
		quietly "$WORK/source.log" skopeo --insecure-policy copy --quiet "$IMAGE" "oci:$source:latest"
	fi
	mkdir "$WORK/layer"
	CANARY=$("$HERE/test/lib/search.py" make "$WORK/layer/canary")
	tar -C "$WORK/layer" -cf "$WORK/layer.tar" canary
	quietly "$WORK/source.log" umoci raw add-layer --image "$source:latest" "$WORK/layer.tar"
	quietly "$WORK/source.log" umoci config --image "$source:latest" \
		--config.env "CANARY=$CANARY" --config.label "canary=$CANARY"
}

# --- the search ----------------------------------------------------------------

# search WHAT EXPECTED WHERE…: one line of the table.
search() {
	local what=$1 expected=$2 verdict bytes detail line
	shift 2

	line=$("$HERE/test/lib/search.py" find "$WORK/layer/canary" "$@" || true)
	verdict=$(cut -f1 <<<"$line" | sort -u | tr '\n' ' ')
	bytes=$(awk -F'\t' '{ sum += $3 } END { printf "%.1f", sum / 1e6 }' <<<"$line")
	detail=$(awk -F'\t' '$4 != "" { print $4; exit }' <<<"$line")
	case $expected:$verdict in
	clean:'clean ') verdict="clean" ;;
	found:*FOUND*) verdict="found, as it must be" detail='' ;;
	*) verdict="NOT AS IT MUST BE: $verdict" FAILED=1 ;;
	esac
	printf '  %-52s %9s MB  %s %s\n' "$what" "$bytes" "$verdict" "$detail"
}

# --- the demonstration -----------------------------------------------------------

step "Packages"
need_packages build run image ${VM:+"$VM"}

work_dir demo
# Nothing of the publisher's may fall into a directory that others read.
umask 077
mkdir -p "$WORK"/{plain,host}
FAILED=0

if [ -z "${COCOON_BIN:-}" ]; then
	step "Building"
	build_programs "$WORK/build" || {
		tail -n 30 "$WORK/build.log" >&2
		fail "the build failed"
	}
fi

# shellcheck source=/dev/null
. "$HERE/test/lib/cocoon.sh"
if [ -n "$VM" ]; then
	# shellcheck source=/dev/null
	. "$HERE/contrib/demo-vm.sh"
	vm_tools
fi

step "Making the image"
make_source

step "Starting registries"
registry_start plain/registry
PLAIN_REF=$REGISTRY/demo/image:plain
registry_push "oci:$WORK/source:latest" demo/image:plain
PLAIN_SIZE=$(registry_image_size demo/image:plain)

registry_start host/registry
HOST_REGISTRY_PID=$REGISTRY_PID

step "Sealing and pushing"
keys_make >"$WORK/publisher.log" 2>&1 || fail "$(tail -n 5 "$WORK/publisher.log")"
image_seal "$PLAIN_REF" demo/image:sealed >>"$WORK/publisher.log" 2>&1 || fail "$(tail -n 5 "$WORK/publisher.log")"
SEALED_SIZE=$(registry_image_size demo/image:sealed)
echo "  $((PLAIN_SIZE / 1000000)) MB plain, $((SEALED_SIZE / 1000000)) MB sealed"

if [ -n "$VM" ]; then
	demo_vm
	exit
fi

step "Through overlayfs: everything is fetched and unpacked first"
containerd_start plain/containerd
first_output plain pull_and_run_plain
PLAIN_SECONDS=${LINE_SECONDS[0]}
timed_end 3 || true

step "Through cocoon: sealed, streamed"
# A mount outlives the daemon, by design; it is taken down after it.
at_exit unmount_below "$WORK/host/cocoon"
host_start host/cocoon 'local:' "  keys: [ \"$KEY\" ]" "  guestfs: \"$COCOON_BIN/cocoon-guestfs\""
start_daemon host/record-grpc "$HERE/test/lib/record.py" "$WORK/host/grpc.sock" "$HOST_DIR.sock" "$WORK/host/traffic-grpc"
wait_socket "$WORK/host/grpc.sock"
containerd_start host/containerd "cocoon=$WORK/host/grpc.sock"
HOST_CONTAINERD_PID=$CONTAINERD_PID
log_size=$(stat -c %s "$REGISTRY_LOG")
first_output cocoon pull_and_run_sealed
COCOON_SECONDS=${LINE_SECONDS[0]}
STREAMED=$(registry_traffic "$log_size")
STREAMED=${STREAMED% *}
timed_end 3 || true

step "As a guest: every file is read through a socket that is recorded"
start_daemon host/record-chunks "$HERE/test/lib/record.py" "$WORK/host/recorded.sock" "$HOST_CHUNKS" "$WORK/host/traffic-chunks"
wait_socket "$WORK/host/recorded.sock"
guest_mount auto "$SEALED_REF" "$WORK/guest" "$WORK/host/recorded.sock" >"$WORK/guest.log" 2>&1 ||
	fail "$(tail -n 5 "$WORK/guest.log")"
interruptible find "$WORK/guest" -xdev -type f -exec cat {} + >/dev/null
cmp "$WORK/guest/canary/random.bin" "$WORK/layer/canary/random.bin" || FAILED=1

step "Looking for the canary ($CANARY and 1 MiB of random bytes)"
search "what the guest sees" found "$WORK/guest/canary"
search "the plain host's unpacked image" found "$WORK/plain/containerd/root"
search "the host's chunk cache and state" clean "$WORK/host/cocoon"
search "the host's registry" clean "$WORK/host/registry"
search "the host's containerd: content, snapshots" clean "$WORK/host/containerd"
search "traffic on the chunk socket" clean "$WORK"/host/traffic-chunks.*
search "traffic on the snapshotter's socket" clean "$WORK"/host/traffic-grpc.*
search "the host's logs" clean "$WORK"/host/*.log "$WORK/cocoon.run.log"
search "memory of cocoon-snapshotter" clean "pid:$HOST_PID"
search "memory of the host's docker-registry" clean "pid:$HOST_REGISTRY_PID"
search "memory of the host's containerd" clean "pid:$HOST_CONTAINERD_PID"

step "Result"
awk -v plain="$PLAIN_SECONDS" -v cocoon="$COCOON_SECONDS" -v plain_size="$PLAIN_SIZE" -v sealed_size="$SEALED_SIZE" \
	-v streamed="$STREAMED" 'BEGIN {
	printf "  %-34s %14s %14s\n", "", "overlayfs", "cocoon"
	printf "  %-34s %12.2f s %12.2f s\n", "pull command to first output", plain, cocoon
	printf "  %-34s %11.1f MB %11.1f MB\n", "image in the registry", plain_size / 1e6, sealed_size / 1e6
	printf "  %-34s %11.1f MB %11.1f MB\n", "fetched until then", plain_size / 1e6, streamed / 1e6
}'
[ "$FAILED" = 0 ] || fail "something was not as it must be, see above"
echo "  The canary is in the image and nowhere on the host."
