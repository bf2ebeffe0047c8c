# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Building the programs of this source tree. To be sourced after cleanup.sh.
#
#   build_programs DIR [CMAKE-OPTION…]     build directory DIR; log in $WORK/build.log
#     COCOON_BIN      the directory that holds cocoon, cocoon-snapshotter, cocoon-guestfs

build_programs() {
	local dir=$1 source
	shift

	source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	COCOON_BIN=$dir/bin
	{
		interruptible cmake -S "$source" -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE=Release \
			-DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$COCOON_BIN" "$@" &&
			interruptible cmake --build "$dir"
	} >"$WORK/build.log" 2>&1
}
