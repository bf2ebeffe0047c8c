# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The plain way, and the yardstick: containerd fetches the whole image, unpacks
# it, and runs it from its overlayfs snapshotter.

overlayfs_rows() { echo overlayfs; }

overlayfs_plugin() { :; }

overlayfs_programs() { :; }

overlayfs_prepare() { :; }

overlayfs_reset() { :; }

overlayfs_cold_start() {
	ctr images pull --plain-http "$SOURCE" >&2
	echo pulled
	container_run overlayfs "$SOURCE" "$2" "${COMMAND[@]}"
}

overlayfs_clean() {
	host_forgets overlayfs "$SOURCE"
}
