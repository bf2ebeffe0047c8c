#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What cocoon-guestfs can do once it runs: nothing but serve. The process that has keys has no capability, opens
# no file, makes no socket and no process; its keeper may mount and connect, and has no keys. With all that, connections
# are made again, mounts end in every way, and the death of either process is survived as it can be.
#
#   test/integration/privileges.sh [FRONT…]       block, loop, tree
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
GUESTFS=${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs
FIXTURES=${COCOON_BUILD:?the build directory}/guestfs
REF=localhost:5000/guestfs/test:1
SYS_ADMIN_AND_DAC_OVERRIDE=0000000000200002

# daemon_of NAME DIR: the process of this name that mounts there.
daemon_of() {
	local pid

	for pid in $(pgrep -x "$1"); do
		! process_runs "$pid" || ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF " $2 " || echo "$pid"
	done 2>/dev/null
}

# Pids in $GUEST and $KEEPER.
mount_image() {
	mkdir -p "$WORK/mnt"
	"$GUESTFS" --front "$front" --key "file:$WORK/key" --host "unix:$WORK/host.sock" --cache-size 1M "$REF" "$WORK/mnt" ||
		return
	GUEST=$(daemon_of cocoon-guestfs "$WORK/mnt")
	KEEPER=$(daemon_of cocoon-keeper "$WORK/mnt")
	[ "$(wc -w <<<"$GUEST")" = 1 ] && [ "$(wc -w <<<"$KEEPER")" = 1 ] ||
		{ echo "daemons: $GUEST, keepers: $KEEPER"; return 1; }
}

# ends PID…: within 8 s.
ends() {
	local pid i

	for pid; do
		for ((i = 0; i < 400; i++)); do
			process_runs "$pid" || continue 2
			sleep 0.02
		done
		echo "$(cat "/proc/$pid/comm") runs 8 s later"
		return 1
	done
}

all_ended() {
	ends "$GUEST" "$KEEPER" && ! mountpoint -q "$WORK/mnt"
}

# status_is FILE NAME VALUE
status_is() {
	local value

	value=$(sed -n "s/^$2:[[:space:]]*//p" "$1")
	[ "$value" = "$3" ] || { echo "$1: $2 is $value, not $3"; return 1; }
}

no_privileges() {
	local status name bounding=0000000000000000

	[ "$1" = root ] || bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
	# each thread has its own
	for status in "/proc/$GUEST/task"/*/status; do
		for name in CapInh CapPrm CapEff CapAmb; do
			status_is "$status" "$name" 0000000000000000 || return
		done
		status_is "$status" CapBnd "$bounding" && status_is "$status" NoNewPrivs 1 &&
			status_is "$status" Seccomp 2 || return
	done
	[ "$(find "/proc/$GUEST/task" -maxdepth 1 -mindepth 1 | wc -l)" -gt 4 ]
}

keeper_has_little() {
	local status

	for status in "/proc/$KEEPER/task"/*/status; do
		status_is "$status" Seccomp 2 || return
	done
	status_is "/proc/$KEEPER/status" CapEff "$SYS_ADMIN_AND_DAC_OVERRIDE" &&
		status_is "/proc/$KEEPER/status" CapBnd "$SYS_ADMIN_AND_DAC_OVERRIDE" &&
		status_is "/proc/$KEEPER/status" NoNewPrivs 1 && [ "$(readlink "/proc/$KEEPER/cwd")" = / ] || return
	# three times /dev/null and its two sockets
	find "/proc/$KEEPER/fd" -type l -printf '%l\n' | sed 's/:.*//' | sort | uniq -c | tr -s ' \n' ' '
	[ "$(find "/proc/$KEEPER/fd" -type l -printf '%l\n' | sed 's/:.*//' | sort | uniq -c | tr -s ' \n' ' ')" = \
		" 3 /dev/null 2 socket " ]
}

# may CAPABILITY-NUMBER: this script.
may() { [ $((0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status) >> $1 & 1)) = 1 ]; }

hidden() {
	[ "$(cat "/proc/$GUEST/coredump_filter")" = 00000000 ] && [ "$(stat -c %u "/proc/$GUEST/fd")" = 0 ] &&
		grep -q '^Max core file size *0 *0 ' "/proc/$GUEST/limits" || return
	awk '/^VmLck/ { locked = $2 } END { print locked " KiB locked"; exit !locked }' "/proc/$GUEST/status" || return
	# what takes CAP_SYS_RESOURCE: all memory is locked, and no later allocation fails for that
	may 24 || { echo "not root enough to see the rest"; return 0; }
	grep -q '^Max locked memory *unlimited' "/proc/$GUEST/limits" && [ "$(cat "/proc/$GUEST/oom_score_adj")" = -999 ]
}

