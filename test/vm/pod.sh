#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A pod's virtual machine, whole: a Debian kernel boots, Kata's agent (its stand-in) asks the guest daemon for an
# image, that reaches the host over a virtio socket and mounts it, and runc runs a container from it. There is no network in the
# machine, and the host's daemon has found the machine's socket by itself.
#
#   test/vm/pod.sh [KERNEL…]      6.1, 6.12
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon vm; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

seal() {
	image_make busybox && keys_make && image_seal "oci:$IMAGE_LAYOUT" vm/pod:1
}

# bundle COMMAND…: an OCI bundle without the root.
bundle() {
	mkdir -p "$WORK/bundle" && (cd "$WORK/bundle" && rm -f config.json && runc spec) &&
		jq --argjson args "$(printf '%s\n' "$@" | jq -Rn '[inputs]')" \
			'.process.terminal = false | .process.args = $args | .root.readonly = false
			| .linux.seccomp = null | del(.linux.cgroupsPath)
			| .linux.namespaces |= map(select(.type != "cgroup"))' \
			"$WORK/bundle/config.json" >"$WORK/config.json"
}

# machine FRONT: everything that the guest needs in one initramfs.
machine() {
	printf 'IMAGE=%s\nFRONT=%s\n' "$SEALED_REF" "$1" >"$WORK/pod.conf"
	vm_initramfs "$WORK/initramfs" "$here/guest/pod" usr/bin/cocoon-guestfs="$COCOON_BIN/cocoon-guestfs" \
		usr/bin/agent-pull="$COCOON_BUILD/test/vm/agent-pull" usr/sbin/runc="$(command -v runc)" keys/guest.pem="$KEYS/guest.pem" keys/policy.json="$POLICY" \
		pod/config.json="$WORK/config.json" pod.conf="$WORK/pod.conf"
}

# boot NAME: until the machine has ended by itself.
boot() {
	vm_start "$1" "$WORK/initramfs" && vm_end 120 && sed -n 's/^step: /  /p' "$VM_CONSOLE"
}

container_said() { grep -F "$1" "$VM_CONSOLE"; }

work_dir vm
check "host's registry" registry_start registry
check "image sealed" seal
host_start host 'chunks:' "  hybrid_sockets: [ \"$WORK/*.vsock\" ]"
# shellcheck disable=SC2016 # the container's shell expands
bundle sh -c 'echo "pod says $(sha256sum </data/random)"; touch /written; ls -l /written; echo "pod ends"'
noise=$(python3 -c 'import hashlib, random; print(hashlib.sha256(random.Random("busybox").randbytes(4 << 20)).hexdigest())')

[ $# -gt 0 ] || set -- 6.1 6.12
for kernel; do
	check "kernel $kernel" vm_kernel "$kernel"
	vm_kernel "$kernel"
	for front in auto tree; do
		check "machine $kernel, $front front" machine "$front"
		check "boots, mounts, runs" boot "$kernel-$front"
		check "the container read what was sealed" container_said "pod says $noise"
		check "and wrote to the machine's memory" container_said "/written"
		check "no network was there" grep -q 'networks: /sys/class/net/lo[[:space:]]*$' "$VM_CONSOLE"
		check "the host knew which machine it was" grep -F "image opened peer=hybrid:$VM_SOCKET image=$SEALED_REF" "$HOST_LOG"
	done
done
checks_end
