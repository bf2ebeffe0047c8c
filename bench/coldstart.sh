#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Cold starts compared: from the pull command to the first useful answer of the application, for Cocoon and for what
# there is beside it, with real images over links of several kinds. All systems run side by side on one machine and
# are measured in turn, round after round, so that a machine that grows slower or faster meets all of them alike.
# shellcheck disable=SC2034 # some variables are for the files that are sourced
set -euo pipefail

usage() {
	cat <<'END'
usage: bench/coldstart.sh [OPTION…]          as root on Debian 12; what is missing is installed

Measures from the pull command to the first useful answer (a computed line, a served request) and leaves a report.
Without options it is a quick look of some minutes; --full is the comparison of the report in bench/results.

  --images LIST      of: python redis java nginx node postgres compiler tex (2 GiB)    default: python,redis,java
  --systems LIST     of those below; may be patterns: 'stargz*'                        default: those marked *
  --rates LIST       links to the registry: unshaped, 1gbit, 100mbit, … as tc(8) writes it; +10ms adds to the
                     round trip, as in 1gbit+10ms                                      default: unshaped
  --runs N           measurements of each cell                                         default: 3
  --full             all images and systems, rates unshaped,1gbit,100mbit,1gbit+10ms, 5 runs; options behind it change that
  --programs DIR     where cocoon, cocoon-snapshotter and cocoon-guestfs are           default: they are built
  --guest-memory N   bytes that a guest may use (K, M, G)                              default: 4G
  --cache DIR        images and their converted forms, kept from run to run            default: ~/.cache/cocoon-coldstart
  --out DIR          report.md, runs.csv, bytes.csv, *.svg                             default: coldstart-report
  --pods N           also start N pods of the first image at once on a cold host: what comes from the registry then
  --lock FILE        hold this flock(1) while measuring, round after round: for machines with other work

Systems:
END
	for file in "$BENCH"/systems/*.sh; do
		sed -n 's/^#   \([* ]\) \([a-z-]*  *.*\)/  \1 \2/p' "$file"
	done
	cat <<'END'

Each measurement: the system is brought into the row's state, the page cache is dropped, the programs and (beyond the
link) the registry's blobs are read once so that their disk is not measured, then pull and run. Recorded until the
answer: seconds, bytes and requests from the registry, bytes over the wire to the guest, bytes read from disk, CPU
seconds, peak memory of each process and of the control groups. The report ends with the goals and whether they are met.

Examples:
  bench/coldstart.sh                                                        # a quick look
  bench/coldstart.sh --images redis --systems overlayfs,cocoon-cold --runs 1
  bench/coldstart.sh --images python --systems 'stargz*,cocoon-*' --rates 100mbit,1gbit+10ms --runs 5
  bench/coldstart.sh --full --out bench/results/coldstart
Environment: KEEP_WORK=1 keeps the work directory with all logs.
END
}

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
FILES='overlayfs stargz cocoon tee'

IMAGES='python redis java' SYSTEMS='' RATES=unshaped RUNS=3 COCOON_BIN='' GUEST_MEMORY=4G
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/cocoon-coldstart OUT=$PWD/coldstart-report LOCK='' PODS=0
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) usage && exit ;;
	--full)
		IMAGES='python redis java nginx node postgres compiler tex' SYSTEMS='*' RUNS=5 PODS=100
		RATES='unshaped 1gbit 100mbit 1gbit+10ms'
		shift && continue
		;;
	esac
	[ $# -ge 2 ] || { echo "coldstart.sh: $1 needs a value; --help" >&2 && exit 2; }
	case $1 in
	--images) IMAGES=${2//,/ } ;;
	--systems) SYSTEMS=${2//,/ } ;;
	--rates) RATES=${2//,/ } ;;
	--runs) RUNS=$2 ;;
	--programs) COCOON_BIN=$(realpath "$2") ;;
	--guest-memory) GUEST_MEMORY=$2 ;;
	--cache) CACHE=$2 ;;
	--out) OUT=$2 ;;
	--pods) PODS=$2 ;;
	--lock) LOCK=$2 ;;
	*) echo "coldstart.sh: no such option: $1; --help" >&2 && exit 2 ;;
	esac
	shift 2
done

for library in cleanup packages link registry containerd cgroup timed; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done
. "$BENCH/workloads.sh"
. "$BENCH/measure.sh"
. "$BENCH/touched.sh"
. "$BENCH/pods.sh"

# --- what is to be measured -----------------------------------------------------

# ROWS: "FILE ROW", in the order of the files. The names of --systems are patterns.
choose_rows() {
	local file row name known='' names=()

	read -ra names <<<"$SYSTEMS"
	[ ${#names[@]} -gt 0 ] ||
		mapfile -t names < <(sed -n 's/^#   \* \([a-z-]*\).*/\1/p' "$BENCH"/systems/*.sh)
	ROWS=()
	for file in $FILES; do
		# shellcheck source=/dev/null
		. "$BENCH/systems/$file.sh"
		for row in $("${file}_rows"); do
			known+=" $row "
			for name in "${names[@]}"; do
				# shellcheck disable=SC2053
				[[ $row != $name ]] || { ROWS+=("$file $row") && break; }
			done
		done
	done
	for name in "${names[@]}"; do
		[[ $known == *\ $name\ * ]] || { echo "coldstart.sh: no such system: $name; --help" >&2 && exit 2; }
	done
	mapfile -t USED_FILES < <(printf '%s\n' "${ROWS[@]% *}" | uniq)
}

