# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# Cocoon in local mode: the sealed image, lazily streamed by cocoon-snapshotter
# and mounted by the cocoon-guestfs that it starts. cocoon-cold: the host has
# nothing of the image. cocoon-warm: the host's chunk cache has what an earlier
# container touched; the image, its mount and the page cache are gone.

cocoon_rows() { echo cocoon-cold cocoon-warm; }

cocoon_plugin() { echo "cocoon=$WORK/cocoon.sock"; }

cocoon_programs() {
	echo "$COCOON_BIN/cocoon" "$COCOON_BIN/cocoon-snapshotter" "$COCOON_BIN/cocoon-guestfs"
}

cocoon_prepare() {
	local program

	for program in $(cocoon_programs); do
		[ -x "$program" ] || {
			SKIP="$program is not there (give -b DIR)"
			return 1
		}
	done
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/cocoon.sh"
	{ keys_make && image_seal "$SOURCE" bench/image:sealed; } >>"$WORK/convert-images.log" 2>&1 || {
		SKIP="cocoon convert failed: $(tail -n 1 "$WORK/convert-images.log")"
		return 1
	}
	# A mount outlives the daemon, by design; it is taken down after it.
	at_exit unmount_below "$WORK/cocoon"
	cocoon_host_start
}

cocoon_host_start() {
	host_start cocoon 'local:' "  keys: [ \"$KEY\" ]" "  guestfs: \"$COCOON_BIN/cocoon-guestfs\"" || {
		SKIP="cocoon-snapshotter does not start: $(tail -n 1 "$WORK/cocoon.log")"
		return 1
	}
}

cocoon_reset() {
	case $1 in
	cocoon-cold)
		stop_daemon "$HOST_PID"
		rm -rf --one-file-system "$WORK/cocoon"
		cocoon_host_start || return
		;;
	cocoon-warm)
		# An unmeasured start on a cold host is what has warmed the cache; after
		# an interleaved cold row it is warm already, and this changes nothing.
		plugin_answers cocoon &&
			cocoon_cold_start "$1" warming >/dev/null 2>>"$WORK/cocoon-commands.log" &&
			cocoon_clean "$1" || return
		;;
	esac
	plugin_answers cocoon
}

cocoon_cold_start() {
	"$COCOON" pull --plain-http --address "$CONTAINERD_ADDRESS" "$SEALED_REF" >&2
	echo pulled
	container_run cocoon "$SEALED_REF" "$2" "${COMMAND[@]}"
}

cocoon_clean() {
	host_forgets cocoon "$SEALED_REF"
}
