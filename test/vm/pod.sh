#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Pods in virtual machines on a node, whole: containerd pulls a sealed image with cocoon-snapshotter, which has no key; Debian kernels
# boot; Kata's agent (its stand-in) asks the guest daemon for the image, that reaches the same cocoon-snapshotter over a virtio socket and
# mounts it, and runc runs a container from it. There is no network in the machines. What one container has read, neither a second one
# nor a second machine makes the host fetch again, whatever becomes of its daemon meanwhile.
#
#   test/vm/pod.sh [KERNEL [KERNEL]]      of the machines: 6.12 6.1
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images containerd cocoon node vm pod; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

seal() {
	image_make busybox && keys_make && image_seal "oci:$IMAGE_LAYOUT" vm/pod:1
}

node_start() {
	host_start host "$(vm_chunks)" && containerd_start containerd "cocoon-kata=$HOST_DIR.sock"
}

# The new daemon finds the machine that runs, and what the old one had fetched.
daemon_dies_and_is_back() {
	stop_daemon "$HOST_PID" KILL
	host_start host "$(vm_chunks)"
}

# As on any node: containerd asks the snapshotter, which takes the layers as they are. Nothing is mounted here.
node_pulls() {
	local traffic mark

	mark=$(stat -c %s "$REGISTRY_LOG")
	"$COCOON" pull --plain-http --snapshotter cocoon-kata "$SEALED_REF" &&
		expect 0 "$(guestfs_count)" && expect 2 "$(ctr content ls -q | wc -l)" || return
	traffic=$(registry_traffic "$mark")
	echo "${traffic% *} bytes of $(registry_image_size vm/pod:1)"
}

machine() {
	vm_kernel "$1" && pod_initramfs "$WORK/$1.initramfs" one:auto two:tree
}

# Until its first container has ended.
first_boots() { vm_kernel "$1" && vm_start "first-$1" "$WORK/$1.initramfs" && vm_wait 'one: container has ended' 300; }

second_boots() { vm_kernel "$1" && vm_start "second-$1" "$WORK/$1.initramfs" && vm_end 300; }

first_ends() { VM_PID=${FIRST[0]} VM_CONSOLE=${FIRST[1]} vm_end 120; }

# container_said MACHINE WORDS TIMES: each container says everything once.
container_said() {
	grep -F -e "$2" "$WORK/$1.console" && expect "$3" "$(grep -cF -e "$2" "$WORK/$1.console")"
}

steps() { sed -n 's/^step: /  /p' "$WORK/$1.console"; }

# What the tag names is asked again after a while; what it names is here.
fetched_no_blob() {
	local asked

	sleep 0.2
	asked=$(tail -c +"$(($1 + 1))" "$REGISTRY_LOG" | jq -rR 'fromjson? | select(.msg == "response completed") | .["http.request.uri"]')
	echo "asked for: ${asked:-nothing}"
	! grep -q /blobs/ <<<"$asked"
}

# daemons_are_spared CONSOLE: of two images.
daemons_are_spared() { [ "$(grep -cE 'process: oom_score_adj -[0-9]+ locked [1-9][0-9]{3,} kB' "$WORK/$1.console")" -ge 2 ]; }

no_network() { grep -q 'networks: /sys/class/net/lo[[:space:]]*$' "$WORK/$1.console"; }

host_knew() { grep -F "image opened peer=$1 image=$SEALED_REF" "$HOST_LOG"; }

sockets_are_gone() { [ -z "$(find "$WORK" -maxdepth 1 -name '*.vsock*')" ]; }

work_dir vm
check "host's registry" registry_start registry
check "image sealed" seal
check "containerd and its snapshotter" node_start
check "containerd pulls, without layers and keys" node_pulls
# shellcheck disable=SC2016 # the container's shell expands
pod_runs sh -c 'echo "pod says $(sha256sum </data/random)"; touch /written; ls -l /written; echo "pod ends"'
noise=$(python3 -c 'import hashlib, random; print(hashlib.sha256(random.Random("busybox").randbytes(4 << 20)).hexdigest())')

first=${1:-6.12} second=${2:-6.1}
for kernel in "$first" "$second"; do
	check "kernel $kernel" vm_kernel "$kernel"
	check "machine $kernel" machine "$kernel"
done
check "$first boots, mounts, runs" first_boots "$first"
FIRST=("$VM_PID" "$VM_CONSOLE" "$VM_PEER")
mark=$(stat -c %s "$REGISTRY_LOG")
check "the node's daemon dies and is back" daemon_dies_and_is_back
check "$second boots beside it" second_boots "$second"
check "$first ends" first_ends
for machine in "first-$first" "second-$second"; do
	steps "$machine"
	check "$machine: both containers read what was sealed" container_said "$machine" "pod says $noise" 2
	check "$machine: they wrote to its memory" container_said "$machine" "/written" 2
	check "$machine: no network was there" no_network "$machine"
	check "$machine: what has keys is locked and not killed first" daemons_are_spared "$machine"
done
check "the host fetched no chunk for the others" fetched_no_blob "$mark"
check "the host knew the first machine" host_knew "${FIRST[2]}"
check "and the second" host_knew "$VM_PEER"
check "sockets went with the machines" eventually sockets_are_gone
checks_end
