# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# Cocoon in local mode: the sealed image, lazily streamed by cocoon-snapshotter and mounted by the cocoon-guestfs
# that it starts.
#
#   * cocoon-cold             the host has nothing of the image
#   * cocoon-optimized-cold   the same, of an image that `cocoon optimize` made: it knows what its start touches
#   * cocoon-warm             the host's chunk cache has what an earlier container touched; the image, its mount and
#                             the page cache are gone
#     cocoon-optimized-warm   the same
#     cocoon-second           the image is mounted and was run once: one more container

cocoon_rows() { echo cocoon-cold cocoon-optimized-cold cocoon-warm cocoon-optimized-warm cocoon-second; }
cocoon_plugin() { echo "cocoon=$WORK/cocoon.sock"; }
cocoon_programs() { echo "$COCOON_BIN"/{cocoon,cocoon-snapshotter,cocoon-guestfs}; }
cocoon_keeps_cache() { [ "$1" = cocoon-second ]; }
cocoon_blobs() { sealed_tag "$1"; }
cocoon_pids() { echo "$HOST_PID" && host_guests; }
cocoon_wire() { host_counter cocoon_guest_bytes_total; }

# sealed_tag ROW: what this build of the programs has sealed for it.
sealed_tag() {
	local form=sealed

	[[ $1 != *-optimized-* ]] || form=optimized
	echo "$form-$COCOON_BUILD_ID"
}

sealed_ref() { echo "$REPOSITORY:$(sealed_tag "$1")"; }

# The processes that serve images of this daemon.
host_guests() { pgrep -f "^$COCOON_BIN/cocoon-guestfs .*$WORK/cocoon/mounts/" || true; }

host_counter() {
	curl -sSf "http://$METRICS/metrics" | awk -v name="$1" '$1 == name { printf "%.0f\n", $2 }'
}

cocoon_prepare() {
	# A mount outlives the daemon, by design; it is taken down after it.
	at_exit unmount_below "$WORK/cocoon"
	cocoon_host_start
}

cocoon_image() {
	local tag log=$WORK/convert-images.log

	tag=$(sealed_tag cocoon-cold)
	form_is "$tag" "$SOURCE_STAMP" || {
		image_seal "$SOURCE" "bench/$IMAGE:$tag" >"$CACHE/forms/$IMAGE.$tag.json" 2>>"$log" && form_done "$tag" "$SOURCE_STAMP"
	} || {
		SKIP="cocoon convert failed: $(tail -n 1 "$log")"
		return 1
	}
	tag=$(sealed_tag cocoon-optimized-cold)
	! wants '*-optimized-*' || form_is "$tag" "$SOURCE_STAMP ${COMMAND[*]}" || {
		cocoon_optimize "bench/$IMAGE:$tag" 2>>"$log" && form_done "$tag" "$SOURCE_STAMP ${COMMAND[*]}"
	} || {
		SKIP="cocoon optimize failed: $(tail -n 1 "$log")"
		return 1
	}
}

cocoon_optimize() {
	interruptible "$COCOON" optimize --plain-http --json --domain "$KEYS/domain.secret" --recipient "$KEYS/guest.pem.pub" \
		"$SOURCE" "$REGISTRY/$1" -- "${COMMAND[@]}" >"$WORK/summary.json" &&
		policy_add "$(jq -r .descriptor "$WORK/summary.json")"
}

cocoon_host_start() {
	METRICS=127.0.0.1:$(free_port)
	host_start cocoon 'local:' "  keys: [ \"$KEY\" ]" "  guestfs: \"$COCOON_BIN/cocoon-guestfs\"" 'metrics:' "  address: $METRICS" || {
		SKIP="cocoon-snapshotter does not start: $(tail -n 1 "$WORK/cocoon.log")"
		return 1
	}
	wait_socket "$METRICS" 20 "$HOST_PID"
}

cocoon_host_forgets() {
	stop_daemon "$HOST_PID"
	rm -rf --one-file-system "$WORK/cocoon"
	cocoon_host_start
}

cocoon_reset() {
	case $1 in
	cocoon-cold | cocoon-optimized-cold) cocoon_host_forgets && plugin_answers cocoon ;;
	# After an interleaved cold row the cache is warm already, and this changes nothing.
	cocoon-warm | cocoon-optimized-warm)
		plugin_answers cocoon && warm_up cocoon "$1" && cocoon_clean "$1" && plugin_answers cocoon
		;;
	cocoon-second)
		plugin_answers cocoon && cocoon_fetch "$1" >>"$WORK/cocoon-commands.log" 2>&1 && warm_up cocoon "$1"
		;;
	esac
}

cocoon_fetch() {
	peak cocoon "$COCOON" pull --plain-http --address "$CONTAINERD_ADDRESS" "$(sealed_ref "$1")"
}

cocoon_pull() { [ "$1" = cocoon-second ] || cocoon_fetch "$1"; }
cocoon_run() { container_run cocoon "$(sealed_ref "$1")" "$2" "${COMMAND[@]}"; }
cocoon_end() { ctr tasks kill -s KILL "$2"; }
cocoon_clean() { host_forgets cocoon "$(sealed_ref "$1")"; }
