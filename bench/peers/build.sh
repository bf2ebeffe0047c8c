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

stamp=$(
	{
		cat "$here"/*/main.go
		go version
		dpkg-query -W -f '${Package} ${Version}\n' 'golang-github-contain*-dev'
	} | sha256sum | cut -c1-16
)
out=$cache/$stamp

# GOPATH mode, because Debian installs libraries as a GOPATH and nothing
# may be fetched from elsewhere. GOPATH/pkg is scratch. Without cgo a program
# runs in any machine.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"
for peer in stargz-daemon guest-pull; do
	[ ! -x "$out/$peer" ] || continue
	(
		cd "$here/$peer"
		GO111MODULE=off GOPATH=$scratch:/usr/share/gocode GOFLAGS='' GOCACHE=$cache/go-build CGO_ENABLED=0 \
			go build -p 2 -o "$out/$peer.new" .
	)
	mv "$out/$peer.new" "$out/$peer"
done
echo "$out"
