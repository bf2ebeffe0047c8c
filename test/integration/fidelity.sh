#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes in comes out: each test image is sealed, pushed, verified, exported and mounted through the
# wire by both fronts, and each view of it is compared inode by inode with what its layers say.
#
#   test/integration/fidelity.sh [IMAGE…]      names of test/images/make.py
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

# What is quick to fail comes first.
ALL=(empty torture torture-docker sparse-gnu multiarch xattr-large layers60 bigdir debian sparse8g big5g)

# What umoci's tree lacks; see test/compare/unpack.sh.
declare -A UMOCI=(
	[torture]='^/(up/again/dir|up/opq2/sub|implied|implied/by|implied/by/a): mtime|^/xattr/values: xattr user\.empty none, found $'
	[debian]='^$'
)

tree() { interruptible "$here/../compare/tree.py" "$@"; }

fsck() {
	local out status=0

	out=$(fsck.erofs "$1" 2>&1) || status=$?
	printf '%s\n' "$out"
	# fsck.erofs 1.5 tells of a wrong checksum and exits 0.
	[ "$status" = 0 ] && ! grep -q '<E>' <<<"$out"
}

verify() {
	interruptible "$COCOON" verify --plain-http --key "$KEY" "$SEALED_REF" >"$WORK/verify.out" &&
		head -n 1 "$WORK/verify.out"
}

# The hash tree as cryptsetup sees it.
verity() {
	local index root offset

	read -r index root offset < <("$here/sealed.py" verity "$REGISTRY_DIR/data" "$1") || return
	interruptible veritysetup verify "$index" "$index" "$root" --hash-offset="$offset" && echo "root $root"
}

# same DIR: the tree there is the one that the layers say, holes included.
same() {
	tree dump --holes "$1" >"$WORK/actual.dump" && tree compare --holes "$IMAGE_DUMP" "$WORK/actual.dump"
}

# same_as_umoci REGEX: the dump that `same` has left, against what umoci unpacks.
same_as_umoci() {
	local known=$1 out status=0

	if [ ! -e "$WORK/umoci.dump" ]; then
		interruptible "$here/../compare/unpack.sh" "$IMAGE_LAYOUT" "$WORK/umoci" >"$WORK/umoci.log" 2>&1 &&
			tree dump "$WORK/umoci" >"$WORK/umoci.dump" || return
		rm -rf "$WORK/umoci"
	fi
	out=$(tree compare --max 1000 "$WORK/umoci.dump" "$WORK/actual.dump") || status=$?
	case $status in
	0) echo "$out" ;;
	1)
		out=$(grep -v '^DIFFERENT: ' <<<"$out")
		if grep -vE -e "$known" <<<"$out"; then
			return 1
		fi
		echo "the same but for $(wc -l <<<"$out") losses of umoci's that are known"
		;;
	*) return "$status" ;;
	esac
}

# view NAME DIR: all comparisons of one view.
view() {
	check "$1" same "$2" || return
	[ -z "${UMOCI[$image]:-}" ] || check "$1, umoci" same_as_umoci "${UMOCI[$image]}"
}

fidelity() {
	local image=$1 platform=${2:-linux/amd64} name=$1${2:+ ${2##*/}} front dir=$WORK/mnt

	rm -f "$WORK"/*.dump
	check "$name: expectation" image_expect "$platform" || return
	check "$name: convert" seal "$image" "$platform" || return
	check "$name: verify" verify || true
	check "$name: veritysetup verify" verity "$MANIFEST" || true
	if check "$name: export" interruptible "$COCOON" export --plain-http --key "$KEY" "$SEALED_REF" "$WORK/erofs"; then
		check "$name: fsck.erofs" fsck "$WORK/erofs" || true
		if check "$name: kernel mount" erofs_mount "$WORK/erofs" "$dir"; then
			view "$name: exported tree" "$dir" || true
			check "$name: kernel unmount" umount "$dir" || true
		fi
	fi
	rm -f "$WORK/erofs"
	for front in block tree; do
		check "$name: $front mount" guest_mount "$front" "$SEALED_REF" "$dir" || continue
		view "$name: $front tree" "$dir" || true
		check "$name: $front unmount" guest_unmount "$dir" || true
	done
}

seal() {
	image_seal "oci:$IMAGE_LAYOUT" "fidelity/$1:${2//\//-}" --platform "$2" >"$WORK/seal.json" || return
	MANIFEST=$(jq -r .manifest "$WORK/seal.json")
	jq -r '"\(.tar_bytes) bytes of tar, \(.image_bytes) of image, \(.sealed_bytes) sealed in \(.chunks) chunks"' \
		"$WORK/seal.json"
}

work_dir fidelity
keys_make
registry_start registry
host_start host

[ $# -gt 0 ] || set -- "${ALL[@]}"
for image; do
	check "$image: image" image_make "$image" || continue
	fidelity "$image" || true
	if [ "$image" = multiarch ]; then
		fidelity "$image" linux/arm64 || true
	fi
done
checks_end
