# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The plain way, and the yardstick: containerd's overlayfs snapshotter.
#
#   * overlayfs         fetches the whole image, unpacks it, runs it
#     overlayfs-warm    everything is unpacked; the page cache is dropped
#     overlayfs-second  everything is unpacked and in the page cache

overlayfs_rows() { echo overlayfs overlayfs-warm overlayfs-second; }
overlayfs_plugin() { :; }
overlayfs_programs() { :; }
overlayfs_prepare() { :; }
overlayfs_image() { :; }
overlayfs_keeps_cache() { [ "$1" = overlayfs-second ]; }
overlayfs_blobs() { echo source; }
overlayfs_pids() { :; }
overlayfs_wire() { :; }

overlayfs_fetch() { peak ctr ctr images pull --plain-http "$SOURCE"; }

overlayfs_reset() {
	[ "$1" = overlayfs ] || {
		overlayfs_fetch >>"$WORK/overlayfs-commands.log" 2>&1 && warm_up overlayfs "$1"
	}
}

overlayfs_pull() { [ "$1" != overlayfs ] || overlayfs_fetch; }
overlayfs_run() { container_run overlayfs "$SOURCE" "$2" "${COMMAND[@]}"; }
overlayfs_end() { ctr tasks kill -s KILL "$2"; }
overlayfs_clean() { host_forgets overlayfs "$SOURCE"; }
