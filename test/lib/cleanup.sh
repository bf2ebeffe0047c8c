# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Whatever a script starts, mounts or makes is put on one stack and taken down
# in reverse order when the script ends, however it ends: at its last line, by
# `exit`, by set -e, by SIGINT, SIGTERM or SIGHUP. Then it is checked that
# nothing is left on the machine. To be sourced, first of all libraries.
#
#   work_dir demo                  makes $WORK, a fresh directory; removed at the end
#   at_exit umount "$WORK/mnt"     runs at the end, last in, first out
#   start_daemon NAME CMD…         in the background, log in $WORK/NAME.log, pid in $STARTED_PID
#   stop_daemon PID [SIGNAL]       SIGTERM, then SIGKILL after 10 s; waits
#   wait_socket PATH|HOST:PORT [SECONDS] [PID]
#   interruptible CMD…             a command that may take long
#   unmount_below DIR              every mount below it
#   netns_add NAME                 a network namespace; its real name is in $STARTED_NETNS
#
# KEEP_WORK=1 in the environment leaves the work directory (not its mounts and
# processes) for a look at the logs.

CLEANUP_STACK=()
CLEANUP_SHELL=$BASHPID
INTERRUPTIBLE_PID=
WORK=

at_exit() {
	CLEANUP_STACK+=("$(printf '%q ' "$@")")
}

# Every process that the script starts, and theirs, carry $WORK in their
# environment, command line or mounts: that is how leftovers are recognised.
#
# The directory must be on a real filesystem: overlayfs takes no upper
# directory on another overlayfs, and EROFS mounts no image file from tmpfs. It
# is short because a unix socket's path has at most 107 bytes. A script started
# by another makes its directory inside that one's, so the outer script's check
# covers the inner one's leftovers.
work_dir() {
	local name=$1 base type

	for base in ${COCOON_WORK:-} ${COCOON_WORK_BASE:-/var/tmp /tmp /root /var/lib}; do
		type=$(stat -f -c %T "$base" 2>/dev/null) || continue
		case $type in
		ext2/ext3 | xfs | btrfs | f2fs)
			WORK=$(mktemp -d "$base/$name.XXXXXX") || return
			export COCOON_WORK=$WORK
			CLEANUP_STACK=("cleanup_work" "${CLEANUP_STACK[@]}")
			return 0
			;;
		esac
	done
	echo "work_dir: none of ${COCOON_WORK_BASE:-/var/tmp /tmp /root /var/lib} is on ext4, xfs or btrfs;" \
		"name a directory that is in COCOON_WORK_BASE" >&2
	return 1
}

cleanup_work() {
	if [ -n "${KEEP_WORK:-}" ]; then
		echo "kept: $WORK" >&2
	elif [ -n "$(leftover_mounts)" ]; then
		echo "not removed, because something is still mounted below it: $WORK" >&2
	else
		rm -rf --one-file-system "$WORK"
	fi
}

