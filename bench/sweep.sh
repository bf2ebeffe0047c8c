#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where chunks end and how hard they are compressed, against what it costs: bytes in the registry, bytes that a
# cold start needs (chunks that hold what it touches, no readahead), the work of a random 4 KiB read (the chunk it
# opens, from memory), how much an updated image shares with the one before, and CPU time of sealing. Each cell
# is the publisher's own code, compiled with other numbers.
#
#   bench/sweep.sh [-i IMAGE] [-u IMAGE] [-c COMMAND] [-w PREFIX] [-o DIR] [CELL…]
#     -i IMAGE    oci:DIR:TAG (default: debian of test/images/make.py)
#     -u IMAGE    the same after updates (default: debian-updated)
#     -c COMMAND  what is started in it (default: python3 that imports numpy)
#     -w PREFIX   a command to run each measurement under
#     -o DIR      for sweep.csv and sweep.md (default: the current directory)
#     CELL        MIN/MAX/LARGE/BLOCK-BITS/SMALL-BITS/LEVEL, sizes in KiB (default: those of CELLS below)
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done

usage() {
	sed -n '/^#   bench/,/^#     CELL/s/^# \{0,3\}//p' "$0"
	exit "$1"
}

CELLS=(
	# chunk size
	16/64/64/2/1/3 16/128/64/3/1/3 32/128/64/3/1/3 32/256/128/4/2/3 64/256/128/4/2/3 64/512/128/5/2/3
	128/512/128/5/2/3 128/1024/256/6/3/3 256/1024/256/6/3/3
	# packing
	64/512/128/5/1/3 64/512/128/5/3/3 64/512/64/5/2/3 64/512/256/5/2/3
	# level
	64/512/128/5/2/1 64/512/128/5/2/2 64/512/128/5/2/5 64/512/128/5/2/7 64/512/128/5/2/9 64/512/128/5/2/12
)
IMAGE='' UPDATED='' COMMAND="python3 -c 'import json, numpy'" PREFIX=() OUT=$PWD
while getopts i:u:c:w:o:h option; do
	case $option in
	i) IMAGE=$OPTARG ;;
	u) UPDATED=$OPTARG ;;
	c) COMMAND=$OPTARG ;;
	w) read -ra PREFIX <<<"$OPTARG" ;;
	o) OUT=$OPTARG ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || CELLS=("$@")

log() { echo "$(date +%T) $*" >&2; }

# set_number FILE NAME VALUE: in the copy of the sources
set_number() {
	sed -i -E "s|^#define $2 [^/]*|#define $2 $3 |" "$WORK/source/$1"
	grep -q "^#define $2 $3 " "$WORK/source/$1"
}

build_cell() {
	local min max large block_bits small_bits level

	IFS=/ read -r min max large block_bits small_bits level <<<"$1"

	set_number publisher/cutter.h CUT_MIN "($min << 10)"
	set_number publisher/cutter.h CUT_MAX "($max << 10)"
	set_number publisher/cutter.h CUT_LARGE_FILE "($large << 10)"
	set_number publisher/cutter.c BLOCK_BITS "$block_bits"
	set_number publisher/cutter.c SMALL_FILE_BITS "$small_bits"
	set_number publisher/seal_pool.h SEAL_POOL_CHUNK "($((max > 512 ? max : 512)) << 10)"
	LEVEL=$level
	interruptible cmake --build "$WORK/build" --target cut >"$WORK/build.log" 2>&1
}

# What the command touches: the kernel's own EROFS on the exported image, without readahead.
touched() {
	local device

	"$WORK/bin/cocoon" keygen image "$WORK/key"
	interruptible "$WORK/bin/cocoon" convert --quiet --image-key "$WORK/key" "$IMAGE" "oci:$WORK/sealed" 2>/dev/null
	interruptible "$WORK/bin/cocoon" export --key "file:$WORK/key" "oci:$WORK/sealed" "$WORK/image.erofs"
	mkdir "$WORK/mnt"
	device=$(losetup -f --show -r "$WORK/image.erofs")
	at_exit losetup -d "$device"
	blockdev --setra 0 "$device"
	mount -t erofs -o ro "$device" "$WORK/mnt"
	at_exit umount "$WORK/mnt"
	# the kernel may drop a page before it is looked for
	for _ in 1 2 3; do
		interruptible chroot "$WORK/mnt" /usr/bin/env -i PATH=/usr/bin:/bin LANG=C.UTF-8 /bin/sh -c "$COMMAND" >"$WORK/command.log" 2>&1
		"$BENCH/sweep/touched.py" "$WORK/mnt" "$WORK/image.erofs"
	done | sort -nu >"$WORK/touched"
}

need_packages build image
work_dir bench-sweep
mkdir -p "$OUT" "$WORK/source"
for name in IMAGE=debian UPDATED=debian-updated; do
	variable=${name%%=*}
	[ -z "${!variable}" ] || continue
	log "making ${name#*=}"
	interruptible "$SOURCE_DIR/test/images/make.py" "${name#*=}" "$WORK/${name#*=}" >"$WORK/make-image.log" 2>&1
	printf -v "${name%%=*}" %s "oci:$WORK/${name#*=}:latest"
done
for part in CMakeLists.txt cmake crypto proto chunkstore guestfs publisher snapshotter bench contrib man; do
	cp -r "$SOURCE_DIR/$part" "$WORK/source/"
done
log "building"
interruptible cmake -S "$WORK/source" -B "$WORK/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$WORK/bin" >"$WORK/build.log" 2>&1
interruptible cmake --build "$WORK/build" --target cocoon >>"$WORK/build.log" 2>&1
touched

columns=chunks,bytes,touched_chunks,touched_bytes,random_read_us,random_read_bytes,shared_per_mille,seconds,cpu_seconds
echo "cell,$columns" >"$OUT/sweep.csv"
for cell in "${CELLS[@]}"; do
	build_cell "$cell"
	echo "$cell,$("${PREFIX[@]}" "$WORK/bin/cut" "$LEVEL" "$WORK/touched" "$IMAGE" "$UPDATED")" | tee -a "$OUT/sweep.csv" >&2
done
{
	echo "$(wc -l <"$WORK/touched") blocks touched of $(($(stat -c %s "$WORK/image.erofs") / 4096)); $(nproc) processors"
	echo
	echo "| min/max/large KiB, bits block/small, level | chunks | MB in the registry | chunks, MB of a cold start | random 4 KiB: µs, KB | shared with the update | CPU s to seal |"
	echo "|---|---|---|---|---|---|---|"
	awk -F, 'NR > 1 { split($1, c, "/"); printf "| %d/%d/%d, %d/%d, %d | %d | %.1f | %d, %.2f | %d, %.0f | %.1f %% | %.2f |\n",
		c[1], c[2], c[3], c[4], c[5], c[6], $2, $3 / 1e6, $4, $5 / 1e6, $6, $7 / 1e3, $8 / 10, $10 }' "$OUT/sweep.csv"
} | tee "$OUT/sweep.md"
