#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The one test command. As root on Debian 12: installs what the tests need, builds, runs, tells.
set -u

usage() {
    cat <<'END'
usage: test/run.sh [PART…]

Runs the tests, cheap ones first; without a PART all of them, `quick` stands for format, layering, unit and vectors.

  format       clang-format, shellcheck
  layering     which folder includes which; what the host daemon links
  unit         unit tests of every module (gcc), malformed samples through every decoder
  vectors      known answers: Wycheproof, RFC 5869, dm-verity, ocicrypt
  tidy         clang's warnings, which are errors as gcc's are, and clang-tidy
  asan         unit tests and malformed samples under AddressSanitizer and UBSan
  tsan         unit tests under ThreadSanitizer
  fuzz         each fuzz target for FUZZ_SECONDS (default 4)
  harness      the tests' own tools: clean-up, tree comparison, the two oracles
  hostile      every bit flipped, random mutations, the simulator, each call failing in process, a host that lies to
               real mounts of sanitized daemons, what a host can tell from what is asked, a slice of each call failing in
               the daemon with a real mount
  delivery     the guest's part as one program, a Kata image that has it, configuration against schemas, kernels
  integration  publisher, chunk store and guest with a real registry, real FUSE and real EROFS
  containerd   snapshotter and `cocoon pull` under a real containerd and runc
  vm           pods in virtual machines on a node, and against a host that lies: Debian kernels, a real virtio socket

Environment: BUILD_ROOT (default: build-test in the source tree), FUZZ_SECONDS, KEEP_WORK=1 (keep the work
directories of failed scripts). Ends with a line `N passed, N failed` and exit code 0 when nothing failed.
END
}

cd "$(dirname "$0")/.." || exit 1
SOURCE=$PWD
BUILD_ROOT=${BUILD_ROOT:-$SOURCE/build-test}
FUZZ_SECONDS=${FUZZ_SECONDS:-4}
ALL="format layering unit vectors tidy asan tsan fuzz harness hostile delivery integration containerd vm"
HOSTILE="tamper|sim|failure" # names of ctest tests that belong to part hostile
PASSED=0
FAILED=0

. test/lib/packages.sh

say() {
    printf '%s\n' "$*"
}

# count NAME STATUS LOG: one test more; a failed one shows the end of its log.
count() {
    if [ "$2" = 0 ]; then
        PASSED=$((PASSED + 1))
        say "ok      $1 (${SECONDS_TAKEN}s)"
    else
        FAILED=$((FAILED + 1))
        say "FAILED  $1 (${SECONDS_TAKEN}s, status $2)"
        tail -n 60 "$3" | sed 's/^/        /'
    fi
}

# check NAME COMMAND…: a command is one test.
check() {
    local name=$1 log status=0 start=$SECONDS
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    SECONDS_TAKEN=$((SECONDS - start))
    count "$name" "$status" "$log"
    rm -f "$log"
    return "$status"
}

# build NAME CMAKE-OPTION…: a development build in its own directory; one test.
build() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # the inner shell expands
    check "build/$name" sh -c 'dir=$1; shift
        cmake -S . -B "$dir" -G Ninja -DDEVELOP=ON "$@" && cmake --build "$dir"' \
        build "$BUILD_ROOT/$name" "$@"
}

