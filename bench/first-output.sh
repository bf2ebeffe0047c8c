#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Time to first output: from the pull command to the first line that the
# container prints, on a host that has nothing of the image. All systems run
# side by side in one containerd and are measured in turn, round after round, so
# that a machine that grows slower or faster meets all of them alike.
#
#   bench/first-output.sh [-n ROUNDS] [-r RATE] [-i IMAGE] [-s "SYSTEM…"] [-b DIR] [-o DIR]
#     -n ROUNDS   measurements of each row (default 5)
#     -r RATE     of the link to the registry, as tc(8) writes it: 1gbit, 100mbit (default: unshaped)
#     -i IMAGE    oci:DIR:TAG (default: Debian with python3 and numpy, made by test/images/make.py)
#     -s SYSTEMS  of bench/systems/ (default: overlayfs stargz cocoon; overlayfs is the yardstick)
#     -b DIR      where cocoon, cocoon-snapshotter and cocoon-guestfs are (default: they are built)
#     -o DIR      for first-output.csv and first-output.md (default: the current directory)
#
# Each measurement: the system is brought into its state (SYSTEM_reset), the page
# cache is dropped, the programs and the registry's blobs are read once so that
# the disk under them is not measured, then SYSTEM_cold_start runs. Bytes are what
# came over the link from the registry until the first output, headers included.
#
# A file in bench/systems/ defines:
#   SYSTEM_rows               names of its rows
#   SYSTEM_plugin             name=socket of its containerd plugin, if it has one
#   SYSTEM_programs           what is read into the page cache before a measurement
#   SYSTEM_prepare            once; makes and pushes its form of the image, starts its daemon
#   SYSTEM_reset ROW          brings the host into the state that ROW means
#   SYSTEM_cold_start ROW ID  prints `pulled`, then what the container prints
#   SYSTEM_clean ROW          takes the image from containerd again
# All but cold_start may fail after setting SKIP to the reason, which is reported.
# shellcheck disable=SC2034 # some variables are for the files that are sourced
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages link registry containerd timed; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done

usage() {
	sed -n '/^#   bench/,/^#     -o/s/^# \{0,3\}//p' "$0"
	exit "$1"
}

ROUNDS=5 RATE='' IMAGE='' SYSTEMS='overlayfs stargz cocoon' COCOON_BIN='' OUT=$PWD
while getopts n:r:i:s:b:o:h option; do
	case $option in
	n) ROUNDS=$OPTARG ;;
	r) RATE=$OPTARG ;;
	i) IMAGE=$OPTARG ;;
	s) SYSTEMS=$OPTARG ;;
	b) COCOON_BIN=$(realpath "$OPTARG") ;;
	o) OUT=$OPTARG ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || usage 2 >&2

COMMAND=(python3 -c 'import json, numpy; print("ok")')
EXPECTED=ok

log() { echo "$(date +%T) $*" >&2; }

# --- what the system files use ------------------------------------------------

# host_forgets SNAPSHOTTER REF: containerd keeps nothing of it, which is checked.
host_forgets() {
	local snapshotter=$1 ref=$2 left i

	ctr images rm --sync "$ref" >/dev/null 2>&1 || true
	for ((i = 0; i < 100; i++)); do
		left=$(
			ctr content ls -q
			ctr snapshots --snapshotter "$snapshotter" ls | tail -n +2
		) || left='containerd does not answer'
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	SKIP="the host does not forget the image: $left"
	return 1
}

# After its daemon was started anew containerd dials a plugin with back-off;
# that is not to be measured. Only a call that changes something reaches the
# plugin for certain; the rest containerd answers from its own database.
plugin_answers() {
	local i lease

	for ((i = 0; i < 200; i++)); do
		if ctr snapshots --snapshotter "$1" prepare probe >/dev/null 2>&1; then
			ctr snapshots --snapshotter "$1" rm probe &&
				lease=$(ctr leases create) &&
				ctr leases rm --sync "$lease" >/dev/null # collects the probe now, not while measuring
			return
		fi
		sleep 0.1
	done
	SKIP="containerd does not reach the plugin $1"
	return 1
}

# --- one measurement ------------------------------------------------------------

