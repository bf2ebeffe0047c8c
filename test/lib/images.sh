# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# Test images and what their trees have to look like. They take long to make, so they are kept from one
# script and run to the next, below $COCOON_BUILD. To be sourced after cleanup.sh.
#
#   image_make NAME           a name of test/images/make.py
#     IMAGE_LAYOUT            its OCI layout
#   image_expect [PLATFORM]   of the image made last; linux/amd64
#     IMAGE_DUMP              what tree.py is to find, worked out from the layers
#   CANARY                    planted in the debian images: content, file name, environment, label

IMAGES_TEST=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
IMAGES_DIR=${COCOON_BUILD:?the build directory}/images
CANARY=canary-2f6b1c94e0d7a835

image_make() {
	local name=$1

	IMAGE_LAYOUT=$IMAGES_DIR/$name
	mkdir -p "$IMAGES_DIR" &&
		interruptible "$IMAGES_TEST/images/make.py" --keep --canary "$CANARY" "$name" "$IMAGE_LAYOUT"
}

image_expect() {
	local platform=${1:-linux/amd64} newer file

	IMAGE_DUMP=$IMAGE_LAYOUT.${platform//\//-}.dump
	newer=$IMAGE_LAYOUT/.made
	for file in "$IMAGES_TEST"/compare/{expect,ocilayout,tree}.py; do
		[ "$newer" -nt "$file" ] || newer=$file
	done
	[ ! "$IMAGE_DUMP" -nt "$newer" ] || return 0
	interruptible "$IMAGES_TEST/compare/expect.py" --platform "$platform" "$IMAGE_LAYOUT" >"$IMAGE_DUMP.tmp" &&
		mv "$IMAGE_DUMP.tmp" "$IMAGE_DUMP"
}
