#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How much of the guest its tests run, by one command. As root: builds with clang's source-based coverage, runs the
# tests and the malformed samples of proto/, crypto/ and guestfs/, then the scripts that drive the daemon, and prints
# lines and branches for each file. Exit status 1 when a test fails or a threshold is missed.
#
# Branches are counted as they are written: each condition of an if, a loop, ?:, && and || once true and once false,
# each case of a switch. What a compiler adds (cleanup attributes, hardening) is no branch here, as it is for gcc.
# Nothing is excluded: clang has no marker for that, and a branch that no test can take has no place in the code.
#
# The counters lie in files that each process maps when it starts, so that it need not write anything later: a
# process that is killed, has changed its root or may no longer open files counts all the same. Of a killed one
# the last condition may be counted as decided though it was not; so the branches are those of the unit tests, whose
# processes all come to their end, and only the lines of guestfs/ are also those of the scripts.
set -u

usage() {
	cat <<'END'
usage: test/coverage.sh [--quick] [--missing]

  --quick    unit tests and malformed samples only, and only the thresholds that need no more
  --missing  list what no test ran: branches where all are wanted, lines of guestfs/

Thresholds: 100 % of the branches of crypto/ and of the path on which a chunk is verified and opened (its files are
in test/lib/coverage.py), 90 % of the lines of guestfs/. Environment: BUILD_ROOT (default: build-test in the source tree).
END
}

cd "$(dirname "$0")/.." || exit 1
SOURCE=$PWD
BUILD=${BUILD_ROOT:-$SOURCE/build-test}/coverage
COUNTERS=$BUILD/counters
LOG=$BUILD/log
FOLDERS=(proto crypto guestfs)
SCRIPTS=(integration/guestfs.sh integration/pods.sh)
quick='' list=''
while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=1 ;;
	--missing) list=--missing ;;
	*)
		usage
		[ "$1" = --help ]
		exit $(($? * 2))
		;;
	esac
	shift
done
[ "$(id -u)" = 0 ] || {
	echo "test/coverage.sh needs root: it mounts filesystems" >&2
	exit 2
}

. test/lib/packages.sh
need_packages build run image test || exit 1

# say NAME COMMAND…: one line for each step, the end of its words when it fails.
failed=0
say() {
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$LOG" 2>&1 </dev/null; then
		printf 'ok      %s (%ss)\n' "$name" $((SECONDS - start))
	else
		printf 'FAILED  %s (%ss)\n' "$name" $((SECONDS - start))
		tail -n 40 "$LOG" | sed 's/^/        /'
		failed=1
		return 1
	fi
}

build() {
	# a module's counter files carry its hash (%m), are mapped (%c) and added to by every process
	cmake -S . -B "$BUILD" -G Ninja -DDEVELOP=ON -DCMAKE_C_COMPILER=clang -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$BUILD/bin" \
		-DCMAKE_C_FLAGS="-fprofile-instr-generate=$COUNTERS/%c%m.profraw -fcoverage-mapping -fprofile-update=atomic \
-mllvm -runtime-counter-relocation -Wno-unused-command-line-argument" &&
		cmake --build "$BUILD" --target "${FOLDERS[@]/%//all}" cocoon cocoon-snapshotter
}

# export NAME: what has been counted so far, as JSON.
export_counts() {
	local objects=() file

	for file in "$BUILD"/bin/*; do
		objects+=(-object "$file")
	done
	llvm-profdata merge -o "$BUILD/profile" "$COUNTERS"/*.profraw &&
		llvm-cov export "${objects[@]:1}" -instr-profile "$BUILD/profile" >"$BUILD/$1.json"
}

mkdir -p "$BUILD"
say build build || exit 1
rm -rf "$COUNTERS"
for folder in "${FOLDERS[@]}"; do
	say "tests of $folder" ctest --test-dir "$BUILD/$folder" -j2 --output-on-failure --timeout 300 --no-tests=error
done
say "counts of the unit tests" export_counts unit || exit 1
if [ -z "$quick" ]; then
	for script in "${SCRIPTS[@]}"; do
		say "$script" env COCOON_BIN="$BUILD/bin" COCOON_BUILD="$BUILD" bash "test/$script"
	done
	say "counts of all" export_counts all || exit 1
fi
python3 test/lib/coverage.py $list "$SOURCE" "$BUILD/unit.json" ${quick:+--quick} "$BUILD/all.json" || failed=1
exit "$failed"
