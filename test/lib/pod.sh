# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A pod for a virtual machine of vm.sh: what its containers run, and the initramfs with all that the machine needs to mount the image
# sealed last. To be sourced after cocoon.sh and vm.sh.
#
#   pod_runs COMMAND…                 what containers run; in $POD_ENVIRONMENT, words NAME=VALUE; in $POD_DIRECTORY (/)
#   pod_initramfs OUT NAME:FRONT…     one container after the other, each from a mount of its own

POD_TEST=$(cd "$(dirname "${BASH_SOURCE[0]}")/../vm" && pwd)

# Kata's agent gets this file from the host and holds it against its policy; the rootfs is the guest's.
pod_runs() {
	local environment=("${POD_ENVIRONMENT[@]:-PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}")

	mkdir -p "$WORK/bundle" && (cd "$WORK/bundle" && rm -f config.json && runc spec) &&
		jq --argjson args "$(jq -nc '$ARGS.positional' --args -- "$@")" --arg cwd "${POD_DIRECTORY:-/}" \
			--argjson env "$(jq -nc '$ARGS.positional' --args -- "${environment[@]}")" \
			'.process.terminal = false | .process.args = $args | .process.env = $env | .process.cwd = $cwd | .root.readonly = false
			| .linux.seccomp = null | del(.linux.cgroupsPath)
			| .linux.namespaces |= map(select(.type != "cgroup"))' \
			"$WORK/bundle/config.json" >"$WORK/config.json"
}

pod_initramfs() {
	local out=$1
	shift

	printf 'IMAGE=%s\nCONTAINERS="%s"\n' "$SEALED_REF" "$*" >"$out.conf"
	vm_initramfs "$out" "$POD_TEST/guest/pod" usr/bin/cocoon-guestfs="$COCOON_BIN/cocoon-guestfs" \
		usr/bin/agent-pull="$COCOON_BUILD/test/vm/agent-pull" usr/sbin/runc="$(command -v runc)" door="$POD_TEST/guest/door" \
		keys/guest.pem="$KEYS/guest.pem" keys/policy.json="$POLICY" pod/config.json="$WORK/config.json" pod.conf="$out.conf"
}
