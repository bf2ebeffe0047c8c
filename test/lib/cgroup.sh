# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What a group of processes has used, and a limit for its memory, under either version of control groups. To be
# sourced after cleanup.sh.
#
#   cgroup_prefix PREFIX          to be called before what uses groups of such names is started: at the end none is left
#   cgroup_start NAME [BYTES]     a group; containers may be put below it as /NAME/… (runc's cgroupsPath)
#   cgroup_enter NAME PID…
#   cgroup_value NAME WHAT        of the group and all below it, since it was started:
#                                 cpu_us, memory_peak (bytes, page cache included)
#   cgroup_pids NAME
#   cgroup_end NAME               what still runs in it goes on in the uppermost group

# Version 2 where the memory controller is there, else the hierarchies of version 1.
CGROUP_V2=
[ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || CGROUP_V2=1
# In version 2 a group with groups below it has no processes of its own.
CGROUP_LEAF=${CGROUP_V2:+/self}

cgroup_dirs() {
	if [ -n "$CGROUP_V2" ]; then
		echo "/sys/fs/cgroup/$1"
	else
		echo "/sys/fs/cgroup/memory/$1 /sys/fs/cgroup/cpuacct/$1"
	fi
}

cgroup_prefix() {
	at_exit cgroup_end_all "$1"
}

# Last of all: a container that is just being started may make its group once more.
cgroup_end_all() {
	local dir

	for dir in $(cgroup_all_dirs "$1*"); do
		[ ! -d "$dir" ] || cgroup_end "$(basename "$dir")"
	done
}

# runc makes the groups that are named to it in every hierarchy.
cgroup_all_dirs() {
	if [ -n "$CGROUP_V2" ]; then
		cgroup_dirs "$1"
	else
		echo "/sys/fs/cgroup/*/$1"
	fi
}

cgroup_start() {
	local name=$1 limit=${2:-} dir

	for dir in $(cgroup_dirs "$name"); do
		mkdir -p "$dir$CGROUP_LEAF" || return
	done
	if [ -n "$CGROUP_V2" ]; then
		echo '+memory +cpu' >/sys/fs/cgroup/cgroup.subtree_control &&
			echo '+memory +cpu' >"/sys/fs/cgroup/$name/cgroup.subtree_control" || return
		[ -z "$limit" ] || echo "$limit" >"/sys/fs/cgroup/$name/memory.max"
	else
		[ -z "$limit" ] || echo "$limit" >"/sys/fs/cgroup/memory/$name/memory.limit_in_bytes"
	fi
}

# A process that has ended in the meantime is not missed.
cgroup_enter() {
	local name=$1 dir pid
	shift

	for dir in $(cgroup_dirs "$name"); do
		for pid; do
			echo "$pid" >"$dir$CGROUP_LEAF/cgroup.procs" || [ ! -e "/proc/$pid" ] || return
		done 2>/dev/null
	done
}

cgroup_value() {
	local name=$1 v1=/sys/fs/cgroup v2=/sys/fs/cgroup/$1

	if [ -n "$CGROUP_V2" ]; then
		case $2 in
		cpu_us) awk '$1 == "usage_usec" { print $2 }' "$v2/cpu.stat" ;;
		memory_peak) cat "$v2/memory.peak" ;;
		esac
	else
		case $2 in
		cpu_us) echo $(($(cat "$v1/cpuacct/$name/cpuacct.usage") / 1000)) ;;
		memory_peak) cat "$v1/memory/$name/memory.max_usage_in_bytes" ;;
		esac
	fi
}

cgroup_pids() {
	local dir

	dir=$(cgroup_dirs "$1")
	find "${dir%% *}" -name cgroup.procs -exec cat {} + 2>/dev/null || true # a group may end meanwhile
}

cgroup_end() {
	local name=$1 dir pid

	for dir in $(cgroup_all_dirs "$name"); do
		[ -d "$dir" ] || continue
		find "$dir" -name cgroup.procs -exec cat {} + | while read -r pid; do
			echo "$pid" >"${dir%"/$name"}/cgroup.procs" || [ ! -e "/proc/$pid" ]
		done 2>/dev/null
		find "$dir" -depth -type d -exec rmdir {} +
	done
}
