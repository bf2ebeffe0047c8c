#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A long fuzz campaign: every target for so many seconds of processor time, two at a time, each with a corpus of
# its own that the next campaign goes on from. Prints a line for each target; exit status 1 when one of them
# found something.
set -u

usage() {
	cat <<'END'
usage: test/fuzz/campaign.sh [--seconds N] [--jobs N] BIN CORPORA [TARGET…]

  BIN      where the programs fuzz-* are: cmake -DFUZZ=ON -DCMAKE_C_COMPILER=clang, or test/run.sh fuzz
  CORPORA  a directory that keeps what was learned, a folder for each target; finds go to CORPORA/finds
  N        seconds of processor time for each target (default 900), targets at a time (default 2)

A find becomes a named sample in test/fuzz/corpus/TARGET, which the tests replay from then on.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SLICE=60 # seconds of wall clock between two looks at the processor time used
seconds=900 jobs=2
while [[ ${1:-} = --* ]]; do
	case $1 in
	--seconds) seconds=$2 ;;
	--jobs) jobs=$2 ;;
	*)
		usage
		exit 2
		;;
	esac
	shift 2
done
[ $# -ge 2 ] || {
	usage >&2
	exit 2
}
bin=$1 corpora=$2
shift 2
if [ $# = 0 ]; then
	set -- "$bin"/fuzz-*
	set -- "${@##*/fuzz-}"
fi

# used LOG: processor seconds of the children that `time` has written down there.
used() { awk '/^cpu / { s += $2 + $3 } END { printf "%d", s }' "$1"; }

campaign() {
	local name=$1 log=$corpora/$1.log corpus=$corpora/$1 status=0 before
	local TIMEFORMAT='cpu %U %S'

	mkdir -p "$corpus" "$corpora/finds"
	: >"$log"
	before=$(find "$corpus" -type f | wc -l)
	while [ "$status" = 0 ] && [ "$(used "$log")" -lt "$seconds" ]; do
		{ time "$bin/fuzz-$name" -max_total_time=$SLICE -timeout=60 -rss_limit_mb=1024 -print_final_stats=1 \
			-artifact_prefix="$corpora/finds/$name-" "$corpus" "$here/corpus/$name" >>"$log" 2>&1; } 2>>"$log" || status=1
	done
	printf '%-20s %6d s %12d runs %6d edges %5d new inputs  %s\n' "$name" "$(used "$log")" \
		"$(awk '/number_of_executed_units/ { n += $2 } END { print n }' "$log")" \
		"$(grep -o 'cov: [0-9]*' "$log" | awk '$2 > m { m = $2 } END { print m + 0 }')" \
		"$(($(find "$corpus" -type f | wc -l) - before))" "$([ "$status" = 0 ] && echo clean || echo FOUND)"
	return "$status"
}

export -f campaign used
export here SLICE seconds bin corpora
printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'campaign {}'
