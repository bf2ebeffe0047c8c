#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What `cocoon optimize` gains: from the mount to the first output of a program, on a host that has nothing of the
# image, with the image sealed as it is and optimized; and what is fetched for that: bytes from the registry, its
# requests, the guest's requests, against what the program touches.
#
#   bench/startup-list.sh [-n ROUNDS] [-r RATE] [-i IMAGE] [-b DIR] [-f FRONT] [-c SIZE] [-o FILE] [COMMAND ARGUMENT…]
#     -n ROUNDS   measurements of each row, in turn (default 5)
#     -r RATE     of the link to the registry, as tc(8) writes it (default: unshaped)
#     -i IMAGE    oci:DIR:TAG (default: Debian with python3 and numpy, made by test/images/make.py)
#     -b DIR      where the programs are (default: they are built)
#     -f FRONT    block or tree (default: block)
#     -c SIZE     of the guest's cache: the list is to fit (default: 64M)
#     -o FILE     the measurements as CSV (default: startup-list.csv)
#   COMMAND prints "ok" as its first line (default: python3 with json and numpy).
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
	*) sed -n '/^#   bench/,/^#   COMMAND/s/^# \{0,3\}//p' "$0" && exit 2 ;;
	esac
done
shift $((OPTIND - 1))
COMMAND=("$@")
[ $# != 0 ] || COMMAND=(/usr/bin/python3 -c 'import json, numpy; print("ok")')

run() { chroot "$WORK/mnt" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${COMMAND[@]}"; }

# Through a relay that keeps what the guest asks for.
mount_and_run() {
	guest_mount "$FRONT" "$1" "$WORK/mnt" "$WORK/relay.sock" --cache-size "$CACHE" 2>>"$WORK/guest.log" && echo mounted && run
}

# measure ROW REF
measure() {
	local bytes log_size requests relay

	stop_daemon "$HOST_PID"
	rm -rf --one-file-system "$HOST_DIR"
	host_start host || return
	rm -f "$WORK"/relay.*
	start_daemon relay-log "$SOURCE_DIR/test/lib/record.py" "$WORK/relay.sock" "$HOST_CHUNKS" "$WORK/relay"
	relay=$STARTED_PID
	wait_socket "$WORK/relay.sock" 20 "$relay" || return
	sync
	echo 3 >/proc/sys/vm/drop_caches
	cat "$COCOON_BIN"/cocoon* >/dev/null
	find "$REGISTRY_DIR/data" -type f -exec cat {} + >/dev/null
	bytes=$(link_bytes)
	log_size=$(stat -c %s "$REGISTRY_LOG")
	timed_lines 2 120 mount_and_run "$2" && [ "${LINE_TEXT[1]}" = ok ] && timed_end 10 || return
	bytes=$(($(link_bytes) - bytes))
	requests=$(registry_traffic "$log_size")
	echo "$1,${LINE_SECONDS[0]},${LINE_SECONDS[1]},$bytes,${requests#* },$("$SOURCE_DIR/test/leak/traffic.py" requests "$WORK/relay" | wc -l)" |
		tee -a "$OUT"
	guest_unmount "$WORK/mnt"
	stop_daemon "$relay"
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
image_optimize "$IMAGE" bench/optimized:1 "${COMMAND[@]}" >"$WORK/optimized.json"
OPTIMIZED=$SEALED_REF
host_start host
echo "row,seconds_to_mounted,seconds_to_first_output,bytes_from_registry,registry_requests,guest_requests" >"$OUT"
for ((round = 0; round < ROUNDS; round++)); do
	measure "not optimized" "$PLAIN"
	measure "optimized" "$OPTIMIZED"
done
echo "link ${RATE:-unshaped}, $FRONT front, $(nproc) CPUs, Linux $(uname -r)"
jq -r '"touched \(.touched_bytes) bytes, read ahead \(.ahead_bytes), list \(.listed_chunks) chunks in \(.listed_bytes) bytes"' "$WORK/optimized.json"
awk -F, 'NR > 1 { n[$1]++; t[$1, n[$1]] = $3 + 0; b[$1] = $4; q[$1] = $5; g[$1] = $6 }
	END { for (row in n) {
		for (i = 1; i <= n[row]; i++) for (j = i + 1; j <= n[row]; j++)
			if (t[row, j] < t[row, i]) { x = t[row, i]; t[row, i] = t[row, j]; t[row, j] = x }
		printf "%s: median %.3f s (%.3f to %.3f), last: %d bytes, %d requests to the registry, %d of the guest\n",
			row, t[row, int((n[row] + 1) / 2)], t[row, 1], t[row, n[row]], b[row], q[row], g[row] } }' "$OUT"
