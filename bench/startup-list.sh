#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a start-up list costs or gains: from the mount to the first output of a program, on a host that has nothing
# of the image, with the image sealed with a list and without one. The list is what strace(1) saw the program
# open and look up in the image without a list.
#
#   bench/startup-list.sh [-n ROUNDS] [-r RATE] [-i IMAGE] [-b DIR] [-f FRONT] [-c SIZE] [-o FILE]
#     -n ROUNDS   measurements of each row, in turn (default 5)
#     -r RATE     of the link to the registry, as tc(8) writes it (default: unshaped)
#     -i IMAGE    oci:DIR:TAG (default: Debian with python3 and numpy, made by test/images/make.py)
#     -b DIR      where the programs are (default: they are built)
#     -f FRONT    block or tree (default: block)
#     -c SIZE     of the guest's cache: the list is to fit (default: 64M)
#     -o FILE     the measurements as CSV (default: startup-list.csv)
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages link registry timed; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done
ROUNDS=5 RATE='' IMAGE='' COCOON_BIN='' FRONT=block CACHE=64M OUT=startup-list.csv
while getopts n:r:i:b:f:c:o:h option; do
	case $option in
	n) ROUNDS=$OPTARG ;;
	r) RATE=$OPTARG ;;
	i) IMAGE=$OPTARG ;;
	b) COCOON_BIN=$(realpath "$OPTARG") ;;
	f) FRONT=$OPTARG ;;
	c) CACHE=$OPTARG ;;
	o) OUT=$OPTARG ;;
	*) sed -n '/^#   bench/,/^#     -o/s/^# \{0,3\}//p' "$0" && exit 2 ;;
	esac
done

COMMAND=(/usr/bin/python3 -c 'import json, numpy; print("ok")')

run() { chroot "$WORK/mnt" /usr/bin/env -i PATH=/usr/bin:/bin LANG=C.UTF-8 "${COMMAND[@]}"; }

# Paths that were found, and the directories of those that were not.
make_list() {
	guest_mount "$FRONT" "$PLAIN" "$WORK/mnt" >"$WORK/list.log" 2>&1 || return
	interruptible strace -f -qq -e trace=%file -e signal=none -o "$WORK/strace" \
		chroot "$WORK/mnt" /usr/bin/env -i PATH=/usr/bin:/bin LANG=C.UTF-8 "${COMMAND[@]}" >/dev/null
	awk -F'"' 'after && $2 ~ /^\// { path = $2; if (/ENOENT/) sub(/[^\/]*$/, "", path); if (!seen[path]++) print path }
		/ chroot\(/ { after = 1 }' "$WORK/strace" >"$WORK/startup"
	guest_unmount "$WORK/mnt"
}

mount_and_run() {
	guest_mount "$FRONT" "$1" "$WORK/mnt" "$HOST_CHUNKS" --cache-size "$CACHE" 2>>"$WORK/guest.log" && echo mounted && run
}

# measure ROW REF
measure() {
	local bytes

	stop_daemon "$HOST_PID"
	rm -rf --one-file-system "$HOST_DIR"
	host_start host || return
	sync
	echo 3 >/proc/sys/vm/drop_caches
	cat "$COCOON_BIN"/cocoon* >/dev/null
	find "$REGISTRY_DIR/data" -type f -exec cat {} + >/dev/null
	bytes=$(link_bytes)
	timed_lines 2 120 mount_and_run "$2" && [ "${LINE_TEXT[1]}" = ok ] && timed_end 10 || return
	sleep 0.5 # what is still on its way
	echo "$1,${LINE_SECONDS[0]},${LINE_SECONDS[1]},$(($(link_bytes) - bytes))" | tee -a "$OUT"
	guest_unmount "$WORK/mnt"
}

need_packages run image test
work_dir bench-list
if [ -z "$IMAGE" ]; then
	interruptible "$SOURCE_DIR/test/images/make.py" debian "$WORK/image" >"$WORK/make-image.log" 2>&1
	IMAGE=oci:$WORK/image:latest
fi
if [ -z "$COCOON_BIN" ]; then
	need_packages build
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/build.sh"
	build_programs "$WORK/build"
fi
# shellcheck source=/dev/null
. "$SOURCE_DIR/test/lib/cocoon.sh"

link_start "$RATE"
registry_start registry link
keys_make
image_seal "$IMAGE" bench/plain:1 >"$WORK/plain.json"
PLAIN=$SEALED_REF
host_start host
make_list
image_seal "$IMAGE" bench/listed:1 --startup "$WORK/startup" >"$WORK/listed.json"
LISTED=$SEALED_REF
echo "row,seconds_to_mounted,seconds_to_first_output,bytes_from_registry" >"$OUT"
for ((round = 0; round < ROUNDS; round++)); do
	measure "without a list" "$PLAIN"
	measure "with a list" "$LISTED"
done
echo "link ${RATE:-unshaped}, $FRONT front, $(wc -l <"$WORK/startup") paths, $(nproc) CPUs, Linux $(uname -r)"
awk -F, 'NR > 1 { n[$1]++; t[$1, n[$1]] = $3 + 0; b[$1] = $4 }
	END { for (row in n) {
		for (i = 1; i <= n[row]; i++) for (j = i + 1; j <= n[row]; j++)
			if (t[row, j] < t[row, i]) { x = t[row, i]; t[row, i] = t[row, j]; t[row, j] = x }
		printf "%s: median %.3f s (%.3f to %.3f), %d bytes\n", row, t[row, int((n[row] + 1) / 2)], t[row, 1], t[row, n[row]], b[row] } }' "$OUT"
