# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2153
#
# What a workload touches of its image until its answer, once for each image: it runs from the exported EROFS image on
# a loop device without readahead, so that the page cache holds the blocks that it asked for and no others. To be
# sourced after measure.sh and systems/tee.sh.
#
#   touched_measure         of the image in use; kept in the cache as forms/IMAGE.touched.json

touched_measure() {
	local stamp="$SOURCE_STAMP ${COMMAND[*]}" loop read status=0

	! form_is touched "$stamp" || return 0
	image_export && mkdir -p "$WORK/guest"/{memory,image,root} || return
	at_exit unmount_below "$WORK/guest"
	echo 3 >/proc/sys/vm/drop_caches
	loop=$(losetup --find --show --read-only "$CACHE/exports/$IMAGE.erofs") &&
		read -ra read <"/sys/block/${loop#/dev/}/stat" &&
		echo 0 >"/sys/block/${loop#/dev/}/queue/read_ahead_kb" &&
		mount -t erofs -o ro "$loop" "$WORK/guest/image" && losetup --detach "$loop" || return # with the mount
	tee_bundle && start_to_answer touched touched touched || status=1
	# before the end of the program, which may touch more
	[ "$status" != 0 ] || {
		"$BENCH/touched.py" "$WORK/guest/image" "$loop" "${read[2]}" >"$CACHE/forms/$IMAGE.touched.json" || status=1
	}
	start_end touched touched touched || status=1
	unmount_below "$WORK/guest"
	[ "$status" = 0 ] && form_done touched "$stamp"
}

# The start, in the form of a file of systems.
touched_pull() {
	local memory=$WORK/guest/memory

	mount -t overlay -o "lowerdir=$WORK/guest/image,upperdir=$memory/upper,workdir=$memory/work" overlay "$WORK/guest/root"
}

touched_run() { tee_run "$@"; }
touched_end() { tee_end "$@"; }

# Of all images, as JSON.
touched_all() {
	local image

	for image in $IMAGES; do
		[ ! -s "$CACHE/forms/$image.touched.json" ] || jq --arg image "$image" '{($image): .}' "$CACHE/forms/$image.touched.json"
	done | jq -s add
}
