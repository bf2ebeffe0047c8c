#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The life of the connection between a mount and its host: the host's daemon is killed and restarted, upgraded,
# hangs, stays away, has become another version. Within the time-out nobody notices; after it reads fail
# quickly, what is in memory can be read all the same, and when the host is back the same mount goes on.
#
#   test/integration/connection.sh [FRONT…]       block, tree
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

FILES=100 # of 128 KiB
READERS=40

file() { printf '%s/file-%03d' "$1" "$2"; }

make_image() {
	local i

	mkdir "$WORK/tree" || return
	for ((i = 0; i < FILES; i++)); do
		head -c 131072 /dev/urandom >"$(file "$WORK/tree" $i)" || return
	done
	tar -C "$WORK/tree" -cf "$WORK/layer.tar" . && umoci init --layout "$WORK/source" &&
		umoci new --image "$WORK/source:latest" && umoci raw add-layer --image "$WORK/source:latest" "$WORK/layer.tar" &&
		image_seal "oci:$WORK/source:latest" connection/image:1
}

# host_program PROGRAM: the host's daemon is this one from now on, at the same place.
host_program() {
	start_daemon host "$1" --config "$HOST_DIR.yaml" --address "$HOST_DIR.sock" --root "$HOST_DIR"
	HOST_PID=$STARTED_PID
	wait_socket "$HOST_CHUNKS" 20 "$HOST_PID"
}

host_back() { host_program "$COCOON_BIN/cocoon-snapshotter"; }

# mounted SECONDS [OPTION…]: with that time-out; the daemon's pid in $GUEST, its log in $GUEST_LOG.
mounted() {
	local seconds=$1
	shift

	GUEST_LOG=$WORK/guest.log
	: >"$GUEST_LOG"
	guest_mount "$front" "$SEALED_REF" "$MOUNT" "$HOST_CHUNKS" --timeout "$seconds" "$@" 2>>"$GUEST_LOG" || {
		cat "$GUEST_LOG"
		return 1
	}
	GUEST=$(guest_pids "$MOUNT")
	find "$MOUNT" -type f -printf '%s\n' | sort -u | grep -qx 131072
}

# The kernel forgets the pages of these files; the guest's daemon does not.
forget_pages() {
	local i

	for i; do
		dd if="$(file "$MOUNT" "$i")" iflag=nocache count=0 status=none
	done
}

reads() { cmp "$(file "$WORK/tree" "$1")" "$(file "$MOUNT" "$1")"; }

# in_ms COMMAND…: how long it took, in $MS; its status.
in_ms() {
	local status=0 start=${EPOCHREALTIME/[.,]/}

	"$@" || status=$?
	MS=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
	return "$status"
}

within() {
	[ "$MS" -ge "$1" ] && [ "$MS" -le "$2" ] || {
		echo "took $MS ms, expected $1 to $2"
		return 1
	}
}

# figure NAME: the daemon's own, from its log.
figure() {
	kill -USR1 "$GUEST"
	sleep 0.2
	grep -o "$1=[0-9]*" "$GUEST_LOG" | tail -n 1 | cut -d= -f2
}

# The guest has noticed that its host was away so many times.
reconnected() {
	local i

	for ((i = 0; i < 50; i++)); do
		[ "$(figure reconnects)" -lt "$1" ] || return 0
	done
	echo "reconnects $(figure reconnects), expected $1"
	return 1
}

# Files in any order, until $WORK/enough is there.
load() {
	local i=$1

	while [ ! -e "$WORK/enough" ]; do
		i=$(((i + RANDOM) % FILES))
		reads $i && forget_pages $i || return
	done
}

# under_load COMMAND…: while four readers read, without a single failure of theirs.
under_load() {
	local pids=() status=0 pid i

	rm -f "$WORK/enough"
	for ((i = 1; i <= 4; i++)); do
		load $((i * 20)) &
		pids+=($!)
	done
	sleep 0.2
	"$@" || status=$?
	sleep 0.2
	: >"$WORK/enough"
	for pid in "${pids[@]}"; do
		wait "$pid" || status=$?
	done
	return "$status"
}

killed_and_restarted() {
	local i

	for ((i = 0; i < 3; i++)); do
		stop_daemon "$HOST_PID" KILL
		sleep 0.3
		host_back && reconnected $((i + 1)) || return
	done
	echo "three times"
}

upgraded() {
	cp "$COCOON_BIN/cocoon-snapshotter" "$WORK/upgraded" || return
	stop_daemon "$HOST_PID"
	host_program "$WORK/upgraded" && reconnected 4
}

hangs_a_while() {
	kill -STOP "$HOST_PID" && sleep 2 && kill -CONT "$HOST_PID"
}

# Four times it was away; how often that is told depends on how far apart the times were.
told() {
	local lost

	lost=$(grep -c 'warn.* host lost error=[0-9]* reason="' "$GUEST_LOG") || lost=none
	echo "lost $lost, reconnects $(figure reconnects), timeouts $(figure timeouts)"
	grep -q 'info.* host back away_ms=[0-9]* reconnects=' "$GUEST_LOG" && [ "$lost" -le 4 ] &&
		[ "$(figure reconnects)" -ge 4 ] && [ "$(figure timeouts)" = 0 ]
}

