# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# A virtual machine with a Debian kernel and without a network, joined to this machine by a virtio socket: QEMU, emulated where there
# is no KVM, and vm-vsock where there is no /dev/vhost-vsock. To be sourced after cleanup.sh.
#
#   vm_kernel 6.1|6.12         from Debian's packages; kept below $COCOON_BUILD
#     VM_KERNEL, VM_MODULES    the kernel; the directory that has its lib/modules
#   vm_initramfs OUT TEST [WHERE=FILE…]     runs the script TEST and ends; programs bring the libraries they need
#   vm_chunks                  the lines of a host daemon's configuration with which machines find its chunks
#   vm_start NAME INITRAMFS [QEMU-OPTION…]    of $VM_KERNEL, with $VM_MEMORY MiB (512)
#     VM_PID
#     VM_CONSOLE               what the machine has written
#     VM_PEER                  what the host daemon calls the machine
#     VM_SOCKET                with vm-vsock: guest's connections to port P of CID 2 go to the unix socket $VM_SOCKET_P; VM_VSOCK=unix
#                              in front of vm_start insists on it
#   vm_wait WORDS SECONDS      until the console has a line with these words
#   vm_end SECONDS             until the machine has ended; fails when its test did, or the kernel complained

VM_TEST=$(cd "$(dirname "${BASH_SOURCE[0]}")/../vm" && pwd)
VM_BUILD=${COCOON_BUILD:?the build directory}
VM_MODULES_WANTED="virtio_pci vmw_vsock_virtio_transport fuse overlay loop erofs"

# vm_apt TOOL DIR COMMAND…: with package lists of our own, for suites that the machine does not name.
vm_apt() {
	local tool=$1 dir=$2
	shift 2

	"$tool" -q -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$dir/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "$@"
}

vm_suite() {
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo bookworm-backports ;;
	*)
		echo "vm_kernel: no kernel $1, there are 6.1 and 6.12" >&2
		return 2
		;;
	esac
}

