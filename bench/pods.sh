# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# Many pods of one image at once on a host that has nothing of it: each has a guest's daemon of its own at the host's
# chunk socket. What comes from the registry is to be what one pod needs. To be sourced after measure.sh.
#
#   pods_measure IMAGE N LINK     an image whose workload prints its answer; sets PODS_RESULT, JSON

pods_measure() {
	local image=$1 n=$2 link=$3 bytes_of_one bytes seconds of_one

	use_image "$image" && [ -z "$REQUEST" ] && [ -n "${HOST_PID:-}" ] || return
	say "$n pods of $image at once"
	at_exit unmount_below "$WORK/pods"
	[ -z "$LOCK" ] || flock "$LOCK_FD"
	pods_start 1 || return
	bytes_of_one=$bytes of_one=$seconds
	pods_start "$n" || return
	[ -z "$LOCK" ] || flock -u "$LOCK_FD"
	PODS_RESULT=$(jq -nc --arg image "$image" --arg link "$link" --argjson n "$n" --argjson bytes "$bytes" \
		--argjson bytes_of_one "$bytes_of_one" --argjson seconds "$seconds" --argjson seconds_of_one "$of_one" '$ARGS.named')
}

# pods_start N: sets bytes and seconds, from the first mount to the last answer.
pods_start() {
	local n=$1 i pids=() began status=0

	cocoon_host_forgets || return
	settle cocoon cocoon-cold
	bytes=$(link_bytes)
	began=$EPOCHREALTIME
	for ((i = 0; i < n; i++)); do
		pod "$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || status=1
	done
	seconds=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))e-3
	sleep 1 # what is still on its way counts too
	bytes=$(($(link_bytes) - bytes))
	unmount_below "$WORK/pods"
	return "$status"
}

pod() {
	local dir=$WORK/pods/$1

	mkdir -p "$dir" &&
		"$COCOON" mount --front block --key "$KEY" --policy "$POLICY" --host "unix:$HOST_CHUNKS" \
			"$(sealed_ref cocoon-cold)" "$dir" >>"$WORK/pods.log" 2>&1 &&
		[ "$(chroot "$dir" /usr/bin/env -i PATH=/usr/bin:/bin "${COMMAND[@]}" 2>>"$WORK/pods.log")" = "$ANSWER" ]
}
