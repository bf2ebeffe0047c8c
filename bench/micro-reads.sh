#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Reads through the mount, by both fronts, side by side with the kernel's own filesystems on a disk, with a FUSE
# filesystem in memory and with stargz's mount; what opening chunks costs without a mount; and how long a mount
# takes with many files. All rows are measured in turn, round after round.
#
#   bench/micro-reads.sh [-n ROUNDS] [-i IMAGE] [-s "ROW…"] [-f FILES] [-l MIB] [-m "FILES…"] [-k DIR] [-r] [-x FILE] [-b DIR] [-o DIR]
#     -n ROUNDS   measurements of each row (default 5)
#     -i IMAGE    oci:DIR:TAG (default: Debian with python3 and numpy, made by test/images/make.py)
#     -s ROWS     default: ext4 overlayfs erofs memory-fs stargz cocoon-block cocoon-tree cocoon-overlay
#     -f FILES    small files in /bench/small, which is added to the image (default 20000)
#     -l MIB      of /bench/large, likewise: what the image holds below /usr, as one file (default 192)
#     -m FILES    files of the images that are only mounted (default: 100 10000 1000000; "": none)
#     -k DIR      keeps what was made of the images for the next run (default: nothing is kept)
#     -r          what is measured goes before all else, in real time: for a machine that has other work
#     -x FILE     is locked while a round is measured, as flock(1) does, for a machine on which others measure
#     -b DIR      a build directory (default: built); the probes are linked with its libraries
#     -o DIR      for micro-reads.csv and micro-reads.md (default: the current directory)
#
# Rows: the unpacked image on the disk (ext4, or whatever $WORK is on), an overlayfs over that, the exported
# EROFS image mounted by the kernel, bench/reads/memory-fs.c, stargz-snapshotter with everything fetched, and
# Cocoon with a warm host: both fronts, and an overlayfs over the block front, as a container has it.
#
# Cold: nothing of the image is in the kernel's caches, and Cocoon's guest is new; what the disk gives is cold, what
# another process gives (Cocoon's host, stargz's cache) is in memory. Warm: the same once more.
# shellcheck disable=SC2034 # some variables are for the libraries
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages registry containerd; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done

usage() {
	sed -n '/^#   bench/,/^#     -o/s/^# \{0,3\}//p' "$0"
	exit "$1"
}

ROUNDS=5 IMAGE='' ROWS='ext4 overlayfs erofs memory-fs stargz cocoon-block cocoon-tree cocoon-overlay' FILES=20000 LARGE=192
MANY='100 10000 1000000' KEPT='' PRIORITY=() LOCK=/dev/null BUILD='' OUT=$PWD
while getopts n:i:s:f:l:m:k:rx:b:o:h option; do
	case $option in
	n) ROUNDS=$OPTARG ;;
	i) IMAGE=$OPTARG ;;
	s) ROWS=$OPTARG ;;
	f) FILES=$OPTARG ;;
	l) LARGE=$OPTARG ;;
	m) MANY=$OPTARG ;;
	k) KEPT=$(realpath "$OPTARG") ;;
	r) PRIORITY=(chrt --rr 5) ;;
	x) LOCK=$OPTARG ;;
	b) BUILD=$(realpath "$OPTARG") ;;
	o) OUT=$(realpath "$OPTARG") ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || usage 2 >&2

log() { echo "$(date +%T) $*" >&2; }
has_row() { [[ " $ROWS " == *" $1 "* ]]; }

# --- what is made once ----------------------------------------------------------------

build_probes() {
	local cc=(cc -std=gnu11 -O2 -Wall -Wextra -Werror -I"$SOURCE_DIR") fuse

	read -ra fuse <<<"$(pkg-config --cflags --libs fuse3)"
	mkdir -p "$WORK/probes" &&
		"${cc[@]}" -o "$WORK/probes/reader" "$BENCH/reads/reader.c" &&
		"${cc[@]}" -o "$WORK/probes/memory-fs" "$BENCH/reads/memory-fs.c" "${fuse[@]}" &&
		"${cc[@]}" -o "$WORK/probes/chunk-open" "$BENCH/reads/chunk-open.c" "$BUILD/publisher/libcocoon-seal.a" \
			"$BUILD/guestfs/libcocoon-image.a" "$BUILD"/crypto/libcocoon-{crypto,digest}.a \
			"$BUILD/proto/libcocoon-proto.a" -lcrypto -lzstd -lpthread
}

