# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# The second half of `demo.sh --vm`: the sealed image in a pod's virtual machine, with a clock beside it. What Kata does around it has
# stand-ins from test/vm: an init of thirty lines, a program that asks for the image as Kata's agent does, QEMU without confidential
# memory. Containerd, cocoon-snapshotter, the kernel, the virtio socket, cocoon-guestfs and runc are what they are. To be sourced by
# demo.sh, once the image is sealed.

# vm_tools: what joins the machine to this one and asks in the agent's place.
vm_tools() {
	export COCOON_BUILD=${COCOON_BUILD:-$WORK/tools}
	[ ! -x "$COCOON_BUILD/test/vm/vm-vsock" ] || return 0
	quietly "$WORK/build.log" cmake -S "$HERE" -B "$COCOON_BUILD" -G Ninja -DDEVELOP=ON
	quietly "$WORK/build.log" cmake --build "$COCOON_BUILD" --target vm-vsock agent-pull
}

# Entrypoint, command and environment are sealed like all else. Kata gets them from the pod's specification; here that is taken from
# the image as it was before.
vm_pod() {
	local config

	config=$(skopeo --insecure-policy inspect --config "oci:$WORK/source:latest")
	if [ ${#COMMAND[@]} = 0 ]; then
		mapfile -d '' COMMAND < <(jq -j '.config | (.Entrypoint // []) + (.Cmd // []) | .[] + "\u0000"' <<<"$config")
	fi
	[ ${#COMMAND[@]} -gt 0 ] || fail "the image has no command of its own: name one"
	mapfile -d '' POD_ENVIRONMENT < <(jq -j '.config.Env // [] | .[] + "\u0000"' <<<"$config")
	POD_DIRECTORY=$(jq -r '.config.WorkingDir // "" | if . == "" then "/" else . end' <<<"$config")
	pod_runs "${COMMAND[@]}" && pod_initramfs "$WORK/initramfs" demo:auto
}

# at MILLISECONDS WORDS: one line of the clock, with the time since power-on and since the line before.
at() {
	printf '  %7.2f s  %+7.2f  %s\n' "$(($1 / 10))e-2" "$((($1 - CLOCK) / 10))e-2" "$2"
	CLOCK=$1
}

# Since the machine was switched on, in milliseconds. EPOCHREALTIME always has six digits after the point.
milliseconds() { echo $(((10#${EPOCHREALTIME/[.,]/} - 10#${POWER_ON/[.,]/}) / 1000)); }

# The console tells what happens as it happens; the kernel's own beginning is known from its first line's uptime.
clock() {
	local line now up

	while IFS= read -r line; do
		line=${line%$'\r'} now=$(milliseconds)
		case $line in
		'vm: kernel '*)
			up=${line##* }
			at $((now - 10#${up/./} * 10)) "the firmware has loaded the kernel"
			line=${line#vm: }
			at "$now" "${line% up *} is up, init begins"
			;;
		'vm: modules up '*) at "$now" "modules are loaded" ;;
		*'demo: guest daemon listens'*) at "$now" "cocoon-guestfs listens; the agent asks it for the image: PullImage" ;;
		*'demo: image is mounted'*) at "$now" "the image is mounted at the container's rootfs" ;;
		'demo| '*)
			if [ -z "$FIRST_LINE" ]; then
				at "$now" "the container says: ${line#demo| }"
				FIRST_LINE=$now
			fi
			;;
		*'demo: container has ended'*) at "$now" "the container has ended" ;;
		'vm: test ended with '*) at "$now" "everything is unmounted, the machine goes off" ;;
		esac
	done
	[ -n "$FIRST_LINE" ]
}

demo_vm() {
	local mark traffic

	for library in vm pod; do
		# shellcheck source=/dev/null
		. "$HERE/test/lib/$library.sh"
	done

	step "A kernel and an initramfs, from Debian's packages"
	vm_kernel 6.12 || fail "Debian's kernel is not to be had"
	vm_pod || fail "the initramfs could not be made"
	echo "  $(basename "$VM_MODULES"/lib/modules/*), $(($(stat -c %s "$WORK/initramfs") / 1000000)) MB initramfs, no network device"

	step "The node: containerd and cocoon-snapshotter, which has no key"
	host_start host/cocoon "$(vm_chunks)"
	containerd_start host/containerd "cocoon-kata=$HOST_DIR.sock"
	mark=$(stat -c %s "$REGISTRY_LOG")
	quietly "$WORK/host/pull.log" "$COCOON" pull --plain-http --snapshotter cocoon-kata "$SEALED_REF"
	sleep 0.5 # the registry's log
	traffic=$(registry_traffic "$mark")
	echo "  pulled: ${traffic% *} bytes of $SEALED_SIZE came"

	step "Power on"
	POWER_ON=$EPOCHREALTIME CLOCK=0 FIRST_LINE=
	VM_MEMORY=${VM_MEMORY:-1024} vm_start demo "$WORK/initramfs" || fail "QEMU did not start"
	clock < <(timeout 300 tail -n +1 -F -s 0.05 --pid="$VM_PID" "$VM_CONSOLE" 2>/dev/null) || true
	vm_end 10 || fail "the machine did not end well"
	sleep 0.5
	traffic=$(registry_traffic "$mark")
	awk -v streamed="${traffic% *}" -v size="$SEALED_SIZE" \
		'BEGIN { printf "  %.1f of %.1f MB were fetched from the registry\n", streamed / 1e6, size / 1e6 }'
	vm_kvm || echo "  The processor was emulated: on a real one all of this takes a fraction of the time."

	step "Looking for the canary ($CANARY and 1 MiB of random bytes)"
	search "what was sealed" found "$WORK/layer/canary"
	search "the host's chunk cache and state" clean "$WORK/host/cocoon"
	search "the host's registry" clean "$WORK/host/registry"
	search "the host's containerd: content, snapshots" clean "$WORK/host/containerd"
	search "the host's logs" clean "$WORK"/host/*.log
	search "memory of cocoon-snapshotter" clean "pid:$HOST_PID"
	search "memory of the host's docker-registry" clean "pid:$HOST_REGISTRY_PID"
	search "memory of the host's containerd" clean "pid:$CONTAINERD_PID"
	echo "  Not searched: the machine's memory, which QEMU keeps in the open. SEV-SNP and TDX encrypt it."
	[ "$FAILED" = 0 ] || fail "something was not as it must be, see above"
}
