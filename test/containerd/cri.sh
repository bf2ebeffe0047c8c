#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Images pulled as a kubelet pulls them: through containerd's CRI plugin, whose labels tell the snapshotter which image it is. Sealed
# layers are not fetched, plain ones are unpacked.
#
#   COCOON_BIN=DIR test/containerd/cri.sh
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/cleanup.sh"
. "$here/../lib/packages.sh"
. "$here/../lib/registry.sh"
. "$here/../lib/containerd.sh"
. "$here/../lib/cocoon.sh"
. "$here/../lib/check.sh"
. "$here/../lib/node.sh"

need_packages run image build peers || exit
work_dir cri || exit
export CONTAINERD_NAMESPACE=k8s.io

pulls_sealed() {
	cri PullImage "$ONE" || return
	# Manifest and config: nothing else was brought here.
	expect 2 "$(ctr content ls -q | wc -l)" && expect 1 "$(guestfs_count)"
}

runs() {
	expect "$1" "$(interruptible container_run cocoon "$2" c1 /bin/tool /etc/text)"
}

pulls_plain() {
	cri PullImage "$PLAIN" && expect 1 "$(guestfs_count)"
}

knows_its_images() {
	[ "$(cri ImageStatus "$ONE")" != '0 bytes' ] && [ "$(cri ImageStatus "$PLAIN")" != '0 bytes' ]
}

removes() {
	cri RemoveImage "$ONE" && cri RemoveImage "$PLAIN" && eventually nothing_of_images
}

tells_of_a_missing_key() {
	stop_daemon "$HOST_PID"
	host_start_again 'local:' "  guestfs: $COCOON_BIN/cocoon-guestfs" || return
	cri PullImage "$ONE" 2>"$WORK/said" && return 1
	host_restart
	cat "$WORK/said"
	grep -q key "$WORK/said"
}

make_tool
image_of one first
registry_start registry || exit
keys_make || exit
image_seal "oci:$WORK/oci:one" lib/one:sealed >/dev/null || exit
ONE=$SEALED_REF
registry_push "oci:$WORK/oci:one" lib/one:plain || exit
PLAIN=$REGISTRY/lib/one:plain

cri_build || exit

HOST_LINES=('local:' "  guestfs: $COCOON_BIN/cocoon-guestfs" "  keys: [ \"$KEY\" ]")
host_start host "${HOST_LINES[@]}" || exit
at_exit unmount_images
sed -n '/^\[plugins\."io\.containerd\.grpc\.v1\.cri"/,$p' "$here/../../contrib/containerd/config-v2.toml" >"$WORK/cri.toml"
CONTAINERD_CRI=$WORK/cri.toml containerd_start containerd "cocoon=$HOST_DIR.sock" || exit

check 'a sealed image is pulled without layers' pulls_sealed
check 'and runs' runs first "$ONE"
check 'a plain image is pulled' pulls_plain
check 'and runs' runs first "$PLAIN"
check 'both are known' knows_its_images
check 'removing leaves nothing' removes
check 'a missing key is told' tells_of_a_missing_key
checks_end
