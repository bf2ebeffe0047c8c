#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The kata road under a real containerd: two proxy plugins on one socket. What containerd is told to mount for a sealed image, field by
# field; that its own mount code, with our helper, mounts it; what the CRI makes of users and volumes; and that nothing of the image is
# mounted on this host. No Kata here: the guest's side has tests of its own.
#
#   COCOON_BIN=DIR test/containerd/kata.sh
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
work_dir kata || exit
export CONTAINERD_NAMESPACE=k8s.io
# containerd runs mount.fuse, which runs the helper, which is found as any program is.
PATH=$(realpath "$COCOON_BIN"):$PATH
export PATH

kata() {
	ctr snapshots --snapshotter cocoon-kata "$@"
}

# The snapshot of the image that is nobody's parent, as containerd calls it.
top() {
	kata ls | awk '$1 ~ /^sha256:/ { names[$1] } $1 ~ /^sha256:/ { parents[$2] } END { for (n in names) if (!(n in parents)) print n }' |
		while read -r name; do
			kata info "$name" | jq -r --arg manifest "$MANIFEST" \
				'select(.Labels["containerd.io/snapshot/cri.manifest-digest"] == $manifest) | .Name'
		done
}

# field OPTION MOUNT: of a line as `ctr snapshots mounts` prints it.
field() {
	sed 's/.* -o //' <<<"$2" | tr ',' '\n' | sed -n "s/^$1=//p"
}

pulls_without_layers() {
	cri PullImage "$ONE" || return
	expect 2 "$(ctr content ls -q | wc -l)" && expect 0 "$(guestfs_count)" && expect 0 "$(mounts_count)" &&
		expect '' "$(ctr snapshots --snapshotter cocoon ls | tail -n +2)" && expect 5 "$(kata ls | tail -n +2 | wc -l)" &&
		grep -c "layer sealed road=kata" "$HOST_LOG"
}

one_mount_with_the_volume_first() {
	local top mounts

	top=$(top)
	kata prepare look "$top" >/dev/null && mounts=$(kata mounts /nowhere look) || return
	expect 1 "$(wc -l <<<"$mounts")" &&
		expect 'mount -t fuse.nydus-overlayfs-cocoon overlay /nowhere -o' "${mounts%% io.katacontainers.volume=*}" || return
	# Kata decodes with Go's standard base64 and with Rust's: padded, one line, the usual letters.
	field io.katacontainers.volume "$mounts" | base64 -d >"$WORK/volume.json" || return
	jq -cS . "$WORK/volume.json"
	jq -e --arg ref "$REGISTRY/lib/one@$MANIFEST" '(keys == ["image_pull", "source", "volume_type"]) and
		.volume_type == "image_guest_pull" and .source == $ref and (.image_pull | keys == ["metadata"])' "$WORK/volume.json" || return
	# The labels that the CRI gave, and nothing else.
	expect "$(kata info "$top" | jq -S .Labels)" "$(jq -S .image_pull.metadata "$WORK/volume.json")" &&
		jq -e --arg ref "$ONE" --arg manifest "$MANIFEST" --arg layer "$INDEX" --arg chain "$top" '.image_pull.metadata |
			.["containerd.io/snapshot/cri.image-ref"] == $ref and .["containerd.io/snapshot/cri.manifest-digest"] == $manifest and
			.["containerd.io/snapshot/cri.layer-digest"] == $layer and .["containerd.io/snapshot.ref"] == $chain' "$WORK/volume.json"
}

the_rest_is_an_overlay_of_the_stub() {
	local mounts

	mounts=$(kata mounts /nowhere look)
	expect "$HOST_DIR/kata/stub/tree:$HOST_DIR/kata/stub/empty" "$(field lowerdir "$mounts")" &&
		expect "$HOST_DIR/kata/snapshots" "$(dirname "$(dirname "$(field upperdir "$mounts")")")" &&
		expect "$(dirname "$(field upperdir "$mounts")")/work" "$(field workdir "$mounts")"
}