# tests NAME [CTEST-OPTION…]: every test of a build, counted one by one.
tests() {
    local name=$1 log passed failed status=0 start=$SECONDS
    shift
    log=$(mktemp)
    ctest --test-dir "$BUILD_ROOT/$name" -j4 --output-on-failure --timeout 300 --no-tests=error "$@" \
        >"$log" 2>&1 </dev/null || status=$?
    passed=$(grep -c ' Passed ' "$log")
    failed=$(grep -cE '\*\*\*(Failed|Exception|Timeout|Not Run)|Subprocess aborted' "$log")
    [ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    if [ "$status" = 0 ]; then
        say "ok      $name: $passed tests ($((SECONDS - start))s)"
    else
        say "FAILED  $name: $failed of $((passed + failed)) tests ($((SECONDS - start))s)"
        grep -vE ' Passed |Start +[0-9]+:' "$log" | tail -n 80 | sed 's/^/        /'
    fi
    rm -f "$log"
}

# Scripts that run, by process: their paths, logs and when they began.
declare -A SCRIPT_PATH=() SCRIPT_LOG=() SCRIPT_BEGAN=()

script_begin() {
    local log
    log=$(mktemp)
    # shellcheck disable=SC2086 # its arguments are words
    env BUILD_ROOT="$BUILD_ROOT" COCOON_BIN="$BUILD_ROOT/unit/bin" COCOON_BUILD="$BUILD_ROOT/unit" \
        bash $1 >"$log" 2>&1 </dev/null &
    SCRIPT_PATH[$!]=$1 SCRIPT_LOG[$!]=$log SCRIPT_BEGAN[$!]=$SECONDS
}

# Waits for one of them.
script_end() {
    local pid status=0
    wait -n -p pid "${!SCRIPT_PATH[@]}" || status=$?
    SECONDS_TAKEN=$((SECONDS - SCRIPT_BEGAN[$pid]))
    count "${SCRIPT_PATH[$pid]#test/}" "$status" "${SCRIPT_LOG[$pid]}"
    rm -f "${SCRIPT_LOG[$pid]}"
    unset "SCRIPT_PATH[$pid]"
}

# Each cleans up after itself, also when the whole is interrupted.
scripts_stop() {
    trap - INT TERM
    [ ${#SCRIPT_PATH[@]} = 0 ] || {
        kill -TERM "${!SCRIPT_PATH[@]}"
        wait "${!SCRIPT_PATH[@]}"
    } 2>/dev/null
    exit 130
}
trap scripts_stop INT TERM

# test_scripts PATH…: a script, perhaps with arguments, is one test. Two at a time: they share nothing but the programs.
test_scripts() {
    local path
    for path; do
        [ ${#SCRIPT_PATH[@]} -lt 2 ] || script_end
        script_begin "$path"
    done
    while [ ${#SCRIPT_PATH[@]} -gt 0 ]; do
        script_end
    done
}

# scripts FOLDER [NAME…]: each test/FOLDER/*.sh, those named (the longest) first.
scripts() {
    local folder=test/$1 path name
    local -a first=() rest=()
    shift
    for name; do
        first+=("$folder/$name.sh")
    done
    for path in "$folder"/*.sh; do
        [[ " ${first[*]} " = *" $path "* ]] || rest+=("$path")
    done
    test_scripts "${first[@]}" "${rest[@]}"
}

# the build that unit tests and scripts share; made once
develop_build() {
    [ -n "${DEVELOP_BUILT:-}" ] || build unit -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$BUILD_ROOT/unit/bin"
    DEVELOP_BUILT=1
}

part_format() {
    check format/clang-format sh -c 'git ls-files "*.c" "*.h" | xargs clang-format --dry-run -Werror'
    check format/shellcheck sh -c 'git ls-files "*.sh" .ci/run | xargs shellcheck -x -S warning'
}

part_layering() {
    develop_build
    scripts layering
}

part_unit() {
    develop_build
    tests unit -E "^(vectors|$HOSTILE)/"
}

part_vectors() {
    develop_build
    tests unit -R '^vectors/'
}

# clang's warnings are errors here; and clang-tidy reads this build's commands: it does not know gcc's warnings
tsan_build() {
    [ -n "${TSAN_BUILT:-}" ] ||
        build tsan -DSANITIZE=thread -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo
    TSAN_BUILT=1
}

part_tidy() {
    tsan_build
    # shellcheck disable=SC2016
    check tidy sh -c 'git ls-files "*.c" | grep -vE "^(test|bench)/" | xargs -P2 -n1 clang-tidy --quiet -p "$1"' \
        tidy "$BUILD_ROOT/tsan"
}

part_asan() {
    build asan -DSANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug
    tests asan -E "^($HOSTILE)/"
}

part_tsan() {
    tsan_build
    TSAN_OPTIONS="ignore_noninstrumented_modules=1 ${TSAN_OPTIONS:-}" tests tsan -R '^unit/'
}

part_fuzz() {
    build fuzz -DFUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$BUILD_ROOT/fuzz/bin" ||
        return
    local target name corpus
    corpus=$(mktemp -d)
    for target in "$BUILD_ROOT"/fuzz/bin/fuzz-*; do
        name=${target##*/fuzz-}
        check "fuzz/$name" "$target" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=1024 \
            -artifact_prefix="$corpus/" "$corpus" "test/fuzz/corpus/$name"
        rm -rf "${corpus:?}"/*
    done
    rm -rf "$corpus"
}

part_harness() {
    local script
    for script in test/compare/selftest.sh test/compare/oracles.sh test/lib/selftest.sh; do
        check "${script#test/}" bash "$script"
    done
}

part_hostile() {
    develop_build
    tests unit -R "^($HOSTILE)/"
    test_scripts "test/hostile/run.sh --sanitizer address,undefined" "test/hostile/run.sh --sanitizer thread" \
        test/leak/run.sh test/failure/run.sh
}

part_delivery() {
    develop_build
    scripts delivery
}

part_integration() {
    develop_build
    scripts integration fidelity tamper dedup
}

part_containerd() {
    develop_build
    scripts containerd
}

part_vm() {
    develop_build
    scripts vm
}

case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
quick) set -- format layering unit vectors ;;
'') # shellcheck disable=SC2086
    set -- $ALL ;;
esac
for part; do
    case " $ALL " in
    *" $part "*) ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
[ "$(id -u)" = 0 ] || {
    say "test/run.sh needs root: it mounts filesystems and starts containers" >&2
    exit 2
}
need_packages build run image test peers vm || exit 1
for part; do
    "part_$part"
done
say "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