# The time-out is 2 s.
away_too_long() {
	local i start

	reads 1 || return
	stop_daemon "$HOST_PID" KILL
	! in_ms reads 2 2>/dev/null && within 1500 8000 || return
	# it is waited for once
	start=${EPOCHREALTIME/[.,]/}
	for ((i = 3; i < 23; i++)); do
		! reads $i 2>/dev/null || return
	done
	MS=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
	within 0 8000 || return # each on its own: 20 s and more
	reads 1 && host_back && sleep 0.1 && reads 2 && reads 3 || return
	echo "20 more reads failed in $MS ms"
}

# Not away, but it says nothing.
hangs_too_long() {
	reads 31 || return
	kill -STOP "$HOST_PID"
	! in_ms reads 32 2>/dev/null && within 1500 8000 || return
	! in_ms reads 33 2>/dev/null && within 0 5000 || return
	kill -CONT "$HOST_PID"
	sleep 1.2 && reads 32 && reads 33 && echo "failed in $MS ms, and is back"
}

# Many readers wait; who asks for what is there gets it: from the kernel, and from the daemon's memory.
memory_waits_for_nobody() {
	local pids=() pid i status=0

	reads 0 && reads 1 || return
	stop_daemon "$HOST_PID" KILL
	for ((i = FILES - READERS; i < FILES; i++)); do
		cat "$(file "$MOUNT" $i)" >"$WORK/out-$i" &
		pids+=($!)
	done
	sleep 0.5
	for ((i = 0; i < 5; i++)); do
		in_ms reads 0 && within 0 2000 || status=1
		forget_pages 1
		in_ms reads 1 && within 0 2000 || status=1
	done
	for pid in "${pids[@]}"; do
		process_runs "$pid" || { echo "a reader did not wait" && status=1; }
	done
	host_back || return
	for pid in "${pids[@]}"; do
		wait "$pid" || status=1
	done
	for ((i = FILES - READERS; i < FILES; i++)); do
		cmp "$(file "$WORK/tree" $i)" "$WORK/out-$i" || status=1
	done
	[ "$status" = 0 ] && echo "$MS ms from the daemon's memory, $READERS readers waited"
}

# A host that has become another version: reads fail, and the log says why; then it is as it was.
another_version() {
	reads 41 || return
	stop_daemon "$HOST_PID" KILL
	start_daemon version "$here/version-host.py" "$HOST_CHUNKS"
	VERSION_PID=$STARTED_PID
	wait_socket "$HOST_CHUNKS" 20 "$VERSION_PID" || return
	: >"$GUEST_LOG"
	! in_ms reads 42 2>/dev/null && within 0 5000 && grep -q 'error=95' "$GUEST_LOG" || return
	stop_daemon "$VERSION_PID" KILL
	host_back && sleep 0.1 && reads 42 && echo "EIO in $MS ms"
}

mount_while_away() {
	local pid

	stop_daemon "$HOST_PID" KILL
	! in_ms guest_mount "$front" "$SEALED_REF" "$MOUNT" 2>"$WORK/words" && within 0 5000 || return
	grep -q 'connecting to the host' "$WORK/words" || return
	! in_ms guest_mount "$front" "$SEALED_REF" "$MOUNT" "$HOST_CHUNKS" --wait 1 2>"$WORK/words" && within 700 8000 || return
	grep -q 'connecting to the host' "$WORK/words" || return
	guest_mount "$front" "$SEALED_REF" "$MOUNT" "$HOST_CHUNKS" --wait 20 2>"$WORK/words" &
	pid=$!
	sleep 0.7
	host_back && wait "$pid" && reads 5 && guest_unmount "$MOUNT" && echo "refused at once, waited for when told to"
}

# A host that lets OPEN wait must not make whoever ends the mount wait with it.
ends_before_it_is_mounted() {
	local pid

	kill -STOP "$HOST_PID"
	mkdir -p "$MOUNT"
	"$COCOON_BIN/cocoon-guestfs" --foreground --front "$front" --key "$KEY" --policy "$POLICY" --timeout 60 \
		--host "unix:$HOST_CHUNKS" "$SEALED_REF" "$MOUNT" 2>"$WORK/words" &
	pid=$!
	sleep 1
	kill "$pid"
	! in_ms wait "$pid" && within 0 3000 && grep -q 'ended by a signal' "$WORK/words"
	local status=$?
	kill -CONT "$HOST_PID"
	return "$status"
}

each_front() {
	MOUNT=$WORK/mnt-$front
	# little memory, so that readers need the host
	check "$front: mount" mounted 20 --cache-size 1M || return
	check "$front: killed and restarted" under_load killed_and_restarted || true
	check "$front: upgraded" under_load upgraded || true
	check "$front: hangs for a while" under_load hangs_a_while || true
	check "$front: the log and the figures" told || true
	check "$front: unmount" guest_unmount "$MOUNT" || return
	check "$front: mount" mounted 20 || return
	check "$front: memory waits for nobody" memory_waits_for_nobody || true
	check "$front: another version" another_version || true
	check "$front: unmount" guest_unmount "$MOUNT" || return
	check "$front: mount" mounted 2 || return
	check "$front: away for too long" away_too_long || true
	check "$front: hangs for too long" hangs_too_long || true
	check "$front: unmount" guest_unmount "$MOUNT" || return
	check "$front: a mount without a host" mount_while_away || true
	check "$front: a signal ends a mount that waits" ends_before_it_is_mounted || true
}

work_dir connection
keys_make
registry_start registry
check "the image" make_image
check "the host" host_start host
[ $# -gt 0 ] || set -- block tree
for front; do
	each_front || true
done
checks_end
