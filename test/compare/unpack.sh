#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks an image with umoci, so that another program's idea of the tree can be compared with ours.
set -euo pipefail

usage="usage: unpack.sh LAYOUT[:TAG] DIR     (root; DIR must not exist; ext4, xfs or tmpfs)"
[ $# -eq 2 ] || { echo "$usage" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
rootfs=$2
[ ! -e "$rootfs" ] || { echo "unpack.sh: $rootfs exists" >&2; exit 2; }

plain=$(mktemp -d "$(dirname "$rootfs")/.unpack.XXXXXX")
trap 'rm -rf "$plain"' EXIT
"$here/plain.py" "$1" "$plain/layout"
umoci raw unpack --image "$plain/layout:plain" "$rootfs"
