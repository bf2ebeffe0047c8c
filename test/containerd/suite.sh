#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containerd's own suite for snapshotters against cocoon-snapshotter. Built from Debian's Go sources, without the network.
#
#   COCOON_BIN=DIR test/containerd/suite.sh [GO TEST FLAGS…]       DIR holds cocoon-snapshotter; flags e.g. -test.run Walk
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/cleanup.sh"
. "$here/../lib/packages.sh"

program=$(realpath "${COCOON_BIN:?the directory of the programs}/cocoon-snapshotter")
need_packages run peers
work_dir suite

# GOPATH mode: Debian's libraries are one source tree, and ours is a package in another.
gopath=$WORK/go
mkdir -p "$gopath/src" "$WORK/tmp"
cp -r "$here/suite" "$gopath/src/cocoon-suite"
(
	cd "$gopath/src/cocoon-suite"
	export GO111MODULE=off GOPATH=$gopath:/usr/share/gocode GOFLAGS='' GOCACHE=${GOCACHE:-$WORK/cache} GOTOOLCHAIN=local
	interruptible go test -c -o "$WORK/suite.test" .
)

# The suite leaves nothing mounted when its tests pass; when one fails, what it left is taken down here.
unmount_leftovers() {
	awk -v mark="$WORK/" 'index($5, mark) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r at; do umount -l "$at"; done
}
at_exit unmount_leftovers
TMPDIR=$WORK/tmp COCOON_SNAPSHOTTER=$program interruptible timeout 600 "$WORK/suite.test" -test.v "$@"
