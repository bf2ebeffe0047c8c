#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The memory of cocoon-guestfs is bounded: under 16 MiB at rest, and under load at most --cache-size and 16 MiB
# more, both processes together, however many files there are and are read at once. bench/guest-memory.sh has the
# figures for larger images.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
FILES=20000
CACHE_KIB=8192
REST_KIB=16384

prepare() {
	keys_make && registry_start registry && host_start host &&
		"$here/../../bench/many-files.py" "$FILES" "$WORK/layout" &&
		image_seal "oci:$WORK/layout" memory/files:1 >/dev/null
}

rss() {
	local pid sum=0

	for pid in $(process_tree "$GUEST"); do
		sum=$((sum + $(awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
	done
	echo "$sum"
}

# at_most KIB
at_most() {
	local now

	now=$(rss)
	echo "$now KiB, at most $1"
	[ "$now" -le "$1" ]
}

mount_at_rest() {
	guest_mount "$1" "$SEALED_REF" "$WORK/mnt" "$HOST_CHUNKS" --cache-size "${CACHE_KIB}K" &&
		GUEST=$(guest_pids "$WORK/mnt") && ls "$WORK/mnt" >/dev/null && at_most "$REST_KIB"
}

# Every file, 32 at a time, while somebody looks.
under_load() {
	local load most=0 now

	find "$WORK/mnt" -type f -print0 | xargs -0 -P 32 -n 100 cat >/dev/null &
	load=$!
	while process_runs "$load"; do
		now=$(rss)
		[ "$now" -le "$most" ] || most=$now
		sleep 0.1
	done
	wait "$load" || return
	echo "$most KiB, at most $((CACHE_KIB + REST_KIB))"
	[ "$most" -le $((CACHE_KIB + REST_KIB)) ]
}

work_dir memory
check "an image of $FILES files" prepare
for front in block tree; do
	check "$front: at rest" mount_at_rest "$front" || continue
	check "$front: under load" under_load || true
	check "$front: after it" at_most $((CACHE_KIB + REST_KIB)) || true
	check "$front: umount" guest_unmount "$WORK/mnt" || true
done
checks_end
