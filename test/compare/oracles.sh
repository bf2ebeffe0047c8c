#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The two oracles against each other: what expect.py works out of an image's tars is what umoci unpacks,
# but for the losses told in unpack.sh, which are listed here line by line. Any other line fails.
set -euo pipefail

usage="usage: oracles.sh [DIR]     DIR (default: a temporary one) is on ext4 or xfs; root"
here=$(dirname "$(readlink -f "$0")")
make=$here/../images/make.py
[ $# -le 1 ] || { echo "$usage" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "oracles.sh: needs root" >&2; exit 77; }
tmp=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/oracles.XXXXXX")
cleanup() {
    mountpoint -q "$tmp/tmpfs" 2>/dev/null && umount "$tmp/tmpfs"
    rm -rf "$tmp"
}
trap cleanup EXIT
failed=0

# check NAME DIR [REGEX]: REGEX matches the differences that umoci is known for.
check() {
    local name=$1 dir=$2 known=${3:-^$} out status=0
    "$make" "$name" "$tmp/$name" >/dev/null
    "$here/expect.py" "$tmp/$name" >"$tmp/$name.dump"
    "$here/unpack.sh" "$tmp/$name" "$dir/$name.root" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
    out=$("$here/tree.py" compare --max 1000 "$tmp/$name.dump" "$dir/$name.root") || status=$?
    if [ $status = 0 ]; then
        echo "$name: $out"
    elif [ $status = 1 ] && [ -z "$(grep -vE -e "$known" -e '^DIFFERENT: ' <<<"$out")" ]; then
        echo "$name: the same but for $(($(wc -l <<<"$out") - 1)) losses of umoci's that are known"
    else
        echo "FAILED $name: $out"
        failed=1
    fi
    rm -rf "$dir/$name.root"
}

check empty "$tmp"
check layers60 "$tmp"
check torture "$tmp" '^/up/(again/dir|opq2/sub): mtime|^/xattr/values: xattr user\.empty , found none$'
check torture-docker "$tmp" '^/up/(again/dir|opq2/sub): mtime|^/xattr/values: xattr user\.empty , found none$'
check multiarch "$tmp"
mkdir "$tmp/tmpfs"
mount -t tmpfs -o mode=755,size=256m oracles "$tmp/tmpfs"
check xattr-large "$tmp/tmpfs"
exit $failed
