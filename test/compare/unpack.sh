#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks an image with umoci, so that another program's idea of the tree can be compared with ours.
#
# Where umoci 0.4.7 loses something, found by comparing with expect.py (oracles.sh holds the proof):
# - layers: zstd, Docker's media types and PAX global headers are unknown to it; plain.py rewrites these.
# - holes: sparse files are written out as zeros; the old GNU form of sparse files is refused. Image
#   sparse-gnu, and holes of any image, have expect.py as their only oracle.
# - an xattr with an empty value is dropped (Go's tar reader takes it for "no value").
# - a directory whose whiteout, or whose parent's opaque mark, stands behind its own entry in the tar
#   gets the time of unpacking when older content is taken out of it. Otherwise directories keep their
#   times, also when a layer adds to them without listing them.
# - a directory that no layer lists is 0755 (umask 022) root:root with the time of unpacking.
# - trusted.overlay.* is refused with a warning, as it should be; security.selinux and
#   system.nfs4_acl are ignored.
# - a file system may be too small for an xattr: ext4 takes about 4000 bytes an inode. Unpack
#   xattr-large on tmpfs or xfs.
# Kept, and compared: nanoseconds, times before 1970 and after 2106, setuid, capabilities, trusted.*,
# ACLs, 32-bit owners, devices, hard links of every kind, names of any bytes.
set -euo pipefail
umask 022

usage="usage: unpack.sh LAYOUT[:TAG] DIR     (root; DIR must not exist; ext4, xfs or tmpfs)"
[ $# -eq 2 ] || { echo "$usage" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
rootfs=$2
[ ! -e "$rootfs" ] || { echo "unpack.sh: $rootfs exists" >&2; exit 2; }

plain=$(mktemp -d "$(dirname "$rootfs")/.unpack.XXXXXX")
trap 'rm -rf "$plain"' EXIT
"$here/plain.py" "$1" "$plain/layout"
umoci raw unpack --image "$plain/layout:plain" "$rootfs"
