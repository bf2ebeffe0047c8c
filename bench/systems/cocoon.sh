# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# Cocoon in local mode: the sealed image, lazily streamed by cocoon-snapshotter and mounted by the cocoon-guestfs
# that it starts.
#
#   * cocoon-cold    the host has nothing of the image
#   * cocoon-warm    the host's chunk cache has what an earlier container touched; the image, its mount and the page
#                    cache are gone
#     cocoon-second  the image is mounted and was run once: one more container

cocoon_rows() { echo cocoon-cold cocoon-warm cocoon-second; }
cocoon_plugin() { echo "cocoon=$WORK/cocoon.sock"; }
cocoon_programs() { echo "$COCOON_BIN"/{cocoon,cocoon-snapshotter,cocoon-guestfs}; }
cocoon_keeps_cache() { [ "$1" = cocoon-second ]; }
cocoon_blobs() { sealed_tag; }
cocoon_pids() { echo "$HOST_PID" && host_guests; }
cocoon_wire() { host_counter cocoon_guest_bytes_total; }

# Images that this build of the programs has sealed.
sealed_tag() { echo "sealed-$(sha256sum "$COCOON" | cut -c1-12)"; }

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

	tag=$(sealed_tag)
	! form_is "$tag" "$SOURCE_STAMP" || return 0
	{ image_seal "$SOURCE" "bench/$IMAGE:$tag" >"$CACHE/forms/$IMAGE.$tag.json" && form_done "$tag" "$SOURCE_STAMP"; } 2>>"$log" || {
		SKIP="cocoon convert failed: $(tail -n 1 "$log")"
		return 1
	}
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
	cocoon-cold) cocoon_host_forgets && plugin_answers cocoon ;;
	# After an interleaved cold row the cache is warm already, and this changes nothing.
	cocoon-warm) plugin_answers cocoon && warm_up cocoon "$1" && cocoon_clean "$1" && plugin_answers cocoon ;;
	cocoon-second) plugin_answers cocoon && cocoon_fetch >>"$WORK/cocoon-commands.log" 2>&1 && warm_up cocoon "$1" ;;
	esac
}

cocoon_fetch() {
	peak cocoon "$COCOON" pull --plain-http --address "$CONTAINERD_ADDRESS" "$REPOSITORY:$(sealed_tag)"
}

cocoon_pull() { [ "$1" = cocoon-second ] || cocoon_fetch; }
cocoon_run() { container_run cocoon "$REPOSITORY:$(sealed_tag)" "$2" "${COMMAND[@]}"; }
cocoon_end() { ctr tasks kill -s KILL "$2"; }
cocoon_clean() { host_forgets cocoon "$REPOSITORY:$(sealed_tag)"; }