# wants PATTERN: is there such a row?
wants() {
	local pair

	for pair in "${ROWS[@]}"; do
		# shellcheck disable=SC2053
		[[ ${pair#* } != $1 ]] || return 0
	done
	return 1
}

# Converted forms are kept: form_is NAME STAMP is true when form NAME of IMAGE was made from the same things.
form_is() { [ "$(cat "$CACHE/forms/$IMAGE.$1" 2>/dev/null)" = "$2" ]; }
form_done() { echo "$2" >"$CACHE/forms/$IMAGE.$1"; }

# use_image NAME: what the system files see of it.
use_image() {
	IMAGE=$1
	workload "$IMAGE" || return
	REPOSITORY=$REGISTRY/bench/$IMAGE
	SOURCE=$REPOSITORY:source
	SOURCE_STAMP=$(cat "$CACHE/images/$WORKLOAD_IMAGE/.made" 2>/dev/null) || true
}

prepare_image() {
	local file

	use_image "$1" || return
	say "preparing $IMAGE"
	interruptible "$SOURCE_DIR/test/images/make.py" --keep "$WORKLOAD_IMAGE" "$CACHE/images/$WORKLOAD_IMAGE" \
		>>"$WORK/make-image.log" 2>&1 || {
		tail -n 5 "$WORK/make-image.log" >&2
		return 1
	}
	use_image "$1"
	form_is source "$SOURCE_STAMP" || {
		registry_push "oci:$CACHE/images/$WORKLOAD_IMAGE:latest" "bench/$IMAGE:source" &&
			form_done source "$SOURCE_STAMP" || return
	}
	for file in "${USED_FILES[@]}"; do
		[ -n "${SKIPPED[$file]:-}" ] || {
			SKIP=
			"${file}_image" || skip "$file $IMAGE" "${SKIP:-its image could not be made}"
		}
	done
	! wants 'cocoon-*' || [ -n "${SKIPPED[cocoon $IMAGE]:-}" ] || touched_measure ||
		skip "what $IMAGE touches" "${SKIP:-it did not answer from the exported image}"
}

report() {
	parameters >"$OUT/parameters.json"
	"$BENCH/report.py" "$OUT"
}

# --- the run ----------------------------------------------------------------------

choose_rows
for image in $IMAGES; do
	workload "$image"
done
need_packages run image peers bench
work_dir bench
WORK_CGROUP=cocoon-$(basename "$WORK").
cgroup_prefix "$WORK_CGROUP"
exec {NOTHING_FD}<> <(:)
mkdir -p "$OUT" "$CACHE/images" "$CACHE/forms" "$CACHE/registry" "$CACHE/exports" "$WORK/registry" "$WORK/answer"
chmod 1777 "$WORK/answer"
OUT=$(realpath "$OUT") CACHE=$(realpath "$CACHE")
if [ -z "$COCOON_BIN" ]; then
	say "building"
	need_packages build
	. "$SOURCE_DIR/test/lib/build.sh"
	build_programs "$WORK/build" || {
		tail -n 20 "$WORK/build.log" >&2
		exit 1
	}
fi
. "$SOURCE_DIR/test/lib/cocoon.sh"
. "$SOURCE_DIR/test/lib/pod.sh"
COCOON_BUILD_ID=$(sha256sum "$COCOON" | cut -c1-12)

declare -A SKIPPED
# Two runs may share the cache, but one prepares at a time.
exec {CACHE_LOCK}>"$CACHE/lock"
flock "$CACHE_LOCK"
link_start
ln -s "$CACHE/registry" "$WORK/registry/data"
registry_start registry link
keys_make "$CACHE/keys"
plugins=()
for file in "${USED_FILES[@]}"; do
	mapfile -t -O ${#plugins[@]} plugins < <("${file}_plugin")
done
containerd_start containerd "${plugins[@]}"
for file in "${USED_FILES[@]}"; do
	SKIP=
	"${file}_prepare" || skip "$file" "${SKIP:-it does not start}"
done
for image in $IMAGES; do
	prepare_image "$image"
done
flock -u "$CACHE_LOCK" # the daemons have inherited it

printf '%s\n' "$CSV_COLUMNS" >"$OUT/runs.csv"
echo "image,link,system,round,seconds,bytes" >"$OUT/bytes.csv"
read -ra images <<<"$IMAGES"
read -ra rates <<<"$RATES"
CELLS=$((RUNS * ${#images[@]} * ${#rates[@]} * ${#ROWS[@]})) CELLS_DONE=0
[ -z "$LOCK" ] || exec {LOCK_FD}>"$LOCK"
for ((round = 1; round <= RUNS; round++)); do
	for rate in $RATES; do
		for image in $IMAGES; do
			[ -z "$LOCK" ] || flock "$LOCK_FD"
			measure_rows "$round" "$rate" "$image"
			[ -z "$LOCK" ] || flock -u "$LOCK_FD"
		done
	done
	report # a run that is ended early leaves whole rounds
done

[ "$PODS" = 0 ] || pods_measure "${images[0]}" "$PODS" "${rates[0]}" || skip "$PODS pods" "not all of them answered"
report
say "the report is $OUT/report.md"
