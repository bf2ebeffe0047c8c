#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the guest's part of Cocoon as one archive that needs nothing of the system it is unpacked into:
#
#   contrib/guest/bundle.sh [OUT]        default: cocoon-guestfs-VERSION-ARCHITECTURE.tar.gz in this directory
#
# cocoon-guestfs, linked statically; mount.cocoon; the service for systemd. Paths are those of the guest, so
# `tar -xzf OUT -C ROOTFS` installs it. The same sources, compiler and libraries give the same bytes, wherever they are
# built: compare the digest that is printed with another builder's. Times in the archive are SOURCE_DATE_EPOCH, or the
# epoch itself.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=${1:-}
case $out in
-h | --help)
	sed -n '3,12s/^# \{0,1\}//p' "$0"
	exit
	;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# One build for all machines of the architecture: no options but these come in from outside.
env -u CFLAGS -u LDFLAGS cmake -S "$source" -B "$work/build" -G Ninja -DSTATIC=ON -DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_C_COMPILER=gcc >"$work/log" 2>&1 &&
	cmake --build "$work/build" >>"$work/log" 2>&1 &&
	DESTDIR=$work/root cmake --install "$work/build" --strip >>"$work/log" 2>&1 || {
	tail -n 30 "$work/log" >&2
	exit 1
}
program=$work/root/usr/bin/cocoon-guestfs
if [ -z "$out" ]; then
	version=$("$program" --version)
	out=cocoon-guestfs-${version##* }-$(uname -m).tar.gz
fi
tar -C "$work/root" --sort=name --mtime="@${SOURCE_DATE_EPOCH:-0}" --owner=0 --group=0 --numeric-owner --mode=go-w \
	--format=gnu -cf - . | gzip -9n >"$out"
printf '%s: %s bytes, cocoon-guestfs %s bytes, sha256:%s\n' "$out" "$(stat -c %s "$out")" "$(stat -c %s "$program")" \
	"$(sha256sum <"$out" | cut -d' ' -f1)"
