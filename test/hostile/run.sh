#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The guest daemon, built with a sanitizer, on real mounts against a host that lies: see README.md.
#
#   test/hostile/run.sh [--sanitizer address,undefined|thread] [--front block|tree] [CASE…]
#
# Without --sanitizer, both one after the other. The publisher is taken from $COCOON_BIN; sanitized daemons are
# built below $BUILD_ROOT (default: build-test in the source tree), where test/run.sh has them too.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
# shellcheck source=/dev/null
. "$here/../lib/cleanup.sh"
BUILD_ROOT=${BUILD_ROOT:-$source/build-test}
COCOON=${COCOON_BIN:-$BUILD_ROOT/unit/bin}/cocoon

export ASAN_OPTIONS=detect_leaks=1:exitcode=66:quarantine_size_mb=8:max_allocation_size_mb=64:hard_rss_limit_mb=800:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=66
export TSAN_OPTIONS=exitcode=66:max_allocation_size_mb=64:hard_rss_limit_mb=800:halt_on_error=0

# guestfs_build SANITIZER: $GUESTFS
guestfs_build() {
	local dir options

	case $1 in
	address,undefined) dir=$BUILD_ROOT/asan options=(-DCMAKE_BUILD_TYPE=Debug) ;;
	thread) dir=$BUILD_ROOT/tsan options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang) ;;
	*)
		echo "no such sanitizer here: $1" >&2
		return 2
		;;
	esac
	GUESTFS=$dir/guestfs/cocoon-guestfs
	{
		interruptible cmake -S "$source" -B "$dir" -G Ninja -DDEVELOP=ON "-DSANITIZE=$1" "${options[@]}" &&
			interruptible cmake --build "$dir" --target cocoon-guestfs
	} >"$WORK/build.log" 2>&1 || {
		tail -n 40 "$WORK/build.log" >&2
		return 1
	}
}

sanitizers=('address,undefined' thread)
if [ "${1:-}" = --sanitizer ]; then
	sanitizers=("$2")
	shift 2
fi
work_dir hostile
at_exit unmount_below "$WORK"
"$here/hostile.py" --check-table "$here/README.md"
status=0
for sanitizer in "${sanitizers[@]}"; do
	guestfs_build "$sanitizer"
	mkdir "$WORK/$sanitizer"
	echo "== $sanitizer"
	interruptible "$here/hostile.py" "$COCOON" "$GUESTFS" "$WORK/$sanitizer" "$@" || status=1
done
exit $status