# The mirror is the machine's own.
vm_fetch_kernel() {
	local dir=$1 suite=$2 mirror package

	# shellcheck disable=SC2016 # apt's own variable
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -n 1)
	mkdir -p "$dir/lists/partial" && echo "deb $mirror $suite main" >"$dir/sources.list" &&
		vm_apt apt-get "$dir" update &&
		package=$(vm_apt apt-cache "$dir" depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2 }') &&
		(cd "$dir" && vm_apt apt-get "$dir" download "$package") &&
		dpkg -x "$dir"/*.deb "$dir/root" &&
		depmod -b "$dir/root" "$(ls "$dir/root/lib/modules")" &&
		mv "$dir"/root/boot/vmlinuz-* "$dir/kernel"
}

vm_kernel() {
	local dir=$VM_BUILD/vm/$1 suite

	suite=$(vm_suite "$1") || return
	if [ ! -e "$dir/kernel" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		interruptible vm_fetch_kernel "$dir" "$suite" >"$dir/log" 2>&1 || {
			tail -n 5 "$dir/log" >&2
			return 1
		}
	fi
	VM_KERNEL=$dir/kernel
	VM_MODULES=$dir/root
}

# vm_put ROOT WHERE FILE: a program's libraries go where they are here.
vm_put() {
	local root=$1 where=$2 file=$3 library

	install -D "$file" "$root/$where" || return
	for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
		[ -e "$root/$library" ] || install -D "$library" "$root/$library" || return
	done
}

vm_initramfs() {
	local out=$1 test=$2 root=$1.root file version module
	shift 2

	rm -rf "$root"
	mkdir -p "$root" && vm_put "$root" bin/busybox /bin/busybox && install "$VM_TEST/guest/init" "$root/init" &&
		install "$test" "$root/test" || return
	version=$(ls "$VM_MODULES/lib/modules")
	for module in $VM_MODULES_WANTED; do
		echo "$module"
		modprobe -d "$VM_MODULES" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
	done >"$out.modules"
	grep -v / "$out.modules" >"$root/modules"
	grep / "$out.modules" | sort -u | while read -r file; do
		install -D -m 644 "$file" "$root/${file#"$VM_MODULES"/}" || return
	done
	find "$root/lib/modules" -name '*.xz' -exec xz -d {} +
	cp "$VM_MODULES/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/" &&
		depmod -b "$root" "$version" || return
	for file; do
		vm_put "$root" "${file%%=*}" "${file#*=}" || return
	done
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out" && rm -rf "$root"
}

# A /dev/kvm alone says little: some clouds have one that runs no kernel.
vm_kvm() { [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; }

vm_kernel_vsock() { [ -c /dev/vhost-vsock ] && [ "${VM_VSOCK:-}" != unix ]; }

vm_chunks() {
	echo 'chunks:'
	if vm_kernel_vsock; then
		echo '  vsock_port: 7681'
	else
		echo "  hybrid_sockets: [ \"$WORK/*.vsock\" ]"
	fi
}

# vm_vsock NAME: QEMU's options in VM_DEVICE.
vm_vsock() {
	local vhost=$WORK/$1.vhost cid=$((4096 + RANDOM))

	if vm_kernel_vsock; then
		VM_PEER=vsock:$cid
		VM_DEVICE=(-device "vhost-vsock-pci,guest-cid=$cid")
		return
	fi
	VM_SOCKET=$WORK/$1.vsock
	VM_PEER=hybrid:$VM_SOCKET
	VM_DEVICE=(-chardev "socket,id=vsock,path=$vhost" -device "vhost-user-vsock-pci,chardev=vsock")
	start_daemon "$1-vsock" "$VM_BUILD/test/vm/vm-vsock" "$vhost" "$VM_SOCKET"
	wait_socket "$vhost" 10 "$STARTED_PID"
}

vm_start() {
	local name=$1 initramfs=$2 memory=${VM_MEMORY:-512} processor
	shift 2

	# One processor and no cx16: QEMU 7.2 emulates neither well enough for 6.12, which patches its own code while it runs.
	# Nor erms: where it is offered the kernel copies with instructions that are emulated byte by byte.
	processor=(-accel "tcg,thread=single" -cpu "max,-cx16,-erms")
	! vm_kvm || processor=(-accel kvm -cpu host)
	VM_CONSOLE=$WORK/$name.console
	vm_vsock "$name" || return
	start_daemon "$name" qemu-system-x86_64 -nodefaults -display none -no-reboot -m "$memory" "${processor[@]}" -smp 1 \
		-machine q35,memory-backend=mem -object "memory-backend-memfd,id=mem,size=${memory}M,share=on" "${VM_DEVICE[@]}" \
		-chardev "file,id=console,path=$VM_CONSOLE" -serial chardev:console -kernel "$VM_KERNEL" -initrd "$initramfs" \
		-append "console=ttyS0 panic=-1 quiet" "$@"
	VM_PID=$STARTED_PID
}

vm_wait() {
	local i

	for ((i = 0; i < $2 * 20; i++)); do
		! grep -qsF -e "$1" "$VM_CONSOLE" || return 0
		process_runs "$VM_PID" || break
		sleep 0.05
	done
	grep -qsF -e "$1" "$VM_CONSOLE" && return
	echo "the console has no line \"$1\"; it ends:" >&2
	tail -n 20 "$VM_CONSOLE" >&2
	return 1
}

# QEMU's exit status is 0 also after a panic, so the console counts.
vm_end() {
	local i

	for ((i = 0; i < $1 * 20; i++)); do
		process_runs "$VM_PID" || break
		sleep 0.05
	done
	if process_runs "$VM_PID"; then
		echo "the machine runs after $1 s; its console ends:" >&2
	elif grep -E 'Oops|BUG:|WARNING:|Kernel panic|Call Trace' "$VM_CONSOLE" >&2; then
		echo "the kernel complained" >&2
	elif grep -q '^vm: test ended with 0 ' "$VM_CONSOLE"; then
		return 0
	fi
	tail -n 30 "$VM_CONSOLE" >&2
	return 1
}
