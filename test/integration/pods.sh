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

# The image is sealed for a key in the guest and for one that the hub unwraps.
seal() {
	local provider=$here/../lib/key_provider.py

	head -c 32 /dev/urandom >"$WORK/kek" && mkdir "$WORK/hub" && echo list >"$WORK/hub/style" &&
		printf '{ "key-providers": { "attestation-agent": { "cmd": { "path": "%s", "args": [ "wrap", "%s" ] } } } }' \
			"$provider" "$WORK/kek" >"$WORK/ocicrypt.conf" || return
	export OCICRYPT_KEYPROVIDER_CONFIG=$WORK/ocicrypt.conf
	image_make busybox && keys_make && "$COCOON" keygen recipient "$KEYS/other.pem" &&
		registry_push "oci:$IMAGE_LAYOUT" pods/unsealed:1 && UNSEALED_REF=$REGISTRY/pods/unsealed:1 &&
		image_seal "oci:$IMAGE_LAYOUT" pods/denied:1 && DENIED_REF=$SEALED_REF && rm "$POLICY" &&
		image_seal "oci:$IMAGE_LAYOUT" pods/image:1 --image-key "$KEYS/image.key" \
			--recipient provider:attestation-agent:keyid=kbs:///test/key/1
}

# serve_start [KEY [OPTION…]]
serve_start() {
	local key=${1:-$KEY}
	shift $(($# > 1 ? 1 : $#))

	start_daemon serve "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/agent.sock" --cdh "unix:$WORK/cdh.sock" \
		--bundles "$WORK/bundles" --state "$WORK/memory/pods" --policy "$POLICY" --key "$key" \
		--host "unix:$HOST_CHUNKS" "$@"
	SERVE_PID=$STARTED_PID
	wait_socket "$WORK/agent.sock" 10 "$SERVE_PID"
}

# served_with KEY OPTION… -- CASE
served_with() {
	local options=() status=0

	stop_daemon "$SERVE_PID"
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	serve_start "${options[@]}" && agent "$2" || status=$?
	stop_daemon "$SERVE_PID"
	serve_start && return "$status"
}

agent() {
	export SERVE_PID HOST_PID WORK UNSEALED_REF
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

# "--key cdh" needs to know where the hub is, and is never the door itself.
refuses_no_hub() {
	! "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/other.sock" --policy "$POLICY" --key cdh 2>"$WORK/hub.log" &&
		grep 'needs --cdh' "$WORK/hub.log" &&
		! "$COCOON_BIN/cocoon-guestfs" serve --listen "unix:$WORK/other.sock" --policy "$POLICY" \
			--key "cdh:unix:$WORK/other.sock" 2>"$WORK/hub.log" && grep 'of itself' "$WORK/hub.log" &&
		! "$COCOON_BIN/cocoon-guestfs" serve --policy "$POLICY" --key "$KEY" --cdh vsock:2:1 2>"$WORK/hub.log" &&
		grep 'is the host' "$WORK/hub.log" &&
		! "$COCOON_BIN/cocoon-guestfs" serve --policy "$POLICY" --key "$KEY" --unsealed cdh 2>"$WORK/hub.log" &&
		grep 'needs --cdh' "$WORK/hub.log"
}

# Neither the process that has the connections nor the door ever has a key, and with an image goes what had its own.
keys_in_memory() {
	local pids

	mkdir -p "$WORK/secrets" && sed -n 2p "$KEYS/image.key" | base64 -d >"$WORK/secrets/image.key" &&
		sed -n 2p "$KEYS/guest.pem" | base64 -d | tail -c 100 | head -c 32 >"$WORK/secrets/guest.key" || return
	agent stays_behind || return
	mapfile -t pids < <(served_pids)
	echo "${#pids[@]} processes"
	[ "${#pids[@]}" -ge 4 ] && "$here/../lib/search.py" find "$WORK/secrets" "${pids[@]/#/pid:}" && agent stayed || return
	all_gone && mapfile -t pids < <(served_pids) && [ "${#pids[@]}" = 2 ] &&
		"$here/../lib/search.py" find "$WORK/secrets" "${pids[@]/#/pid:}" && echo "2 processes are left"
}

served_pids() { pgrep -f "cocoon-guestfs .*$WORK/memory/pods"; }

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

for case in hands_on many_streams large_messages torn hub_away hub_restarts hub_in_time pulls; do
	check "$case" agent $case || true
done
check "all gone after the agent's unmount" all_gone || true
check "many_pulls" agent many_pulls || true
for case in refuses unsealed in_time door_killed door_killed_in_a_pull door_killed_often door_replaced; do
	check "$case" agent $case || true
done
check "all gone" all_gone || true
check "killed, restarted" killed_and_restarted || true
check "all gone after the restart" all_gone || true
check "no_key" served_with "recipient:$KEYS/other.pem" -- no_key || true
check "host_away" served_with "$KEY" --host "unix:$WORK/nobody.sock" -- host_away || true
check "unsealed_to_hub" served_with "$KEY" --unsealed cdh -- unsealed_to_hub || true
check "key_from_hub" served_with cdh -- key_from_hub || true
check "keys in memory" keys_in_memory || true
check "refuses hubs that are none" refuses_no_hub || true
check "refuses a writable layer on disk" refuses_disk || true
check "refuses to run without a policy" refuses_no_policy || true
checks_end
