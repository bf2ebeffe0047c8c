#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The memory of cocoon-guestfs: resident bytes after each step of a load, for images of few and of very many
# files, in both fronts. All its processes count. Images are made and sealed once and kept in the cache.
#
#   bench/guest-memory.sh [-c DIR] [-b DIR] [-f "FRONT…"] [-s SIZE] [-o FILE] [IMAGE…]
#     -c DIR      cache for images (default: guest-memory.cache in the current directory)
#     -b DIR      where cocoon, cocoon-snapshotter and cocoon-guestfs are (default: they are built)
#     -f FRONTS   default: block tree
#     -s SIZE     --cache-size of the daemon (default: its own)
#     -o FILE     the table (default: guest-memory.md)
#     IMAGE       a number of files, or oci:DIR:TAG (default: 10000 1000000)
#
# Columns, in KiB: after the mount; after find has seen every attribute; after every file was read, 16 at a
# time; and 5 s later. `peak` is the kernel's high-water mark of the process that holds the keys, `private` what
# of it is no file's at the end.
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages build registry; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done

usage() {
	sed -n '/^#   bench/,/^#     IMAGE/s/^# *//p' "${BASH_SOURCE[0]}" >&2
	exit 2
}

CACHE=$PWD/guest-memory.cache
OUT=$PWD/guest-memory.md
FRONTS="block tree"
SIZE=()
COCOON_BIN=
while getopts c:b:f:s:o: option; do
	case $option in
	c) CACHE=$OPTARG ;;
	b) COCOON_BIN=$(realpath "$OPTARG") ;;
	f) FRONTS=$OPTARG ;;
	s) SIZE=(--cache-size "$OPTARG") ;;
	o) OUT=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- 10000 1000000

need_packages build run
work_dir guest-memory
[ -n "$COCOON_BIN" ] || build_programs "$WORK/build"
mkdir -p "$CACHE"
# shellcheck source=/dev/null
. "$SOURCE_DIR/test/lib/cocoon.sh"

# prepare IMAGE: NAME, and its sealed form in the registry as REF.
prepare() {
	local source=$1

	NAME=$1
	case $1 in
	oci:*) NAME=$(basename "${1%:*}") ;;
	*)
		source=oci:$CACHE/files-$1:latest
		[ -e "$CACHE/files-$1/index.json" ] || interruptible "$BENCH/many-files.py" "$1" "$CACHE/files-$1"
		;;
	esac
	if [ ! -e "$CACHE/sealed-$NAME.done" ]; then
		interruptible "$COCOON" convert --json --domain "$KEYS/domain.secret" \
			--recipient "$KEYS/guest.pem.pub" "$source" "oci:$CACHE/sealed-$NAME:latest" >"$WORK/summary.json"
		policy_add "$(jq -r .descriptor "$WORK/summary.json")"
		touch "$CACHE/sealed-$NAME.done"
	fi
	REF=$REGISTRY/memory/$NAME:1
	registry_push "oci:$CACHE/sealed-$NAME:latest" "memory/$NAME:1"
}

# The daemon, and what it has started.
daemon_pids() { process_tree "$GUEST"; }

rss() {
	local pid sum=0

	for pid in $(daemon_pids); do
		sum=$((sum + $(awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
	done
	echo "$sum"
}

measure() {
	local front=$1 dir=$WORK/mnt mounted found read idle peak private

	guest_mount "$front" "$REF" "$dir" "$HOST_CHUNKS" "${SIZE[@]}"
	GUEST=$(guest_pids "$dir")
	sleep 1
	mounted=$(rss)
	interruptible find "$dir" -printf '%s' >/dev/null
	found=$(rss)
	find "$dir" -xdev -type f -print0 | xargs -0 -P 16 -n 200 cat >/dev/null
	read=$(rss)
	sleep 5
	idle=$(rss)
	peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$GUEST/status")
	private=$(awk '/^Anonymous:/ { print $2 }' "/proc/$GUEST/smaps_rollup")
	printf '| %s | %s | %d | %d | %d | %d | %d | %d |\n' "$NAME" "$front" "$mounted" "$found" "$read" "$idle" \
		"$peak" "$private" | tee -a "$OUT"
	guest_unmount "$dir"
	echo 3 >/proc/sys/vm/drop_caches
}

KEYS=$CACHE/keys
# shellcheck disable=SC2034 # guest_mount's
KEY=recipient:$KEYS/guest.pem POLICY=$KEYS/policy.json
if [ ! -e "$KEYS/guest.pem" ]; then
	mkdir -m 700 "$KEYS"
	"$COCOON" keygen domain "$KEYS/domain.secret"
	"$COCOON" keygen recipient "$KEYS/guest.pem"
fi
registry_start registry
host_start host
printf '| files | front | mounted | found | read | 5 s later | peak | private |\n|--|--|--|--|--|--|--|--|\n' | tee "$OUT"
for image; do
	prepare "$image"
	for front in $FRONTS; do
		measure "$front"
	done
done
