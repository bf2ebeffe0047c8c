#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cocoon-guestfs as its user meets it: each front mounts, shows what was put in, and ends, however it is
# ended; a host that goes away, a busy mount, a killed daemon, wrong keys. The image is made by mkfs.erofs,
# sealed and served by the test's own fixture-host: no registry, no publisher, no snapshotter.
#
#   test/integration/guestfs.sh [FRONT…]       block, loop, tree
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
GUESTFS=${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs
REF=localhost:5000/guestfs/test:1

# guests [NAME]: daemons of this test that run.
guests() {
	local pid

	for pid in $(pgrep -x "${1:-cocoon-guestfs}"); do
		! process_runs "$pid" || ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "$WORK" || echo "$pid"
	done 2>/dev/null
}

# mount_image [OPTION…]: with front $front; the daemon's pid in $GUEST.
mount_image() {
	mkdir -p "$WORK/mnt"
	"$GUESTFS" --front "$front" --key "file:$WORK/key" --host "unix:$WORK/host.sock" "$@" "$REF" "$WORK/mnt" &&
		GUEST=$(guests)
}

# ends_within SECONDS: the daemon.
ends_within() {
	local i

	for ((i = 0; i < $1 * 50; i++)); do
		process_runs "$GUEST" || return 0
		sleep 0.02
	done
	echo "the daemon runs $1 s later"
	return 1
}

# Nothing is mounted, no loop device is left.
all_gone() {
	! mountpoint -q "$WORK/mnt" || { echo "still mounted"; return 1; }
	! losetup -l -n -O BACK-FILE 2>/dev/null | grep -q '^cocoon' || { echo "a loop device is left"; return 1; }
}

unmounts() {
	umount "$WORK/mnt" && ends_within 5 && all_gone
}

# Everything but the sizes of directories, which each filesystem counts in its own way.
listing() {
	(cd "$1" && find . -type d -printf '%p %y %m %U %G - %T@ %n\n' -o -printf '%p %y %m %U %G %s %T@ %n %l\n' | sort)
}

attributes() {
	(cd "$1" && find . -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null)
}

make_image() {
	local i

	mkdir -p "$WORK/tree/sub/many" && cd "$WORK/tree" || return
	head -c 3000000 /dev/urandom >random
	seq 200000 >sub/text
	truncate -s 10M sub/zeros
	for ((i = 0; i < 500; i++)); do echo "$i" >"sub/many/file-$i"; done
	ln -s ../random sub/link
	ln sub/text sub/hard
	mkfifo fifo
	mknod null c 1 3
	cp /usr/bin/id id
	chmod 4755 id
	chown 1000:1001 sub/zeros
	setfattr -n user.a -v b random
	setfattr -n trusted.secret -v c random
	setcap cap_net_raw=ep id 2>/dev/null || true
	cd "$WORK" && mkfs.erofs "$WORK/image" "$WORK/tree" >/dev/null
}

same_tree() {
	diff -r --no-dereference --exclude=fifo --exclude=null "$WORK/tree" "$WORK/mnt" &&
		diff <(listing "$WORK/tree") <(listing "$WORK/mnt") &&
		diff <(attributes "$WORK/tree") <(attributes "$WORK/mnt")
}

like_an_unpacked_image() {
	echo x >"$WORK/mnt/null" || return # a device works
	[ "$(setpriv --reuid 1234 --regid 1234 --clear-groups "$WORK/mnt/id" -u)" = 0 ] || return # setuid works
	! touch "$WORK/mnt/new" 2>"$WORK/words" && grep -q 'Read-only' "$WORK/words" || return
	! setfattr -n user.x -v y "$WORK/mnt/random" 2>/dev/null || return
	[ "$(stat -c %h "$WORK/mnt/sub/hard")" = 2 ] && [ "$WORK/mnt/sub/hard" -ef "$WORK/mnt/sub/text" ] || return
	# trusted.* is root's; a missing name stays missing
	! setpriv --reuid 1234 --clear-groups getfattr -dm- "$WORK/mnt/random" 2>/dev/null | grep -q trusted || return
	! cat "$WORK/mnt/none" 2>"$WORK/words" && grep -q 'No such file' "$WORK/words"
}

hides_itself() {
	grep -q '^Max core file size *0 *0 ' "/proc/$GUEST/limits" && grep -q '^NoNewPrivs:.1' "/proc/$GUEST/status" &&
		! tr '\0' '\n' <"/proc/$GUEST/environ" | grep -q "$(sed -n 2p "$WORK/key")" &&
		! tr '\0' '\n' <"/proc/$GUEST/cmdline" | grep -q "$(sed -n 2p "$WORK/key")"
}

nosuid_nodev() {
	mount_image --nosuid --nodev || return
	[ "$(setpriv --reuid 1234 --regid 1234 --clear-groups "$WORK/mnt/id" -u)" = 1234 ] &&
		! (echo x >"$WORK/mnt/null") 2>/dev/null && unmounts
}

as_mount_helper() {
	mkdir -p "$WORK/mnt" "$WORK/bin" && ln -sf "$GUESTFS" "$WORK/bin/mount.cocoon" &&
		"$WORK/bin/mount.cocoon" "$REF" "$WORK/mnt" -n -o "rw,key=file:$WORK/key,host=unix:$WORK/host.sock,front=$front" &&
		GUEST=$(guests mount.cocoon) && cmp "$WORK/tree/random" "$WORK/mnt/random" && unmounts
}

busy() {
	mount_image || return
	exec 7<"$WORK/mnt/sub/text"
	! umount "$WORK/mnt" 2>/dev/null || return
	umount -l "$WORK/mnt" && process_runs "$GUEST" && cmp /dev/fd/7 "$WORK/tree/sub/text" || return
	exec 7<&-
	ends_within 5 && all_gone
}

by_signal() {
	mount_image && cat "$WORK/mnt/random" >/dev/null && kill "-$1" "$GUEST" && ends_within 5 && all_gone
}

busy_by_signal() {
	mount_image || return
	exec 7<"$WORK/mnt/sub/text"
	kill -TERM "$GUEST"
	ends_within 8 || return
	exec 7<&-
	all_gone
}

# Who still reads sees a failure, not an end of file; the mount can be taken away and made again.
killed() {
	local status=0

	mount_image && ls "$WORK/mnt/sub" >/dev/null || return
	kill -KILL "$GUEST"
	ends_within 5 || return
	cat "$WORK/mnt/random" >/dev/null 2>"$WORK/words" || status=$?
	[ "$status" != 0 ] && grep -qE 'Input/output|not connected' "$WORK/words" || return
	umount "$WORK/mnt" && all_gone && mount_image && cmp "$WORK/tree/random" "$WORK/mnt/random" && unmounts
}

# overlayfs above keeps the image alive when its own mount goes.
under_overlay() {
	rm -rf "$WORK/upper" "$WORK/work"
	mkdir -p "$WORK/upper" "$WORK/work" "$WORK/merged"
	mount_image && mount -t overlay overlay \
		-o "lowerdir=$WORK/mnt,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/merged" || return
	at_exit unmount_below "$WORK/merged"
	echo new >"$WORK/merged/new" && rm "$WORK/merged/random" && umount "$WORK/mnt" &&
		cmp "$WORK/tree/sub/text" "$WORK/merged/sub/text" && process_runs "$GUEST" && umount "$WORK/merged" &&
		ends_within 5 && all_gone
}

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# A host that goes away costs the time-out, and an error; when it is back, the same mount reads on.
host_goes() {
	mount_image --timeout 2 --cache-size 1M || return
	stop_daemon "$HOST_PID"
	drop_caches
	! cat "$WORK/mnt/random" >/dev/null 2>"$WORK/words" && grep -q 'Input/output' "$WORK/words" || return
	# another key, another image: the mount refuses it
	fixture_host_start 65536 && ! cat "$WORK/mnt/random" >/dev/null 2>&1 && unmounts
}

# Nor does the end of a mount wait for it, even with a reader that does.
ends_without_host() {
	mount_image --timeout 60 --cache-size 1M || return
	stop_daemon "$HOST_PID"
	drop_caches
	cat "$WORK/mnt/random" >/dev/null 2>&1 &
	sleep 0.5
	kill -TERM "$GUEST" && ends_within 8 && wait $! || [ $? = 1 ] && all_gone && fixture_host_start 65536
}

host_breaks() {
	local i

	mount_image --cache-size 1M || return
	for ((i = 0; i < 10; i++)); do
		drop_caches
		kill -USR1 "$HOST_PID"
		cmp "$WORK/tree/random" "$WORK/mnt/random" || return
	done
	unmounts
}

# refused CODE WORDS OPTION…: exit code, words, and nothing left.
refused() {
	local code=$1 words=$2 status=0
	shift 2

	"$GUESTFS" --front "$front" "$@" 2>"$WORK/words" || status=$?
	tail -n 1 "$WORK/words"
	[ "$status" = "$code" ] && grep -q "$words" "$WORK/words" && all_gone && [ -z "$(guests)" ]
}

refusals() {
	local good=(--key "file:$WORK/key" --host "unix:$WORK/host.sock")

	mkdir -p "$WORK/mnt"
	sed '2s/^..../AAAA/' "$WORK/key" >"$WORK/other.key"
	echo '{ "version": 1, "images": [] }' >"$WORK/policy"
	refused 1 'no --key' "$REF" "$WORK/mnt" &&
		refused 1 'a path and never the secret' --key "$(sed -n 2p "$WORK/key")" "$REF" "$WORK/mnt" &&
		refused 1 'expected an image' "${good[@]}" "$WORK/mnt" &&
		refused 32 "not this image's key" --key "file:$WORK/other.key" --host "unix:$WORK/host.sock" "$REF" "$WORK/mnt" &&
		refused 32 'No such file' --key "file:$WORK/none" --host "unix:$WORK/host.sock" "$REF" "$WORK/mnt" &&
		refused 32 'connecting to the host' --key "file:$WORK/key" --host "unix:$WORK/nobody" "$REF" "$WORK/mnt" &&
		refused 32 'wanted sha256' "${good[@]}" --digest "sha256:$(printf '%064d' 0)" "$REF" "$WORK/mnt" &&
		refused 32 'wanted sha256' "${good[@]}" "localhost:5000/a@sha256:$(printf '%064d' 0)" "$WORK/mnt" &&
		refused 32 'the policy does not allow' "${good[@]}" --policy "$WORK/policy" "$REF" "$WORK/mnt" &&
		refused 1 'is not JSON' "${good[@]}" --policy "$WORK/key" "$REF" "$WORK/mnt" &&
		refused 1 'give its digest' --key "recipient:$WORK/key" "$REF" "$WORK/mnt" &&
		refused 1 'not a directory' "${good[@]}" "$REF" "$WORK/image"
}

notifies() {
	python3 - "$GUESTFS" --foreground --front "$front" --key "file:$WORK/key" --host "unix:$WORK/host.sock" \
		"$REF" "$WORK/mnt" <<-'END'
		import os, signal, socket, subprocess, sys
		path = sys.argv[-1] + ".notify"
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind(path)
		s.settimeout(20)
		p = subprocess.Popen(sys.argv[1:], env={**os.environ, "NOTIFY_SOCKET": path})
		message = s.recv(1000).decode()
		ok = "READY=1" in message and f"MAINPID={p.pid}" in message and os.path.ismount(sys.argv[-1])
		p.send_signal(signal.SIGTERM)
		ok = p.wait(20) == 0 and ok
		os.unlink(path)
		sys.exit(not ok)
	END
}

# Without root only the tree front is possible, and it is chosen.
unprivileged() {
	local dir=$WORK/user

	mkdir -p "$dir" && chown nobody "$dir" && chmod 755 "$WORK" && chmod 666 "$WORK/host.sock" &&
		install -o nobody -m 600 "$WORK/key" "$WORK/user.key" || return
	setpriv --reuid nobody --clear-groups "$GUESTFS" --key "file:$WORK/user.key" --host "unix:$WORK/host.sock" "$REF" "$dir" ||
		return
	GUEST=$(guests)
	setpriv --reuid nobody --clear-groups cmp "$WORK/tree/random" "$dir/random" &&
		setpriv --reuid nobody --clear-groups fusermount3 -u "$dir" && ends_within 5
}

each_front() {
	check "$front: mount" mount_image || return
	check "$front: the same tree" same_tree || true
	check "$front: like an unpacked image" like_an_unpacked_image || true
	check "$front: hides itself" hides_itself || true
	check "$front: umount" unmounts || return
	check "$front: nosuid, nodev" nosuid_nodev || true
	check "$front: mount.cocoon" as_mount_helper || true
	check "$front: busy" busy || true
	check "$front: SIGTERM" by_signal TERM || true
	check "$front: SIGINT" by_signal INT || true
	check "$front: SIGTERM, busy" busy_by_signal || true
	check "$front: SIGKILL" killed || true
	check "$front: under overlayfs" under_overlay || true
	check "$front: connections break" host_breaks || true
	check "$front: tells the service manager" notifies || true
	check "$front: refusals" refusals || true
	check "$front: the host goes" host_goes || true
	check "$front: ends without a host" ends_without_host || true
}

work_dir guestfs
at_exit unmount_below "$WORK"
check "the image" make_image
check "the host" fixture_host_start 65536
[ $# -gt 0 ] || set -- block loop tree
for front; do
	each_front || true
done
front=auto
if [ $((0$(stat -c %a /dev/fuse) & 6)) = 6 ]; then
	check "without root" unprivileged || true
else
	echo "skipped without root: /dev/fuse is not for everyone here"
fi
checks_end