# The page cache holds nothing but the programs and, on the far side of the link,
# the registry's files; nothing flows over the link any more.
settle() {
	local program bytes=-1 i

	for ((i = 0; i < 60; i++)); do
		[ "$bytes" != "$(link_bytes)" ] || break
		bytes=$(link_bytes)
		sleep 0.5
	done
	sync
	echo 3 >/proc/sys/vm/drop_caches
	for program in containerd containerd-shim-runc-v2 runc ctr docker-registry $("$1_programs"); do
		program=$(command -v "$program")
		# A script has no shared libraries.
		{ echo "$program" && { ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*'; } |
			xargs cat >/dev/null 2>&1 || true
	done
	find "$REGISTRY_DIR/data" -type f -exec cat {} + >/dev/null
	ctr version >/dev/null
	sleep 0.2
}

# measure ROUND SYSTEM ROW: appends a line to the CSV.
measure() {
	local round=$1 system=$2 row=$3 bytes requests log_size status=0

	SKIP=
	"${system}_reset" "$row" || {
		skip_row "$row" "${SKIP:-reset failed}"
		return 0
	}
	settle "$system"
	log_size=$(stat -c %s "$REGISTRY_LOG")
	bytes=$(link_bytes)
	timed_lines 2 300 "${system}_cold_start" "$row" "bench-$round" 2>>"$WORK/$system-commands.log" || status=1
	bytes=$(($(link_bytes) - bytes))
	requests=$(registry_traffic "$log_size")
	timed_end 10 || status=1
	if [ "$status" != 0 ] || [ "${LINE_TEXT[1]}" != "$EXPECTED" ]; then
		status=1
		skip_row "$row" "no first output: $(tail -n 1 "$WORK/$system-commands.log")"
	fi
	"${system}_clean" "$row" || {
		skip_row "$row" "${SKIP:-clean failed}"
		return 0
	}
	[ "$status" = 0 ] || return 0
	echo "$row,$round,${LINE_SECONDS[0]},${LINE_SECONDS[1]},$bytes,${requests#* }" |
		tee -a "$OUT/first-output.csv" >&2
}

declare -A SKIPPED
skip_row() {
	log "$1: $2"
	SKIPPED[$1]=${2//[[:space:]]/ }
}

# --- the run -----------------------------------------------------------------------

need_packages run image peers
work_dir bench
mkdir -p "$OUT"

if [ -z "$IMAGE" ]; then
	log "making the image"
	interruptible "$SOURCE_DIR/test/images/make.py" debian "$WORK/image" >"$WORK/make-image.log" 2>&1
	IMAGE=oci:$WORK/image:latest
fi
if [ -z "$COCOON_BIN" ] && [[ " $SYSTEMS " == *" cocoon "* ]]; then
	log "building"
	need_packages build
	. "$SOURCE_DIR/test/lib/build.sh"
	build_programs "$WORK/build" || log "the build failed: $(tail -n 1 "$WORK/build.log")"
fi

link_start "$RATE"
registry_start registry link
REPOSITORY=$REGISTRY/bench/image
SOURCE=$REPOSITORY:source
registry_push "$IMAGE" bench/image:source

plugins=()
for system in $SYSTEMS; do
	# shellcheck source=/dev/null
	. "$BENCH/systems/$system.sh"
	mapfile -t -O ${#plugins[@]} plugins < <("${system}_plugin")
done
containerd_start containerd "${plugins[@]}"

rows=()
for system in $SYSTEMS; do
	log "preparing $system"
	SKIP=
	prepared=1
	"${system}_prepare" || prepared=
	for row in $("${system}_rows"); do
		rows+=("$system $row")
		[ -n "$prepared" ] || skip_row "$row" "${SKIP:-prepare failed}"
	done
done

echo "system,round,seconds_to_pulled,seconds_to_first_output,bytes_from_registry,requests" >"$OUT/first-output.csv"
for ((round = 1; round <= ROUNDS; round++)); do
	for pair in "${rows[@]}"; do
		[ -n "${SKIPPED[${pair#* }]:-}" ] || measure "$round" "${pair% *}" "${pair#* }"
	done
done

{
	echo "Image: $(registry_image_size bench/image:source) bytes in the registry. Link: ${RATE:-unshaped}." \
		"Rounds: $ROUNDS. Machine: $(nproc) CPUs, Linux $(uname -r). Command: \`${COMMAND[*]}\`"
	echo
	for row in "${!SKIPPED[@]}"; do
		printf '%s\t%s\n' "$row" "${SKIPPED[$row]}"
	done | "$BENCH/report.py" "$OUT/first-output.csv"
} | tee "$OUT/first-output.md"
