#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What cocoon-guestfs says about kernels that lack something: real ones, in virtual machines.
#
#   test/delivery/kernel.sh [KERNEL…]      6.1 6.12
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check vm; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

# EROFS takes files from 6.12 on.
takes_files() {
	case $1 in
	6.1) echo no ;;
	*) echo yes ;;
	esac
}

names_what_is_missing() {
	vm_kernel "$1" && vm_initramfs "$WORK/$1.initramfs" "$here/guest/kernel" \
		"usr/bin/cocoon-guestfs=${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs" &&
		VM_MEMORY=256 vm_start "$1" "$WORK/$1.initramfs" && vm_end 120 || return
	cat "$VM_CONSOLE"
	grep -q "^kernel: file-backed EROFS: $(takes_files "$1")" "$VM_CONSOLE" && grep "^kernel: all named" "$VM_CONSOLE"
}

# Where the kernel tells how it was built, it is the same that it answers.
agrees_with_configuration() {
	local option there need

	if ! [ -r /proc/config.gz ]; then
		echo "this kernel does not tell its configuration"
		return
	fi
	"$COCOON_BIN/cocoon-guestfs" check --host unix:/x >"$WORK/table" || true
	while read -r option there need _; do
		[ "$option" != OPTION ] && [ "$there" = yes ] || continue
		zgrep -qE "^$option=[ym]" /proc/config.gz || { echo "$option: $there, needed: $need"; return 1; }
	done <"$WORK/table"
}

work_dir kernel
check "as configured" agrees_with_configuration || true
[ $# -gt 0 ] || set -- 6.1 6.12
for kernel; do
	check "$kernel" names_what_is_missing "$kernel" || true
done
checks_end
