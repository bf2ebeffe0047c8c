#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What one secret makes shareable is shared: a rebuilt image gives the same data blobs, an image with one
# changed layer pushes that layer only, and an updated Debian has most chunks of the one before. Under
# another secret nothing is shared.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

# seal LAYOUT TAG [OPTION…]: into the one repository; the summary is kept as TAG.json.
seal() {
	local source=$1 tag=$2
	shift 2

	image_seal "oci:$source" "dedup/image:$tag" "$@" >"$WORK/$tag.json"
}

of() { jq -r ".$2" "$WORK/$1.json"; }

# The digests of an image's data blobs, in order.
data_blobs() {
	"$COCOON" inspect --json --plain-http "$REGISTRY/dedup/image:$1" | jq -r '.blobs[:-1][].digest'
}

# blobs_differ A B N: in exactly N places.
blobs_differ() {
	local places

	places=$(paste <(data_blobs "$1") <(data_blobs "$2") | awk '$1 != $2' | wc -l)
	echo "$places of $(data_blobs "$2" | wc -l) data blobs differ"
	[ "$places" = "$3" ]
}

stored_bytes() { du -sb --apparent-size "$REGISTRY_DIR/data/docker/registry/v2/blobs" | cut -f1; }

# pushes LIMIT SEAL-ARGUMENT…: what the registry's storage grows by, beside the index blob, which is new each
# time because its keys are. The registry knows nothing of what the program says about itself.
pushes() {
	local limit=$1 before grown present
	shift

	before=$(stored_bytes)
	seal "$@" || return
	grown=$(($(stored_bytes) - before - $(of "$2" index_bytes)))
	present=$(of "$2" blobs_present)
	echo "$grown bytes came into the registry beside the index, $limit allowed; $present blobs were there"
	[ "$grown" -le "$limit" ]
}

# shares OLD NEW PERCENT: at least so much of NEW's chunks, and of their bytes, is OLD's.
shares() {
	"$here/sealed.py" shared "$REGISTRY_DIR/data" "$(of "$1" manifest)" "$(of "$2" manifest)" >"$WORK/shared.json"
	jq -r '"\(.chunks_shared) of \(.chunks) chunks (\(1000 * .chunks_shared / .chunks | round / 10) %), "
		+ "\(.bytes_shared) of \(.bytes) bytes (\(1000 * .bytes_shared / .bytes | round / 10) %), "
		+ "\(.blobs_shared) of \(.blobs) blobs"' "$WORK/shared.json"
	jq -e --argjson p "$3" '100 * .chunks_shared >= $p * .chunks and 100 * .bytes_shared >= $p * .bytes' \
		"$WORK/shared.json" >/dev/null
}

shares_nothing() {
	shares "$1" "$2" 0 && jq -e '.chunks_shared == 0 and .blobs_shared == 0' "$WORK/shared.json" >/dev/null
}

# Manifest, config and the files in which the registry keeps links.
SMALL=65536

work_dir dedup
keys_make
registry_start registry

check "layers60: image" image_make layers60
layers60=$IMAGE_LAYOUT
check "layers60: sealed" seal "$layers60" first --threads 1
check "again, with other threads" pushes $SMALL "$layers60" again --threads 3
check "again: the same blobs" blobs_differ first again 0
check "one layer changed: made" "$here/change-layer.py" "$layers60" 30 "$WORK/changed"
check "one layer changed: sealed" pushes $((SMALL + 200000)) "$WORK/changed" changed
check "one layer changed: one blob" blobs_differ first changed 1

check "debian: image" image_make debian
check "debian: sealed" seal "$IMAGE_LAYOUT" debian
check "debian-updated: image" image_make debian-updated
check "debian-updated: sealed" seal "$IMAGE_LAYOUT" updated
check "debian-updated: chunks of debian" shares debian updated 50

rm "$KEYS/domain.secret"
"$COCOON" keygen domain "$KEYS/domain.secret"
check "another secret: sealed" seal "$layers60" other
check "another secret: nothing shared" shares_nothing first other
checks_end