# The helper as containerd has it run: mount.fuse SOURCE TARGET -o OPTION … -t TYPE.
mount_fuse_mounts_it() {
	local options=() option

	mkdir -p "$WORK/mnt"
	at_exit unmount "$WORK/mnt"
	while read -r option; do
		options+=(-o "$option")
	done < <(kata mounts /nowhere look | sed 's/.* -o //' | tr ',' '\n')
	mount.fuse overlay "$WORK/mnt" "${options[@]}" -t nydus-overlayfs-cocoon || return
	expect overlay "$(findmnt -no FSTYPE "$WORK/mnt")" && expect 'etc' "$(ls -A "$WORK/mnt")" &&
		expect 'root:x:0:0:root:/root:/bin/sh' "$(cat "$WORK/mnt/etc/passwd")" && echo x >"$WORK/mnt/x" &&
		expect x "$(cat "$(field upperdir "$(kata mounts /nowhere look)")/x")" && umount "$WORK/mnt"
}

# To compare, the daemon mounts the container's side and a view of the image.
containerd_mounts_it() {
	ctr snapshots --snapshotter cocoon-kata diff look >"$WORK/diff.tar.gz" || return
	expect x "$(tar -tzf "$WORK/diff.tar.gz")"
}

helper_is_strict() {
	local said

	said=$(nydus-overlayfs-cocoon overlay "$WORK/mnt" -o lowerdir=/etc:/usr,loop 2>&1)
	expect 1 $? && expect 'nydus-overlayfs-cocoon: unknown option "loop"' "$said" || return
	said=$(nydus-overlayfs-cocoon overlay "$WORK/mnt" -o lowerdir=/nothing:/usr 2>&1)
	expect 32 $? && grep -qF 'No such file' <<<"$said" || return
	nydus-overlayfs-cocoon bind "$WORK/mnt" -o lowerdir=/etc:/usr 2>/dev/null
	expect 1 $? || return
	nydus-overlayfs-cocoon overlay -o lowerdir=/etc:/usr 2>/dev/null
	expect 1 $? && nydus-overlayfs-cocoon --help | head -n 1 && expect '' "$(findmnt -no FSTYPE "$WORK/mnt")"
}

usage_and_commit() {
	local said

	expect 0 "$(kata usage "$(top)" | awk 'NR == 2 { print $2 + 0 }')" && kata usage look | tail -n 1 || return
	said=$(kata commit mine look 2>&1) && return 1
	echo "$said"
	grep -qF 'a guest mounts' <<<"$said"
}

pod_runs_on_an_ordinary_overlay() {
	POD=$(cri RunPodSandbox pod) || return
	expect overlay "$(kata mounts /nowhere "$POD" | awk '{ print $3 }')" && expect '' "$(field io.katacontainers.volume "$(kata mounts /nowhere "$POD")")" &&
		expect RUNNING "$(ctr tasks ls | awk -v id="$POD" '$1 == id { print $3 }')"
}

# creates WANTED-UID:GID [ARGUMENT…]: a container of the sealed image, whose root filesystem containerd mounts to look its user up.
creates() {
	local wanted=$1 id
	shift

	CONTAINERS=$((${CONTAINERS:-0} + 1))
	id=$(cri CreateContainer "$POD" "c$CONTAINERS" "$ONE" "$@") || return
	expect "$wanted" "$(ctr containers info "$id" | jq -r '.Spec.process.user | "\(.uid):\(.gid)"')" &&
		expect fuse.nydus-overlayfs-cocoon "$(kata mounts /nowhere "$id" | awk '{ print $3 }')" || return
	cri RemoveContainer "$id"
}

users_are_right() {
	# The image's config says "app", which the publisher has looked up.
	creates 1234:5678 && creates 1000:0 uid=1000 && creates 1000:2000 uid=1000 gid=2000 && creates 0:0 user=root
}

unknown_users_are_told() {
	local said

	said=$(cri CreateContainer "$POD" wrong "$ONE" user=app 2>&1) && return 1
	echo "$said"
	grep -qF 'no users found' <<<"$said"
}