# The one layer of an image of many-files.py, as a tar.
layer_of() {
	local manifest

	manifest=$(jq -r '.manifests[0].digest[7:]' "$1/index.json")
	zstd -dc "$1/blobs/sha256/$(jq -r '.layers[0].digest[7:]' "$1/blobs/sha256/$manifest")"
}

# $KEPT/layout: the image with /bench in a layer of its own; $KEPT/plain: unpacked.
make_image() {
	[ ! -e "$KEPT/made" ] || return 0
	rm -rf "$KEPT/layout" "$KEPT/plain" "$KEPT/add" "$KEPT/small"
	cp -a "${IMAGE#oci:}" "$KEPT/layout" &&
		umoci raw unpack --image "$KEPT/layout:$TAG" "$KEPT/plain" && mkdir -p "$KEPT/add/bench/small" || return
	# tar is stopped when there is enough
	{ tar -C "$KEPT/plain" -cf - usr 2>/dev/null || true; } | head -c "${LARGE}M" >"$KEPT/add/bench/large"
	"$BENCH/many-files.py" "$FILES" "$KEPT/small" && layer_of "$KEPT/small" | tar -C "$KEPT/add/bench/small" -x &&
		tar -C "$KEPT/add" -cf "$KEPT/add.tar" . && umoci raw add-layer --image "$KEPT/layout:$TAG" "$KEPT/add.tar" &&
		rm -rf "$KEPT/plain" "$KEPT/add" "$KEPT/add.tar" "$KEPT/small" &&
		umoci raw unpack --image "$KEPT/layout:$TAG" "$KEPT/plain" && touch "$KEPT/made"
}

# Everything is there after it: what an unmeasured read of all files has fetched.
warm_up() { interruptible "$WORK/probes/reader" tree "$1" >/dev/null; }

prepare_cocoon() {
	image_seal "oci:$KEPT/layout:$TAG" reads/image:1 >"$WORK/sealed.json"
	REF=$SEALED_REF
	host_start host
	guest_mount block "$REF" "$WORK/mnt"
	warm_up "$WORK/mnt"
	guest_unmount "$WORK/mnt"
	if has_row erofs; then
		interruptible "$COCOON" export --plain-http --key "$KEY" "$REF" "$WORK/image.erofs"
	fi
}

convert_to_stargz() {
	local source=$REGISTRY/reads/source:1 target=$REGISTRY/reads/stargz:1

	registry_push "oci:$KEPT/layout:$TAG" reads/source:1 && ctr images pull --plain-http "$source" &&
		interruptible ctr-remote images convert --estargz --oci "$source" "$target" &&
		ctr images push --plain-http "$target" && ctr images rm --sync "$target" "$source" &&
		skopeo --insecure-policy copy --quiet --src-tls-verify=false "docker://$target" "oci:$KEPT/stargz:1"
}

prepare_stargz() {
	local daemon

	daemon=$("$BENCH/peers/build.sh" | tail -n 1)/stargz-daemon
	start_daemon stargz "$daemon" -plain-http -address "$WORK/stargz.sock" -root "$WORK/stargz"
	STARGZ_PID=$STARTED_PID
	wait_socket "$WORK/stargz.sock" 20 "$STARGZ_PID"
	containerd_start containerd "stargz=$WORK/stargz.sock"
	if [ -e "$KEPT/stargz/index.json" ]; then
		registry_push "oci:$KEPT/stargz:1" reads/stargz:1
	else
		convert_to_stargz
	fi || return
	ctr-remote images rpull --plain-http --snapshotter stargz "$REGISTRY/reads/stargz:1" || return
	# without a label containerd would collect the view
	ctr snapshots --snapshotter stargz view reads "$(ctr snapshots --snapshotter stargz ls | tail -n +2 |
		awk '{ parent[$2]; name[$1] } END { for (n in name) if (!(n in parent)) print n }')" &&
		ctr snapshots --snapshotter stargz label reads containerd.io/gc.root=1 || return
	ctr snapshots --snapshotter stargz mounts "$WORK/mnt" reads >"$WORK/stargz-mount"
	row_mount stargz
	warm_up "$WORK/mnt"
	row_unmount stargz
}

