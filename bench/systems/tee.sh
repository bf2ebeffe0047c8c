# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# Starts inside a guest: a control group with a limit for its memory stands for the pod's machine. The image arrives
# in it, an overlay whose upper half is in its memory lies on top, and runc starts the container; no containerd.
#
#     guest-pull                   what confidential pods do today: the encrypted image flows from the registry through
#                                  digest, ocicrypt's decryption and decompression into tmpfs (bench/peers/guest-pull)
#     guest-skopeo                 the same with skopeo and umoci: layers lie in tmpfs until they are unpacked
#     cocoon-guest-cold            the guest's own cocoon-guestfs at the host's chunk socket; host without the image
#     cocoon-optimized-guest-cold  the same, of an image that `cocoon optimize` made
#     cocoon-guest-warm            the host's chunk cache has what an earlier guest touched
#     cocoon-optimized-guest-warm  the same
#     erofs-local                  no guest: the plaintext EROFS image, mounted by the kernel from local disk

tee_rows() {
	echo guest-pull guest-skopeo cocoon-guest-cold cocoon-optimized-guest-cold cocoon-guest-warm cocoon-optimized-guest-warm erofs-local
}

tee_plugin() { :; }
tee_keeps_cache() { false; }

tee_programs() {
	cocoon_programs
	echo ${PEERS:+"$PEERS/guest-pull"} skopeo umoci unpigz mount
}

tee_blobs() {
	case $1 in
	cocoon-*) sealed_tag "$1" ;;
	guest-*) echo encrypted ;;
	esac
}

tee_pids() { [ -z "${HOST_PID:-}" ] || echo "$HOST_PID"; }

tee_wire() {
	case $1 in
	cocoon-*) cocoon_wire "$1" ;;
	guest-*) link_bytes ;;
	esac
}

tee_prepare() {
	PEERS=
	! wants 'guest-*' || PEERS=$("$BENCH/peers/build.sh") || {
		SKIP="guest-pull does not build"
		return 1
	}
	mkdir -p "$WORK/guest"/{memory,image,root}
	at_exit unmount_below "$WORK/guest"
	[ -n "${HOST_PID:-}" ] || cocoon_prepare
}

tee_image() {
	local log=$WORK/convert-images.log

	cocoon_image || return
	! wants 'guest-*' || form_is encrypted "$SOURCE_STAMP" || {
		interruptible skopeo --insecure-policy copy --quiet --src-tls-verify=false --dest-tls-verify=false \
			--encryption-key "jwe:$KEYS/guest.pem.pub" "docker://$SOURCE" "docker://$REPOSITORY:encrypted" 2>>"$log" &&
			form_done encrypted "$SOURCE_STAMP"
	} || {
		SKIP="skopeo did not encrypt: $(tail -n 1 "$log")"
		return 1
	}
	image_export
}

# Of any row, so that the image's plaintext is there as the kernel mounts it.
image_export() {
	form_is exported "$SOURCE_STAMP" || {
		rm -f "$CACHE/exports/$IMAGE.erofs"
		interruptible "$COCOON" export --plain-http --key "$KEY" --policy "$POLICY" "$(sealed_ref cocoon-cold)" \
			"$CACHE/exports/$IMAGE.erofs" >>"$WORK/convert-images.log" 2>&1 && form_done exported "$SOURCE_STAMP"
	} || {
		SKIP="cocoon export failed: $(tail -n 1 "$WORK/convert-images.log")"
		return 1
	}
}

tee_reset() {
	tee_bundle || return
	case $1 in
	*-cold) cocoon_host_forgets || return ;;
	*-warm) warm_up tee "$1" && tee_clean "$1" && tee_bundle || return ;;
	esac
	GUEST=1
}

# The guest's memory, and the container's configuration.
tee_bundle() {
	local mounts='[]'

	mount -t tmpfs -o "mode=755,size=$GUEST_MEMORY" guest "$WORK/guest/memory" && mkdir "$WORK/guest/memory"/{upper,work} &&
		pod_runs "${COMMAND[@]}" || return
	[ -z "$REQUEST" ] ||
		mounts=$(jq -n --arg source "$WORK/answer" '[{destination: "/answer", type: "bind", $source, options: ["rbind", "rw"]}]')
	# what containerd gives a container
	jq --argjson mounts "$mounts" --arg root "$WORK/guest/root" '.root.path = $root | .mounts += $mounts | .linux.cgroupsPath = "@CGROUP@"
		| .process.capabilities |= map_values(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"])' \
		"$WORK/config.json" >"$WORK/bundle/template.json"
}

tee_pull() {
	local memory=$WORK/guest/memory image=$WORK/guest/image

	[ -z "$CGROUP" ] || cgroup_enter "$CGROUP/guest" "$BASHPID"
	case $1 in
	guest-pull)
		image=$memory/rootfs
		peak guest-pull "$PEERS/guest-pull" "$REGISTRY" "bench/$IMAGE:encrypted" "$KEYS/guest.pem" "$image"
		;;
	guest-skopeo)
		image=$memory/rootfs
		peak skopeo skopeo --insecure-policy copy --quiet --src-tls-verify=false --decryption-key "$KEYS/guest.pem" \
			"docker://$REPOSITORY:encrypted" "oci:$memory/layout:1" &&
			peak umoci umoci raw unpack --image "$memory/layout:1" "$image" && rm -r "$memory/layout"
		;;
	erofs-local) mount -t erofs -o ro,loop "$CACHE/exports/$IMAGE.erofs" "$image" ;;
	*)
		peak cocoon "$COCOON" mount --front block --key "$KEY" --policy "$POLICY" --host "unix:$HOST_CHUNKS" \
			"$(sealed_ref "$1")" "$image"
		;;
	esac &&
		mount -t overlay -o "lowerdir=$image,upperdir=$memory/upper,workdir=$memory/work" overlay "$WORK/guest/root"
}

tee_run() {
	local group=${CGROUP:-$WORK_CGROUP}

	sed "s,@CGROUP@,/$group${CGROUP:+/guest/}app," "$WORK/bundle/template.json" >"$WORK/bundle/config.json"
	runc --root "$WORK/guest/runc" run --bundle "$WORK/bundle" "$2"
}

tee_end() { runc --root "$WORK/guest/runc" kill "$2" KILL; }

tee_clean() {
	local i

	unmount_below "$WORK/guest"
	for ((i = 0; i < 200; i++)); do
		[ -n "$(tee_pids_of "$WORK/guest/image")" ] || return 0
		sleep 0.05
	done
	SKIP="the guest's daemon does not end"
	return 1
}

tee_pids_of() { pgrep -f "^$COCOON_BIN/cocoon-guestfs .*$1\$" || true; }