# An image volume whose name is public: it starts empty, and the container is made.
volumes_start_empty() {
	local id volume

	id=$(cri CreateContainer "$POD" volume "$ONE") || return
	volume=$(ctr containers info "$id" | jq -r '.Spec.mounts[] | select(.destination == "/data") | .source')
	[ -d "$volume" ] && expect '' "$(ls -A "$volume")" && cri RemoveContainer "$id"
}

plain_images_run() {
	cri PullImage "$PLAIN" || return
	expect first "$(interruptible container_run cocoon-kata "$PLAIN" c1 /bin/tool /etc/text)" && expect 0 "$(guestfs_count)"
}

# kata.plain_images: guest. runc, which is no VM, runs them nonetheless: the shim mounts them by the helper.
plain_images_are_left_to_the_guest() {
	local option

	stop_daemon "$HOST_PID"
	host_start_again "${HOST_LINES[@]}" 'kata:' '  plain_images: guest' || return
	option=$(field io.katacontainers.volume "$(kata mounts /nowhere "$POD")" | base64 -d) || return
	echo "$option"
	expect "$PAUSE" "$(jq -r .source <<<"$option")" &&
		expect fuse.nydus-overlayfs-cocoon "$(kata mounts /nowhere "$POD" | awk '{ print $3 }')" &&
		expect first "$(interruptible container_run cocoon-kata "$PLAIN" c1 /bin/tool /etc/text)" && host_restart
}

# The same image by both roads in one namespace: containerd gives the same keys to both, and collects from each what is not its own.
both_roads_at_once() {
	local -x CONTAINERD_NAMESPACE=both
	local local_side kata_side others

	others=$(CONTAINERD_NAMESPACE=k8s.io kata mounts /nowhere look)
	"$COCOON" pull --plain-http -q "$ONE" >/dev/null && "$COCOON" pull --plain-http -q --snapshotter cocoon-kata "$ONE" >/dev/null || return
	expect 1 "$(guestfs_count)" && expect first "$(interruptible container_run cocoon "$ONE" c1 /bin/tool /etc/text)" || return
	ctr snapshots --snapshotter cocoon prepare same "$(top)" >/dev/null && kata prepare same "$(top)" >/dev/null || return
	local_side=$(ctr snapshots --snapshotter cocoon mounts /nowhere same)
	kata_side=$(kata mounts /nowhere same)
	expect 'overlay fuse.nydus-overlayfs-cocoon' "$(awk '{ print $3 }' <<<"$local_side"$'\n'"$kata_side" | paste -sd ' ')" || return
	kata rm same && expect "$local_side" "$(ctr snapshots --snapshotter cocoon mounts /nowhere same)" &&
		[ -d "$(field upperdir "$local_side")" ] && ctr snapshots --snapshotter cocoon rm same || return
	ctr images rm --sync "$ONE" >/dev/null
	eventually test "$(guestfs_count)" = 0 && expect 0 "$(mounts_count)" || return
	expect "$others" "$(CONTAINERD_NAMESPACE=k8s.io kata mounts /nowhere look)" && [ -d "$(field upperdir "$others")" ]
}

restart_and_loss_change_nothing() {
	local before volume

	kata prepare stays "$(top)" >/dev/null && before=$(kata mounts /nowhere stays) || return
	host_restart KILL || return
	expect "$before" "$(kata mounts /nowhere stays)" && kata rm stays || return
	stop_daemon "$HOST_PID"
	rm "$HOST_DIR"/kata/snapshots.db*
	host_start_again "${HOST_LINES[@]}" || return
	kata prepare anew "$(top)" >/dev/null &&
		volume=$(field io.katacontainers.volume "$(kata mounts /nowhere anew)" | base64 -d) || return
	expect "$(jq -r .source "$WORK/volume.json")" "$(jq -r .source <<<"$volume")" && kata rm anew
}

other_names_are_refused() {
	local said

	said=$(ctr snapshots --snapshotter misnamed prepare x 2>&1) && return 1
	echo "$said"
	grep -qF 'snapshotter misnamed is not configured' <<<"$said"
}