start_memory_fs() {
	mkdir -p "$WORK/memory"
	at_exit unmount "$WORK/memory"
	start_daemon memory-fs "$WORK/probes/memory-fs" "$KEPT/plain" "$WORK/memory"
	MEMORY_PID=$STARTED_PID
	until grep -q ready "$WORK/memory-fs.log"; do
		process_runs "$MEMORY_PID" || return
		sleep 0.1
	done
	[ ${#PRIORITY[@]} = 0 ] || hurry "$MEMORY_PID"
}

# --- rows -------------------------------------------------------------------------------

# hurry PID…: with all threads.
hurry() {
	local pid

	for pid; do
		chrt --all-tasks --rr --pid 5 "$pid" >/dev/null
	done
}

overlay_on() {
	mkdir -p "$WORK/upper" "$WORK/work"
	mount -t overlay -o "lowerdir=$1,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$WORK/mnt"
}

cocoon_mount() {
	guest_mount "$1" "$REF" "$2" 2>>"$WORK/guest.log"
	GUEST=$(guest_pids "$2")
	[ ${#PRIORITY[@]} = 0 ] || hurry "$GUEST"
}

# row_mount ROW: at $WORK/mnt.
row_mount() {
	mkdir -p "$WORK/mnt" "$WORK/below"
	case $1 in
	ext4) mount --bind "$KEPT/plain" "$WORK/mnt" ;;
	overlayfs) overlay_on "$KEPT/plain" ;;
	erofs) mount -t erofs -o ro,loop "$WORK/image.erofs" "$WORK/mnt" ;;
	memory-fs) mount --bind "$WORK/memory" "$WORK/mnt" ;;
	stargz) sh -e "$WORK/stargz-mount" ;;
	cocoon-overlay) cocoon_mount block "$WORK/below" && overlay_on "$WORK/below" ;;
	cocoon-*) cocoon_mount "${1#cocoon-}" "$WORK/mnt" ;;
	esac
}

row_unmount() {
	case $1 in
	cocoon-overlay) umount "$WORK/mnt" && guest_unmount "$WORK/below" ;;
	cocoon-*) guest_unmount "$WORK/mnt" ;;
	*) umount "$WORK/mnt" ;;
	esac
}

# What the disk gives is cold, what other processes give is not; a cache may drop a file meanwhile.
drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	case $1 in
	cocoon-*) find "$WORK/host" -type f -exec cat {} + ;;
	stargz) find "$WORK/stargz" -xdev -type f -exec cat {} + ;;
	esac >/dev/null 2>&1 || true
	"$WORK/probes/reader" run find "$WORK/probes" >/dev/null
	"$WORK/probes/reader" run ls -lR "$WORK/probes" >/dev/null
}

# --- measurements ---------------------------------------------------------------------------

# work OPERATION ROUND: what is run for it.
work() {
	local m=$WORK/mnt

	case $1 in
	sequential) WORK_ARGS=(sequential "$m/bench/large") ;;
	random) WORK_ARGS=(random "$m/bench/large" 2000 "$2") ;;
	small) WORK_ARGS=(tree "$m/bench/small") ;;
	tree) WORK_ARGS=(tree "$m/usr") ;;
	find-stat) WORK_ARGS=(run find "$m" -xdev -printf '%s %m\n') ;;
	ls) WORK_ARGS=(run ls -lR "$m") ;;
	esac
}
OPERATIONS='sequential random small tree find-stat ls'

record() { echo "$1,$2,$3,$4,$5,$6" >>"$OUT/micro-reads.csv"; }

# measure ROW OPERATION ROUND
measure() {
	local state bytes seconds

	work "$2" "$3"
	drop_caches "$1"
	row_mount "$1"
	for state in cold warm; do
		read -r bytes seconds < <("${PRIORITY[@]}" "$WORK/probes/reader" "${WORK_ARGS[@]}")
		record "$1" "$2" "$state" "$3" "$bytes" "$seconds"
	done
	row_unmount "$1"
}

# A cold file with the guest and the reader on one processor and the host on the others.
measure_one_processor() {
	local bytes seconds

	drop_caches cocoon-block
	row_mount cocoon-block
	taskset --all-tasks --cpu-list --pid 0 "$GUEST" >/dev/null
	taskset --all-tasks --cpu-list --pid "1-$(($(nproc) - 1))" "$HOST_PID" >/dev/null
	read -r bytes seconds < <("${PRIORITY[@]}" taskset --cpu-list 0 "$WORK/probes/reader" sequential "$WORK/mnt/bench/large")
	taskset --all-tasks --cpu-list --pid "0-$(($(nproc) - 1))" "$HOST_PID" >/dev/null
	record cocoon-block-1 sequential cold "$1" "$bytes" "$seconds"
	row_unmount cocoon-block
}

