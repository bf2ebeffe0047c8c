#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `cocoon-guestfs serve`: Kata's agent asks it to pull images into bundles, and for all that the Confidential Data Hub
# does. Agent and hub are stand-ins that speak the same ttrpc (pods.py); registry, host and mounts are real.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

seal() {
	image_make busybox && keys_make && image_seal "oci:$IMAGE_LAYOUT" pods/denied:1 && DENIED_REF=$SEALED_REF &&
		rm "$POLICY" && image_seal "oci:$IMAGE_LAYOUT" pods/image:1
}

serve_start() {
	start_daemon serve "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/agent.sock" --cdh "unix:$WORK/cdh.sock" \
		--bundles "$WORK/bundles" --state "$WORK/memory/pods" --policy "$POLICY" --key "$KEY" \
		--host "unix:$HOST_CHUNKS"
	SERVE_PID=$STARTED_PID
	wait_socket "$WORK/agent.sock" 10 "$SERVE_PID"
}

agent() {
	interruptible "$here/pods.py" "$WORK/agent.sock" "$WORK/cdh.sock" "$WORK/bundles" "$SEALED_REF" "$DENIED_REF" "$1"
}

# Nothing of any pod is left: no daemon, no directory, no mount.
all_gone() {
	local i

	for ((i = 0; i < 100; i++)); do
		if [ -z "$(ls -A "$WORK/memory/pods")" ] && ! grep -q "$WORK/bundles" /proc/self/mountinfo &&
			! pgrep -f "cocoon-guestfs .*$WORK/memory/pods/" >/dev/null; then
			return 0
		fi
		sleep 0.1
	done
	ls -lR "$WORK/memory/pods"
	pgrep -af "$WORK/memory/pods/"
	return 1
}

refuses_disk() {
	! "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/other.sock" --state "$WORK/disk" --policy "$POLICY" \
		--key "$KEY" --host "unix:$HOST_CHUNKS" 2>"$WORK/disk.log" && grep 'not on tmpfs' "$WORK/disk.log"
}

refuses_no_policy() {
	! "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/other.sock" --key "$KEY" 2>"$WORK/policy.log" &&
		grep 'policy' "$WORK/policy.log"
}

killed_and_restarted() {
	agent stays_behind && kill -KILL "$SERVE_PID" && stop_daemon "$SERVE_PID" && serve_start && agent stayed
}

work_dir pods
registry_start registry
check "image sealed" seal
NOISE=$(python3 -c 'import hashlib, random; print(hashlib.sha256(random.Random("busybox").randbytes(4 << 20)).hexdigest())')
export NOISE
host_start host
mkdir "$WORK/bundles" "$WORK/memory" "$WORK/disk"
mount -t tmpfs -o size=64m cocoon-test "$WORK/memory"
at_exit unmount "$WORK/memory"
at_exit unmount_below "$WORK/memory"
at_exit unmount_below "$WORK/bundles"
serve_start

for case in hands_on many_streams large_messages hub_away pulls; do
	check "$case" agent $case || true
done
check "all gone after the agent's unmount" all_gone || true
check "many_pulls" agent many_pulls || true
check "refuses" agent refuses || true
check "all gone" all_gone || true
check "killed, restarted" killed_and_restarted || true
check "all gone after the restart" all_gone || true
check "refuses a writable layer on disk" refuses_disk || true
check "refuses to run without a policy" refuses_no_policy || true
checks_end