# The stack runs once. A signal during it must not cut it short, and a command
# on it that fails must not keep the rest from running.
cleanup_run() {
	local status=$? i

	[ "$BASHPID" = "$CLEANUP_SHELL" ] || return "$status"
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	if [ -n "$INTERRUPTIBLE_PID" ]; then
		stop_tree "$INTERRUPTIBLE_PID"
	fi
	for ((i = ${#CLEANUP_STACK[@]} - 1; i >= 0; i--)); do
		eval "${CLEANUP_STACK[i]}"
	done
	if [ -n "$WORK" ] && ! assert_nothing_left; then
		[ "$status" != 0 ] || status=1
	fi
	exit "$status"
}

trap cleanup_run EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Bash acts on a signal only when the command in the foreground has ended. A
# command that may take long runs in the background, and the script waits.
interruptible() {
	local status=0

	"$@" &
	INTERRUPTIBLE_PID=$!
	wait "$INTERRUPTIBLE_PID" || status=$?
	INTERRUPTIBLE_PID=
	return "$status"
}

# STARTED_PID is the pid of the command itself, not of a shell around it. A
# session of its own keeps Ctrl-C on the terminal away from it: daemons must
# outlive the interrupt, because the clean-up talks to them.
start_daemon() {
	local name=$1
	shift

	setsid "$@" </dev/null >>"$WORK/$name.log" 2>&1 &
	STARTED_PID=$!
	at_exit stop_daemon "$STARTED_PID"
}

# Ends a child of this script. Harmless when it has ended already.
stop_daemon() {
	local pid=$1 signal=${2:-TERM} i

	if kill -"$signal" "$pid" 2>/dev/null; then
		for ((i = 0; i < 200; i++)); do
			process_runs "$pid" || break
			sleep 0.05
		done
		if process_runs "$pid"; then
			echo "process $pid did not end within 10 s of SIG$signal: $(tr '\0' ' ' <"/proc/$pid/cmdline")" >&2
			kill -KILL "$pid" 2>/dev/null || true
		fi
	fi
	wait "$pid" 2>/dev/null || true
	return 0
}

# Ends a command with all its children: SIGTERM, a second later SIGKILL.
stop_tree() {
	local pids pid i

	mapfile -t pids < <(process_tree "$1")
	kill -TERM "${pids[@]}" 2>/dev/null || true
	for ((i = 0; i < 20; i++)); do
		kill -0 "${pids[@]}" 2>/dev/null || break
		sleep 0.05
	done
	for pid in "${pids[@]}"; do
		if process_runs "$pid"; then
			kill -KILL "$pid" 2>/dev/null || true
		fi
	done
	# within a trap bash may have reaped it already, and would wait for all other children then
	[ ! -e "/proc/$1" ] || wait "$1" 2>/dev/null || true
}

process_tree() {
	local child

	echo "$1"
	for child in $(pgrep -P "$1"); do
		process_tree "$child"
	done
}

# True for a process that runs; a zombie has ended, unless other threads of it have not (proc(5): num_threads).
process_runs() {
	local line fields

	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	read -ra fields <<<"${line##*) }"
	[ "${fields[0]}" != Z ] || [ "${fields[17]}" -gt 1 ]
}

# Waits until something accepts connections there. With the server's PID it
# gives up as soon as that has ended.
wait_socket() {
	local where=$1 seconds=${2:-20} pid=${3:-} i

	for ((i = 0; i < seconds * 20; i++)); do
		if socket_accepts "$where"; then
			return 0
		fi
		if [ -n "$pid" ] && ! process_runs "$pid"; then
			echo "process $pid ended before it listened on $where" >&2
			return 1
		fi
		sleep 0.05
	done
	echo "nothing listens on $where after $seconds s" >&2
	return 1
}

socket_accepts() {
	case $1 in
	# No tool of the base system connects to a unix socket; the kernel's table
	# tells whether someone listens (flags 00010000).
	/*) awk -v path="$1" '$4 == "00010000" && $NF == path { found = 1 } END { exit !found }' /proc/net/unix ;;
	*) (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null ;;
	esac
}

# A port of 127.0.0.1 that is free now. Another may take it before our daemon
# does; then the daemon ends and wait_socket says so.
free_port() {
	local port

	while :; do
		port=$((20000 + RANDOM % 12000))
		socket_accepts "127.0.0.1:$port" || break
	done
	echo "$port"
}

# Deepest first; what is busy or dead is detached.
unmount_below() {
	local mountpoint

	awk -v mark="$1/" 'index($5, mark) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r mountpoint; do
			umount "$mountpoint" 2>/dev/null || umount -l "$mountpoint"
		done
}

netns_add() {
	STARTED_NETNS=$(basename "$WORK")-$1
	ip netns add "$STARTED_NETNS" || return
	at_exit ip netns delete "$STARTED_NETNS"
}

# What is left on the machine that carries this script's mark. Mounts of other
# mount namespaces (containers) are seen through the processes that live there.

leftover_mounts() {
	awk -v mark="$WORK" 'index($0, mark) { print "mount: " $5 }' /proc/self/mountinfo
}

leftover_processes() {
	local pid

	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		if [ "$pid" = "$CLEANUP_SHELL" ] || [ "$pid" = "$BASHPID" ] || ! process_runs "$pid"; then
			continue
		fi
		if grep -qsF -e "COCOON_WORK=$WORK" "/proc/$pid/environ" ||
			grep -qsF -e "$WORK" "/proc/$pid/cmdline" ||
			{ [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] &&
				grep -qsF -e "$WORK" "/proc/$pid/mountinfo"; }; then
			echo "process: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
		fi
	done
}

leftover_loops() {
	losetup -n -O NAME,BACK-FILE -l 2>/dev/null | awk -v mark="$WORK" 'index($0, mark) { print "loop: " $0 }'
}

leftover_netns() {
	ip netns list 2>/dev/null | awk -v mark="$(basename "$WORK")-" 'index($1, mark) == 1 { print "netns: " $1 }'
}

# 0 when nothing is left. A process may need a moment to vanish after its
# parent has, so ask a few times.
assert_nothing_left() {
	local i left

	for ((i = 0; i < 20; i++)); do
		left=$(
			leftover_mounts
			leftover_processes
			leftover_loops
			leftover_netns
			[ -n "${KEEP_WORK:-}" ] || [ ! -e "$WORK" ] || echo "directory: $WORK"
		)
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	printf 'left behind:\n%s\n' "$left" >&2
	return 1
}
