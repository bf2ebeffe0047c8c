#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the peers that Debian ships only as a library, and prints the path of
# the directory that holds them. The result is kept in a cache directory (third
# parties' sources take a minute to compile) and made anew when our source or
# Debian's packages change.
#
#   bench/peers/build.sh [CACHE-DIRECTORY]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../test/lib/packages.sh"
need_packages peers

cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/cocoon-bench}
sources=/usr/share/gocode/src

stamp=$(
	{
		cat "$here/stargz-daemon/main.go"
		go version
		dpkg-query -W -f '${Package} ${Version}\n' 'golang-github-containerd-*-dev'
	} | sha256sum | cut -c1-16
)
out=$cache/$stamp

if [ ! -x "$out/stargz-daemon" ]; then
	[ -d "$sources/github.com/containerd/stargz-snapshotter" ] || {
		echo "build.sh: the library's source is not in $sources" >&2
		exit 1
	}
	mkdir -p "$out"
	# GOPATH mode, because Debian installs libraries as a GOPATH and nothing
	# may be fetched from elsewhere. GOPATH/pkg is scratch.
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	(
		cd "$here/stargz-daemon"
		GO111MODULE=off GOPATH=$scratch:/usr/share/gocode GOFLAGS='' GOCACHE=$cache/go-build \
			go build -p 2 -o "$out/stargz-daemon.new" .
	)
	mv "$out/stargz-daemon.new" "$out/stargz-daemon"
fi
echo "$out"
