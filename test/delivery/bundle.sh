#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The guest's part as it is delivered: small, the same bytes wherever it is built, and it works in a root directory that
# has nothing else: no library, no configuration, no /etc; of devices only /dev/fuse and /dev/null.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
SOURCE=$(cd "$here/../.." && pwd)
REF=localhost:5000/delivery/test:1
LIMIT=$((10 << 20))

bundle() {
	interruptible "$SOURCE/contrib/guest/bundle.sh" "$WORK/bundle.tar.gz"
}

is_small() {
	[ "$(gzip -dc "$WORK/bundle.tar.gz" | wc -c)" -lt $LIMIT ] && ls -l "$ROOT/usr/bin/cocoon-guestfs"
}

needs_nothing() {
	! readelf -lW "$ROOT/usr/bin/cocoon-guestfs" | grep INTERP && ! readelf -dW "$ROOT/usr/bin/cocoon-guestfs" | grep NEEDED
}

# Position-independent, nothing writable and executable, no library of another's at run time.
is_hardened() {
	local program=$ROOT/usr/bin/cocoon-guestfs

	readelf -hW "$program" | grep 'Type: *DYN' && readelf -lW "$program" | grep GNU_RELRO &&
		! readelf -lW "$program" | grep -E ' (LOAD|GNU_STACK) .* RWE'
}

# The tree is copied to a path of another length; both copies are built without each other's files.
is_reproducible() {
	local copy=$WORK/another/place/of/the/sources

	mkdir -p "$copy" && tar -C "$SOURCE" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$copy" -xf - &&
		interruptible env CCACHE_DISABLE=1 LC_ALL=C TZ=UTC "$copy/contrib/guest/bundle.sh" "$WORK/again.tar.gz" &&
		cmp "$WORK/bundle.tar.gz" "$WORK/again.tar.gz" && sha256sum "$WORK/again.tar.gz"
}

# What libraries say about paths of the machine they were built on is theirs; of ours there is none.
names_no_builder() {
	! grep -aF -e "$SOURCE" -e "$WORK" "$ROOT/usr/bin/cocoon-guestfs"
}

empty_root() {
	tar -xzf "$WORK/bundle.tar.gz" -C "$ROOT" && mkdir "$ROOT"/{dev,proc,sys,run,mnt} &&
		mknod "$ROOT/dev/fuse" c 10 229 && mknod -m 666 "$ROOT/dev/null" c 1 3 && mount -t proc proc "$ROOT/proc" && mount -t sysfs sysfs "$ROOT/sys"
}

make_image() {
	fixture_image && fixture_host_start 65536
	at_exit rm -f "$ROOT/run/host.sock"
	ln "$WORK/host.sock" "$ROOT/run/host.sock" && cp "$WORK/key" "$ROOT/key"
}

in_root() {
	chroot "$ROOT" "$@" </dev/null
}

# mounts FRONT: it is mounted, read and unmounted, and its daemon ends.
mounts() {
	local i

	in_root /usr/bin/cocoon-guestfs --front "$1" --key file:/key --host unix:/run/host.sock --print-manifest "$REF" /mnt &&
		diff -r "$WORK/tree" "$ROOT/mnt" && umount "$ROOT/mnt" || return
	for ((i = 0; i < 200; i++)); do
		[ -n "$(pgrep -x 'cocoon-guestfs|cocoon-keeper' | xargs -rI{} sh -c 'readlink /proc/{}/root' | grep -Fx "$ROOT")" ] || return 0
		sleep 0.05
	done
	echo "the daemon runs after its mount is gone"
	return 1
}

refuses_a_wrong_key() {
	head -c 32 /dev/zero >"$ROOT/wrong"
	! in_root /usr/bin/cocoon-guestfs --key file:/wrong --host unix:/run/host.sock "$REF" /mnt && ! mountpoint -q "$ROOT/mnt"
}

work_dir delivery
ROOT=$WORK/root
mkdir "$ROOT"
at_exit unmount_below "$ROOT"
check "bundle" bundle || exit 1
check "empty root" empty_root
check "under 10 MiB" is_small || true
check "needs no library" needs_nothing || true
check "hardened" is_hardened || true
check "names no builder" names_no_builder || true
check "the image and its host" make_image
for front in block loop tree; do
	if [ $front = loop ]; then
		mount --bind /dev "$ROOT/dev"
	fi
	check "$front front in an empty root" mounts $front || true
done
check "refuses a wrong key" refuses_a_wrong_key || true
check "the same bytes from another place" is_reproducible || true
checks_end
