#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Conversion speed: cocoon convert against ctr-remote images convert, from the local store of each to the same
# store on the same file system (an OCI layout here, containerd's content store there; no registry is in
# between, for neither), on the same processors, in turn, sources in the page cache. Both check the source's
# digests and sync what they write to disk. CPU seconds and peak memory of ctr-remote include containerd's,
# which writes for it. Beside them what the same bytes cost in bare loops (convert/floor.c).
#
#   bench/convert.sh [-n ROUNDS] [-i "IMAGE…"] [-c CPUS] [-l LEVEL] [-p "PEER…"] [-b DIR] [-w PREFIX] [-o DIR]
#     -n ROUNDS   measurements of each row, in turn (default 5)
#     -i IMAGES   names of test/images/make.py, or oci:DIR:TAG (default: debian)
#     -c CPUS     processors that both may use, as taskset(1) takes them (default: all)
#     -l LEVEL    of zstd, for cocoon (default: the program's)
#     -p PEERS    of estargz, estargz-1 (its fastest level), zstd:chunked (default: all)
#     -b DIR      where cocoon is, or DIR=NAME for each of several (default: it is built)
#     -w PREFIX   a command to run each measurement under
#     -o DIR      for convert.csv and convert.md (default: the current directory)
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

ROUNDS=5 IMAGES=debian CPUS=0-$(($(nproc --all) - 1)) LEVEL=() PEERS='estargz estargz-1 zstd:chunked' PROGRAMS=() PREFIX=() OUT=$PWD
while getopts n:i:c:l:p:b:w:o:h option; do
	case $option in
	n) ROUNDS=$OPTARG ;;
	i) IMAGES=$OPTARG ;;
	c) CPUS=$OPTARG ;;
	l) LEVEL=(--level "$OPTARG") ;;
	p) PEERS=$OPTARG ;;
	b) PROGRAMS+=("$OPTARG") ;;
	w) read -ra PREFIX <<<"$OPTARG" ;;
	o) OUT=$OPTARG ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || usage 2 >&2

declare -A PEER_OPTIONS=(
	[estargz]=--estargz
	[estargz-1]='--estargz --estargz-compression-level 1'
	[zstd:chunked]=--zstdchunked
)

log() { echo "$(date +%T) $*" >&2; }

# measure IMAGE ROW PID CMD…: appends a line to the CSV; PID is a daemon that works for CMD, or 0. The caller adds
# the bytes that were made.
measure() {
	local image=$1 row=$2
	shift 2

	sync
	"${PREFIX[@]}" python3 "$BENCH/convert/measure.py" "$@" >"$WORK/measured" 2>>"$WORK/commands.log" || {
		log "$row of $image failed: $(tail -n 1 "$WORK/commands.log")"
		return 1
	}
	LINE="$image,$row,$(cat "$WORK/measured")"
}

# cocoon_convert NAME PROGRAM ROW
cocoon_convert() {
	rm -rf --one-file-system "$WORK/sealed"
	measure "$1" "$3" 0 "$2" convert --quiet "${LEVEL[@]}" --domain "$WORK/domain" --image-key "$WORK/image-key" \
		"${LAYOUTS[$1]}" "oci:$WORK/sealed" &&
		echo "$LINE,$(find "$WORK/sealed/blobs" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')" |
		tee -a "$OUT/convert.csv" >&2
}

# ctr_convert NAME ROW OPTION…: the result is forgotten again, or the next round would find it.
ctr_convert() {
	local name=$1 row=$2 target=$REGISTRY/bench/$1:converted
	shift 2

	measure "$name" "$row" "$CONTAINERD_PID" ctr-remote images convert --oci "$@" "$REGISTRY/bench/$name:source" "$target" &&
		echo "$LINE,$(ctr images ls name=="$target" | awk 'NR == 2 { for (i = 4; i <= NF; i++) if ($i ~ /^[KMG]iB$/)
			printf "%d", $(i - 1) * ($i == "GiB" ? 2 ^ 30 : $i == "MiB" ? 2 ^ 20 : 2 ^ 10) }')" |
		tee -a "$OUT/convert.csv" >&2
	ctr images rm --sync "$target" >/dev/null
}

need_packages run image peers
work_dir bench-convert
mkdir -p "$OUT"
if [ ${#PROGRAMS[@]} = 0 ]; then
	log "building"
	need_packages build
	. "$SOURCE_DIR/test/lib/build.sh"
	build_programs "$WORK/build"
	PROGRAMS=("$COCOON_BIN=cocoon")
fi
read -ra flags <<<"$(pkg-config --cflags --libs libcrypto libzstd libisal)"
cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$WORK/floor" "$BENCH/convert/floor.c" "${flags[@]}"

taskset -cp "$CPUS" $$ >/dev/null
registry_start registry
containerd_start containerd
program=${PROGRAMS[0]%%=*}/cocoon
"$program" keygen domain "$WORK/domain"
"$program" keygen image "$WORK/image-key"

declare -A LAYOUTS
for image in $IMAGES; do
	case $image in
	oci:*)
		name=${image#oci:}
		name=$(basename "${name%:*}")
		LAYOUTS[$name]=$image
		;;
	*)
		name=$image
		log "making $name"
		interruptible "$SOURCE_DIR/test/images/make.py" "$name" "$WORK/image-$name" >"$WORK/make-$name.log" 2>&1
		LAYOUTS[$name]=oci:$WORK/image-$name:latest
		;;
	esac
	registry_push "${LAYOUTS[$name]}" "bench/$name:source"
	ctr content fetch --plain-http "$REGISTRY/bench/$name:source" >/dev/null
done
stop_daemon "$REGISTRY_PID"

echo "image,row,seconds,cpu_seconds,peak_kib,bytes" >"$OUT/convert.csv"
for ((round = 1; round <= ROUNDS; round++)); do
	log "round $round of $ROUNDS"
	for name in "${!LAYOUTS[@]}"; do
		for program in "${PROGRAMS[@]}"; do
			row=${program#*=}
			[ "$row" != "$program" ] || row=cocoon
			cocoon_convert "$name" "${program%%=*}/cocoon" "$row"
		done
		for peer in $PEERS; do
			read -ra options <<<"${PEER_OPTIONS[$peer]}"
			ctr_convert "$name" "$peer" "${options[@]}"
		done
	done
done
for name in "${!LAYOUTS[@]}"; do
	directory=${LAYOUTS[$name]#oci:}
	mapfile -t layers < <(skopeo inspect --raw "${LAYOUTS[$name]}" | jq -r '.layers[].digest' | tr : /)
	"${PREFIX[@]}" "$WORK/floor" "$name" "${layers[@]/#/${directory%:*}/blobs/}"
done >"$OUT/convert-floor.csv"
"$BENCH/convert/report.py" "$OUT/convert.csv" "$OUT/convert-floor.csv" "$(taskset -cp $$ | sed 's/.*: //' |
	awk -F, '{ for (i = 1; i <= NF; i++) { split($i, r, "-"); n += r[2] == "" ? 1 : r[2] - r[1] + 1 } print n }')" |
	tee "$OUT/convert.md"
