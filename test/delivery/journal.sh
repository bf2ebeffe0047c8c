#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cocoon-guestfs speaks to systemd's journal without systemd's library: the stream it opens begins with the same bytes as
# systemd-cat(1)'s, and what it logs comes behind them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
GUESTFS=${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs

make_image() {
	mkdir "$WORK/tree" "$WORK/mnt" && seq 1000 >"$WORK/tree/text" && mkfs.erofs "$WORK/image" "$WORK/tree" >/dev/null &&
		fixture_host_start 65536
}

# A journal of our own, in a mount namespace that ends with the commands in it.
with_journal() {
	unshare --mount --propagation private sh -e -c '
		mkdir -p /run/systemd
		mount -t tmpfs journal /run/systemd
		mkdir /run/systemd/journal
		exec python3 - "$@"' sh "$WORK" "$GUESTFS" <<-'END'
			import socket, subprocess, sys
			work, guestfs = sys.argv[1:]
			journal = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
			journal.bind("/run/systemd/journal/stdout")
			journal.listen()
			journal.settimeout(10)
			def received(command, to, end):
			    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
			    stream, _ = journal.accept()
			    stream.settimeout(10)
			    process.communicate()
			    subprocess.run(end, check=True)
			    with open(to, "wb") as file:
			        while part := stream.recv(4096):
			            file.write(part)
			received(["systemd-cat", "-t", "cocoon-guestfs", "-p", "info", "--level-prefix=yes", "true"], f"{work}/theirs", ["true"])
			received([guestfs, "--key", f"file:{work}/key", "--host", f"unix:{work}/host.sock", "localhost:5000/a/b:1", f"{work}/mnt"],
			         f"{work}/ours", ["umount", f"{work}/mnt"])
		END
}

begins_alike() {
	[ -s "$WORK/theirs" ] && cmp -n "$(stat -c %s "$WORK/theirs")" "$WORK/theirs" "$WORK/ours" && od -c "$WORK/theirs" | head -n 1
}

# With its priority in front, as the stream says it has.
is_logged() {
	tail -c "+$(($(stat -c %s "$WORK/theirs") + 1))" "$WORK/ours" | grep -E '^<6>.*mounted image='
}

work_dir journal
check "the image and its host" make_image
check "two streams" interruptible with_journal
check "begin alike" begins_alike || true
check "what is logged" is_logged || true
checks_end
