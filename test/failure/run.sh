#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Each call of the guest fails, once or from then on: the image reader in process (test-failure), then the
# daemon with a real mount (mounts.py), both fronts. Without an argument a slice for every day (the image
# reader's is in ctest): each call at one index, or at each where there are few, allocations at eight. --all takes
# every index (hours). Other arguments go to mounts.py, to try one thing again as a line of WRONG says:
#
#   test/failure/run.sh [--all]
#   test/failure/run.sh --front tree --phase live --fault memory/ENOMEM --once --at 17 [--trace]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
GUESTFS=${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs
PROGRAM=$COCOON_BIN/test-failure
LIBRARY=${COCOON_BUILD:?the build directory}/test/failure/libcocoon-inject.so

make_image() {
	local i

	mkdir -p "$WORK/tree/sub/many" && cd "$WORK/tree" || return
	head -c 300000 /dev/urandom >random
	seq 20000 >sub/text
	for ((i = 0; i < 60; i++)); do echo "$i" >"sub/many/file-with-a-name-$i"; done
	ln -s ../random sub/link
	ln sub/text sub/hard
	setfattr -n user.a -v b random
	setfattr -n user.long -v "$(head -c 3000 /dev/zero | tr '\0' x)" sub/text
	cd "$WORK" && mkfs.erofs "$WORK/image" "$WORK/tree" >/dev/null
}

mounts() {
	interruptible "$here/mounts.py" --guestfs "$GUESTFS" --library "$LIBRARY" --program "$PROGRAM" \
		--host "$WORK/host.sock" --key "$WORK/key" --tree "$WORK/tree" --work "$WORK" "$@"
}

work_dir failure
at_exit unmount_below "$WORK"
make_image
fixture_host_start 16384
case ${1:-} in
'')
	check "mounts" mounts --most 1
	;;
--all)
	check "the image reader" interruptible "$PROGRAM" all
	check "mounts" mounts
	;;
*) mounts "$@" ;;
esac
[ "$CHECKS" = 0 ] || checks_end