measure_opening() {
	local name plain stored seconds

	"${PRIORITY[@]}" "$WORK/probes/chunk-open" "$KEPT/plain/bench/large" 1 "$(nproc)" |
		while read -r name plain stored seconds; do
			record "$name" open "$stored" "$1" "$plain" "$seconds"
		done
}

# measure_mount FILES ROUND: from the command to its end, when the mount can be used.
measure_mount() {
	local start end ref=${MANY_REF[$1]}

	drop_caches cocoon-block
	start=$EPOCHREALTIME
	"${PRIORITY[@]}" "$COCOON" mount --front block --key "$KEY" --policy "$POLICY" --host "unix:$HOST_CHUNKS" "$ref" "$WORK/mnt" 2>>"$WORK/guest.log"
	end=$EPOCHREALTIME
	record "$1-files" mount cold "$2" 0 "$(awk -v us=$((${end/[.,]/} - ${start/[.,]/})) 'BEGIN { printf "%.6f", us / 1e6 }')"
	guest_unmount "$WORK/mnt"
}

declare -A MANY_REF
prepare_many() {
	local n

	for n in $MANY; do
		[ -e "$KEPT/files-$n/index.json" ] || interruptible "$BENCH/many-files.py" "$n" "$KEPT/files-$n"
		image_seal "oci:$KEPT/files-$n:latest" "reads/files-$n:1" >"$WORK/sealed-$n.json"
		MANY_REF[$n]=$SEALED_REF
		guest_mount block "$SEALED_REF" "$WORK/mnt" # what a mount needs is at the host then
		guest_unmount "$WORK/mnt"
	done
}

# --- the run --------------------------------------------------------------------------------

need_packages run image test peers
work_dir bench-reads
mkdir -p "$OUT"
if [ -z "$KEPT" ]; then
	KEPT=$WORK/kept
	mkdir "$KEPT"
fi
if [ -z "$IMAGE" ] && [ ! -e "$KEPT/made" ]; then
	log "making the image"
	interruptible "$SOURCE_DIR/test/images/make.py" debian "$WORK/image" >"$WORK/make-image.log" 2>&1
	IMAGE=oci:$WORK/image:latest
fi
TAG=${IMAGE##*:}
TAG=${TAG:-latest}
IMAGE=${IMAGE%:*}
if [ -z "$BUILD" ]; then
	log "building"
	need_packages build
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/build.sh"
	BUILD=$WORK/build
	build_programs "$BUILD"
fi
COCOON_BIN=$BUILD/bin
# shellcheck source=/dev/null
. "$SOURCE_DIR/test/lib/cocoon.sh"
build_probes
log "preparing the image"
make_image >"$WORK/make.log" 2>&1
registry_start registry
keys_make
log "preparing cocoon"
prepare_cocoon
! has_row memory-fs || start_memory_fs
if has_row stargz; then
	log "preparing stargz"
	prepare_stargz >"$WORK/prepare-stargz.log" 2>&1
fi
[ -z "$MANY" ] || log "preparing images of many files"
prepare_many
[ ${#PRIORITY[@]} = 0 ] || hurry "$HOST_PID" ${STARGZ_PID:+"$STARGZ_PID"}

echo "row,operation,state,round,bytes,seconds" >"$OUT/micro-reads.csv"
# one_round ROUND
one_round() {
	local operation row files

	measure_opening "$1"
	for operation in $OPERATIONS; do
		for row in $ROWS; do
			measure "$row" "$operation" "$1"
		done
	done
	! has_row cocoon-block || [ "$(nproc)" = 1 ] || measure_one_processor "$1"
	for files in $MANY; do
		measure_mount "$files" "$1"
	done
}

for ((round = 1; round <= ROUNDS; round++)); do
	exec {lock}>>"$LOCK"
	flock "$lock"
	log "round $round"
	one_round "$round"
	exec {lock}>&-
done
{
	echo "$(nproc) CPUs, Linux $(uname -r), $(findmnt -n -o FSTYPE -T "$KEPT"). Rounds: $ROUNDS, in turn. /bench/large: $LARGE MiB;" \
		"/bench/small: $FILES files; $(find "$KEPT/plain" | wc -l) names in all."
	echo
	"$BENCH/reads/report.py" "$OUT/micro-reads.csv"
} | tee "$OUT/micro-reads.md"
