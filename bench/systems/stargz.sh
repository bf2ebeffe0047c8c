# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# stargz-snapshotter, lazily pulled eStargz images: converted as they are
# (stargz), and with the files that the command opens moved to the front and
# prefetched (stargz-optimized).

stargz_rows() { echo stargz stargz-optimized; }

stargz_plugin() { echo "stargz=$WORK/stargz.sock"; }

stargz_programs() { echo ctr-remote "$STARGZ_DAEMON"; }

stargz_image() {
	case $1 in
	stargz) echo "$REPOSITORY:estargz" ;;
	stargz-optimized) echo "$REPOSITORY:estargz-optimized" ;;
	esac
}

# Conversion is done in another containerd, so that the measured one has never
# seen the image.
stargz_prepare() {
	local entrypoint measured=$CONTAINERD_ADDRESS measured_dir=$CONTAINERD_DIR target status=0

	STARGZ_DAEMON=$("$BENCH/peers/build.sh")/stargz-daemon || {
		SKIP="stargz-daemon does not build"
		return 1
	}
	containerd_start convert || return
	{
		ctr images pull --plain-http "$SOURCE" &&
			target=$(stargz_image stargz) &&
			interruptible ctr-remote images convert --estargz --oci "$SOURCE" "$target" &&
			ctr images push --plain-http "$target"
	} >>"$WORK/convert-images.log" 2>&1 || status=1
	STARGZ_OPTIMIZED=
	target=$(stargz_image stargz-optimized)
	entrypoint=$(jq -cn '$ARGS.positional' --args -- "${COMMAND[@]}")
	# It records what the command opens; a command that fails opens the wrong files.
	if interruptible ctr-remote images optimize --oci --period 5 \
		--entrypoint "$entrypoint" --args '[]' \
		"$SOURCE" "$target" >>"$WORK/convert-images.log" 2>&1 &&
		! grep -q 'container exit with code [1-9]' "$WORK/convert-images.log" &&
		ctr images push --plain-http "$target" >>"$WORK/convert-images.log" 2>&1; then
		STARGZ_OPTIMIZED=1
	fi
	containerd_stop_tasks "$CONTAINERD_ADDRESS" "$CONTAINERD_DIR"
	stop_daemon "$CONTAINERD_PID"
	export CONTAINERD_ADDRESS=$measured
	CONTAINERD_DIR=$measured_dir
	[ "$status" = 0 ] || {
		SKIP="ctr-remote images convert failed: $(tail -n 1 "$WORK/convert-images.log")"
		return 1
	}
}

stargz_daemon_start() {
	start_daemon stargz "$STARGZ_DAEMON" -plain-http -address "$WORK/stargz.sock" -root "$WORK/stargz"
	STARGZ_PID=$STARTED_PID
	wait_socket "$WORK/stargz.sock" 20 "$STARGZ_PID"
}

stargz_reset() {
	if [ "$1" = stargz-optimized ] && [ -z "$STARGZ_OPTIMIZED" ]; then
		SKIP="ctr-remote images optimize failed: $(tail -n 1 "$WORK/convert-images.log")"
		return 1
	fi
	stargz_daemon_start && plugin_answers stargz
}

stargz_cold_start() {
	local image

	image=$(stargz_image "$1")
	ctr-remote images rpull --plain-http --snapshotter stargz "$image" >&2
	echo pulled
	container_run stargz "$image" "$2" "${COMMAND[@]}"
}

# The daemon's cache has no command to empty it, so a new daemon on a new
# directory follows; and a running one would fetch the rest of the image while
# the next system is measured.
stargz_clean() {
	host_forgets stargz "$(stargz_image "$1")" || return
	stop_daemon "$STARGZ_PID"
	rm -rf --one-file-system "$WORK/stargz"
}
