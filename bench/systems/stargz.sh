# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# stargz-snapshotter: lazily pulled eStargz images.
#
#   * stargz                   converted as they are; the rest is fetched in the background
#     stargz-quiet             without background fetch
#   * stargz-optimized         what the command opens is moved to the front and prefetched
#     stargz-optimized-quiet   the same without background fetch

stargz_rows() { echo stargz stargz-quiet stargz-optimized stargz-optimized-quiet; }
stargz_plugin() { echo "stargz=$WORK/stargz.sock"; }
stargz_programs() { echo ctr-remote "$STARGZ_DAEMON"; }
stargz_keeps_cache() { false; }
stargz_wire() { :; }
stargz_pids() { echo "$STARGZ_PID"; }

stargz_tag() {
	case $1 in
	stargz | stargz-quiet) echo estargz ;;
	*) echo estargz-optimized ;;
	esac
}

stargz_blobs() { stargz_tag "$1"; }

stargz_prepare() {
	STARGZ_DAEMON=$("$BENCH/peers/build.sh")/stargz-daemon || {
		SKIP="stargz-daemon does not build"
		return 1
	}
}

# Conversion is done in another containerd, so that the measured one has never seen the image.
stargz_image() {
	local measured=$CONTAINERD_ADDRESS measured_dir=$CONTAINERD_DIR measured_pid=$CONTAINERD_PID log=$WORK/convert-images.log status=0
	local version stamp

	version=$(dpkg-query -W -f '${Version}' stargz-snapshotter)
	stamp="$version $SOURCE_STAMP ${COMMAND[*]}"
	! form_is estargz "$stamp" || return 0
	containerd_start convert || return
	at_exit stargz_unmount
	{
		ctr images pull --plain-http "$SOURCE" &&
			interruptible ctr-remote images convert --estargz --oci "$SOURCE" "$REPOSITORY:estargz" &&
			ctr images push --plain-http "$REPOSITORY:estargz"
	} >>"$log" 2>&1 && stargz_optimize "$log" && form_done estargz "$stamp" || status=1
	containerd_stop_tasks "$CONTAINERD_ADDRESS" "$CONTAINERD_DIR"
	stop_daemon "$CONTAINERD_PID"
	rm -rf --one-file-system "$CONTAINERD_DIR"
	export CONTAINERD_ADDRESS=$measured
	CONTAINERD_DIR=$measured_dir CONTAINERD_PID=$measured_pid
	[ "$status" = 0 ] || SKIP="ctr-remote failed: $(tail -n 1 "$log")"
	return "$status"
}

# ctr-remote mounts what it converts below /tmp and, interrupted, leaves it there.
stargz_unmount() {
	awk -v from="$WORK/convert/" 'index($0, from) { print $5 }' /proc/self/mountinfo | xargs -r umount
}

# It records what the command opens in ten seconds; a command that fails opens the wrong files.
stargz_optimize() {
	local entrypoint target=$REPOSITORY:estargz-optimized

	entrypoint=$(jq -cn '$ARGS.positional' --args -- "${COMMAND[@]}")
	interruptible ctr-remote images optimize --oci --period 10 --entrypoint "$entrypoint" --args '[]' \
		"$SOURCE" "$target" >"$WORK/optimize.log" 2>&1 &&
		{ [ -n "$REQUEST" ] || ! grep -q 'container exit with code [1-9]' "$WORK/optimize.log"; } &&
		ctr images push --plain-http "$target" >>"$1" 2>&1 || {
		cat "$WORK/optimize.log" >>"$1"
		return 1
	}
}

# The daemon's cache has no command to empty it, so a new daemon on a new directory comes each time; and one that
# runs on would fetch the rest of the image while the next system is measured.
stargz_reset() {
	local quiet=()

	[[ $1 != *-quiet ]] || quiet=(-no-background-fetch)
	start_daemon stargz "$STARGZ_DAEMON" -plain-http "${quiet[@]}" -address "$WORK/stargz.sock" -root "$WORK/stargz"
	STARGZ_PID=$STARTED_PID
	wait_socket "$WORK/stargz.sock" 20 "$STARGZ_PID" && plugin_answers stargz
}

stargz_pull() {
	peak ctr-remote ctr-remote images rpull --plain-http --snapshotter stargz "$REPOSITORY:$(stargz_tag "$1")"
}

stargz_run() { container_run stargz "$REPOSITORY:$(stargz_tag "$1")" "$2" "${COMMAND[@]}"; }
stargz_end() { ctr tasks kill -s KILL "$2"; }

stargz_clean() {
	local status=0

	host_forgets stargz "$REPOSITORY:$(stargz_tag "$1")" || status=1
	stop_daemon "$STARGZ_PID"
	rm -rf --one-file-system "$WORK/stargz"
	return "$status"
}
