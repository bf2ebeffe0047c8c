#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Includes go one way: proto ← crypto ← chunkstore ← snapshotter, and proto, crypto ← guestfs ← publisher. The host's side sees of
# crypto/ only what hashes, and TLS; the publisher sees of guestfs/ only the image reader, what records for it, and
# whom it asks for keys, and of chunkstore/ only the registry client and how that runs a helper.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0
checked=0

# folder FOLDER PATTERN…: what its files may include, besides their own folder and the system's headers.
folder() {
	local folder=$1 file line included pattern allowed
	shift

	while IFS=: read -r file line; do
		included=$(sed -E 's/^#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/' <<<"$line")
		checked=$((checked + 1))
		allowed=
		for pattern in "$folder/*" "$@"; do
			# shellcheck disable=SC2053 # a pattern is meant
			if [[ $included == $pattern ]]; then
				allowed=1
			fi
		done
		if [ -z "$allowed" ]; then
			echo "$file includes $included"
			failed=$((failed + 1))
		fi
	done < <(grep -rHE '^#[[:space:]]*include[[:space:]]*"' "$folder" --include='*.[ch]')
}

host=(crypto/sha256.h crypto/merkle.h crypto/tls.h)

folder proto/base
folder proto
folder crypto 'proto/base/*' 'proto/format/*'
folder chunkstore 'proto/*' "${host[@]}"
folder snapshotter 'chunkstore/*' 'proto/*' "${host[@]}" 'google/protobuf/*'
folder guestfs 'proto/*' 'crypto/*'
folder publisher 'proto/*' 'crypto/*' chunkstore/registry.h chunkstore/docker_config.h chunkstore/helper.h \
	guestfs/image.h guestfs/source.h 'guestfs/source_*.h' guestfs/key_spec.h guestfs/key_service.h \
	guestfs/chunk_open.h guestfs/recorder.h 'google/protobuf/*'

[ "$checked" -gt 100 ] || {
	echo "only $checked includes were found: this test does not see the sources" >&2
	exit 1
}
echo "$checked includes, $failed against the rules"
[ "$failed" = 0 ]