# Neither a descriptor nor a mapping nor a directory in what it serves, nor in anything but the system's libraries.
holds_nothing() {
	local files

	[ "$(readlink "/proc/$GUEST/cwd")" = / ] && [ "$(readlink "/proc/$GUEST/root")" = / ] || return
	files=$(find "/proc/$GUEST/fd" -type l -printf '%l\n' | grep '^/' | grep -vxE "/dev/(null|fuse)|$WORK/check.log" || true)
	[ -z "$files" ] || { echo "open: $files"; return 1; }
	files=$(awk '$6 ~ /^\// { print $6 }' "/proc/$GUEST/maps" | sort -u | grep -vE "^(/usr)?/lib|^$GUESTFS$" || true)
	[ -z "$files" ] || { echo "mapped: $files"; return 1; }
}

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

reads_right() { drop_caches && diff -r "$WORK/tree" "$WORK/mnt"; }

connects_again() {
	local i

	# nothing is read from the key's file any more
	mv "$WORK/key" "$WORK/key.away"
	for ((i = 0; i < 5; i++)); do
		kill -USR1 "$HOST_PID" && reads_right || return
	done
	mv "$WORK/key.away" "$WORK/key"
}

unmounts() { umount "$WORK/mnt" && all_ended; }

by_signal() { mount_image && reads_right && kill -TERM "$GUEST" && all_ended; }

busy() {
	mount_image || return
	exec 7<"$WORK/mnt/sub/text"
	! umount "$WORK/mnt" 2>/dev/null && umount -l "$WORK/mnt" && process_runs "$GUEST" &&
		cmp /dev/fd/7 "$WORK/tree/sub/text" || return
	exec 7<&-
	all_ended
}

keeper_killed() {
	mount_image && reads_right && kill -KILL "$KEEPER" && ends "$KEEPER" && drop_caches &&
		diff -r "$WORK/tree" "$WORK/mnt" && umount "$WORK/mnt" && all_ended || return
	# then a signal ends the process, and the dead mount is left
	mount_image && kill -KILL "$KEEPER" && ends "$KEEPER" && kill -TERM "$GUEST" && ends "$GUEST" || return
	! cat "$WORK/mnt/random" >/dev/null 2>&1 && umount "$WORK/mnt"
}

guest_killed() { mount_image && kill -KILL "$GUEST" && ends "$GUEST" "$KEEPER" && umount "$WORK/mnt"; }

each_front() {
	check "$front: mount" mount_image || return
	check "$front: reads" reads_right || true
	check "$front: no privileges" no_privileges root || true
	check "$front: the keeper has little" keeper_has_little || true
	check "$front: hidden, locked, spared" hidden || true
	check "$front: holds no file" holds_nothing || true
	check "$front: connects again" connects_again || true
	check "$front: still no privileges" no_privileges root || true
	check "$front: umount" unmounts || return
	check "$front: SIGTERM" by_signal || true
	check "$front: busy" busy || true
	check "$front: the keeper is killed" keeper_killed || true
	check "$front: the daemon is killed" guest_killed || true
}

# A user's mount, with a /dev/fuse for everyone in a mount namespace of its own.
unprivileged() {
	chmod 755 "$WORK" && chmod 666 "$WORK/host.sock" && mkdir -p "$WORK/dev" "$WORK/user" && chown nobody "$WORK/user" &&
		install -o nobody -m 600 "$WORK/key" "$WORK/user.key" && mknod -m 666 "$WORK/dev/fuse" c 10 229 || return
	export -f as_user daemon_of process_runs no_privileges status_is ends
	export WORK GUESTFS REF
	unshare -m --propagation private bash -euc "mount --bind '$WORK/dev/fuse' /dev/fuse; as_user"
}

as_user() {
	setpriv --reuid nobody --clear-groups "$GUESTFS" --key "file:$WORK/user.key" --host "unix:$WORK/host.sock" \
		"$REF" "$WORK/user" || return
	GUEST=$(daemon_of cocoon-guestfs "$WORK/user")
	KEEPER=$(daemon_of cocoon-keeper "$WORK/user")
	setpriv --reuid nobody --clear-groups diff -r "$WORK/tree" "$WORK/user" && no_privileges nobody &&
		kill -TERM "$GUEST" && ends "$GUEST" "$KEEPER" && ! grep -qF " $WORK/user " /proc/self/mountinfo
}

work_dir privileges
at_exit unmount_below "$WORK"
check "forbidden calls fail, as root" "$FIXTURES/privileges-probe" || true
check "forbidden calls fail, as a user" setpriv --reuid nobody --clear-groups "$FIXTURES/privileges-probe" || true
check "forbidden calls fail, in the keeper" "$FIXTURES/privileges-probe" keeper || true
check "the image" fixture_image
check "the host" fixture_host_start 65536
[ $# -gt 0 ] || set -- block loop tree
for front; do
	each_front || true
done
check "without root" unprivileged || true
checks_end
