#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A pod's virtual machine against a host that lies, over a real virtio socket: cases of test/hostile, one boot for all. The guest looks
# at what it gets (guest/hostile): right, or an I/O error, or nothing is mounted at all.
#
#   test/vm/hostile.sh [KERNEL]      6.12
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check vm; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

liars_start() {
	mkdir "$WORK/image"
	start_daemon liars "$here/liars.py" "$COCOON_BIN/cocoon" "$WORK/image" "$WORK/lies.vsock"
	LIARS_PID=$STARTED_PID
	for ((i = 0; i < 600; i++)); do
		! grep -qsx ready "$WORK/liars.log" || return 0
		process_runs "$LIARS_PID" || break
		sleep 0.05
	done
	tail -n 20 "$WORK/liars.log" >&2
	return 1
}

machine() {
	local guest=$WORK/image/guest

	vm_initramfs "$WORK/initramfs" "$here/guest/hostile" usr/bin/cocoon-guestfs="$COCOON_BIN/cocoon-guestfs" \
		usr/bin/agent-pull="$COCOON_BUILD/test/vm/agent-pull" door="$here/guest/door" pod.conf="$guest/pod.conf" \
		keys/image.key="$guest/image.key" keys/policy.json="$guest/policy.json" hostile/cases="$guest/cases" \
		hostile/sums="$guest/sums" hostile/names="$guest/names" hostile/victim="$guest/victim"
}

# The liars listen where the sockets of a machine with vm-vsock are.
boot() { VM_VSOCK=unix vm_start lies "$WORK/initramfs" && vm_end 500; }

# Of each case the guest has said how it went.
guest_said() { grep -E "^step: [0-9.]+ ok $1 $2:" "$VM_CONSOLE"; }

# The liars say whether they were asked, and for no more than what had to be.
liars_said() {
	kill -TERM "$LIARS_PID"
	wait "$LIARS_PID" || {
		cat "$WORK/liars.log"
		return 1
	}
}

work_dir vmh
check "kernel ${1:-6.12}" vm_kernel "${1:-6.12}"
vm_kernel "${1:-6.12}"
check "liars" liars_start
check "machine" machine
check "boots, ends well" boot || true
while read -r _ name outcome front _; do
	check "$name, $front: $outcome" guest_said "$name" "$front" || true
done <"$WORK/image/guest/cases"
check "every lie was told" liars_said || true
checks_end