counts() {
	curl -s "http://$METRICS/metrics" >"$WORK/metrics" &&
		grep -E '^cocoon_grpc_calls_total\{road="kata",method="Prepare",code="OK"\} [1-9]' "$WORK/metrics" &&
		grep -E '^cocoon_grpc_calls_total\{road="unknown",method="Prepare",code="INVALID_ARGUMENT"\} [1-9]' "$WORK/metrics" &&
		grep -E '^cocoon_mounted_images 0' "$WORK/metrics"
}

nothing_left() {
	nothing_of_images && expect '' "$(kata ls | tail -n +2)" && expect '' "$(find "$HOST_DIR/kata/snapshots" -mindepth 1)"
}

removes() {
	cri StopPodSandbox "$POD" && cri RemovePodSandbox "$POD" || return
	kata rm look 2>/dev/null
	cri RemoveImage "$ONE" && cri RemoveImage "$PLAIN" && cri RemoveImage "$PAUSE" && eventually nothing_left
}

make_tool
image_of one first
{
	mkdir -p "$WORK/users/etc" "$WORK/users/data" && echo 'app:x:1234:5678::/:/bin/tool' >"$WORK/users/etc/passwd" &&
		echo secret >"$WORK/users/data/file" && tar -C "$WORK/users" -cf "$WORK/users.tar" . &&
		umoci raw add-layer --image "$WORK/oci:one" "$WORK/users.tar" &&
		umoci config --image "$WORK/oci:one" --config.user app --config.volume /data &&
		umoci tag --image "$WORK/oci:one" pause &&
		umoci config --image "$WORK/oci:pause" --config.cmd /bin/tool --config.cmd wait-for --config.cmd /never \
			--clear=config.volume --config.user 0
} >>"$WORK/umoci.log" 2>&1 || exit
registry_start registry || exit
keys_make || exit
image_seal "oci:$WORK/oci:one" lib/one:sealed --public Volumes >"$WORK/sealed.json" || exit
ONE=$SEALED_REF
MANIFEST=$(jq -r .manifest "$WORK/sealed.json")
INDEX=$(skopeo inspect --raw --tls-verify=false "docker://$ONE" | jq -r '.layers[-1].digest')
registry_push "oci:$WORK/oci:one" lib/one:plain || exit
PLAIN=$REGISTRY/lib/one:plain
registry_push "oci:$WORK/oci:pause" lib/pause:1 || exit
PAUSE=$REGISTRY/lib/pause:1

cri_build || exit

METRICS=127.0.0.1:$(free_port)
HOST_LINES=('local:' "  guestfs: $COCOON_BIN/cocoon-guestfs" "  keys: [ \"$KEY\" ]" 'metrics:' "  address: $METRICS")
host_start host "${HOST_LINES[@]}" || exit
at_exit unmount_images
cat >"$WORK/cri.toml" <<-END
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "$PAUSE"
	  restrict_oom_score_adj = true
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    snapshotter = "cocoon-kata"
	    disable_snapshot_annotations = false
END
CONTAINERD_CRI=$WORK/cri.toml containerd_start containerd "cocoon=$HOST_DIR.sock" "cocoon-kata=$HOST_DIR.sock" "misnamed=$HOST_DIR.sock" || exit

check 'a sealed image is pulled without layers' pulls_without_layers
check 'one mount, the volume first' one_mount_with_the_volume_first
check 'the rest is an overlay of the stub' the_rest_is_an_overlay_of_the_stub
check 'the helper mounts it' mount_fuse_mounts_it
check 'containerd mounts it' containerd_mounts_it
check 'the helper is strict' helper_is_strict
check 'usage, and no commit' usage_and_commit
check 'a pod runs on an ordinary overlay' pod_runs_on_an_ordinary_overlay
check 'users are right' users_are_right
check 'unknown users are told' unknown_users_are_told
check 'image volumes start empty' volumes_start_empty
check 'plain images run' plain_images_run
check 'plain images are left to the guest' plain_images_are_left_to_the_guest
check 'both roads at once' both_roads_at_once
check 'a restart and lost state change nothing' restart_and_loss_change_nothing
check 'other names are refused' other_names_are_refused
check 'metrics name the road' counts
check 'removing leaves nothing' removes
checks_end
