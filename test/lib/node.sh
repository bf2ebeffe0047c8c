# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A node as the tests under test/containerd use it: small images to run, and what is left of them on the host. To be sourced after
# cleanup.sh, registry.sh, containerd.sh and cocoon.sh; the daemon is the one that host_start has started with the lines in HOST_LINES.
#
#   make_tool                      the one program of these images: says what a file holds, writes files, waits
#   image_of NAME TEXT [BASE]      $WORK/oci:NAME, three layers; /etc/text holds TEXT, /etc/base "base"
#   expect WANTED GOT
#   eventually CMD…                until it succeeds, at most ten seconds
#   host_restart [SIGNAL]          returns when containerd has found the daemon again
#   host_start_again LINE…         the same for a daemon that was stopped, with another configuration
#   guestfs_pids, guestfs_count, mounts_count, snapshots_list, nothing_of_images
#   unmount_images                 for at_exit
#   cri_build; cri CALL ARGUMENT…  containerd's CRI, asked as a kubelet does (test/containerd/cri)

# One static program is container enough: it says what a file holds, writes files, and waits.
make_tool() {
	cat >"$WORK/tool.c" <<-'END'
		#include <stdio.h>
		#include <string.h>
		#include <unistd.h>
		static int show(const char *path)
		{
			char line[256];
			FILE *f = fopen(path, "r");
			if (!f || !fgets(line, sizeof(line), f)) { perror(path); return 1; }
			fputs(line, stdout);
			fflush(stdout);
			fclose(f);
			return 0;
		}
		static int put(const char *path, const char *text)
		{
			FILE *f = fopen(path, "w");
			if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f)) { perror(path); return 1; }
			return 0;
		}
		int main(int argc, char **argv)
		{
			for (int i = 1; i < argc; i++) {
				if (strcmp(argv[i], "put") == 0) { if (put(argv[i + 1], argv[i + 2])) return 1; i += 2; }
				else if (strcmp(argv[i], "wait-for") == 0) { while (access(argv[i + 1], F_OK)) usleep(20000); i++; }
				else if (show(argv[i])) return 1;
			}
			return 0;
		}
	END
	gcc -static -O1 -o "$WORK/tool" "$WORK/tool.c"
}

# image_of NAME TEXT [BASE]: an image of three layers; with BASE the lower two are those of that image.
image_of() {
	local name=$1 text=$2 base=${3:-} dir=$WORK/layers/$1

	mkdir -p "$dir/1/bin" "$dir/2/etc" "$dir/3/etc"
	{
		if [ -n "$base" ]; then
			umoci tag --image "$WORK/oci:$base-base" "$name-base"
		else
			[ -d "$WORK/oci" ] || umoci init --layout "$WORK/oci"
			umoci new --image "$WORK/oci:$name-base"
			cp "$WORK/tool" "$dir/1/bin/tool"
			head -c 3000000 /dev/urandom >"$dir/1/bin/unused"
			tar -C "$dir/1" -cf "$dir/1.tar" .
			umoci raw add-layer --image "$WORK/oci:$name-base" "$dir/1.tar"
			echo base >"$dir/2/etc/base"
			tar -C "$dir/2" -cf "$dir/2.tar" .
			umoci raw add-layer --image "$WORK/oci:$name-base" "$dir/2.tar"
		fi
		umoci tag --image "$WORK/oci:$name-base" "$name"
		echo "$text" >"$dir/3/etc/text"
		chmod 750 "$dir/3"
		tar -C "$dir/3" -cf "$dir/3.tar" .
		umoci raw add-layer --image "$WORK/oci:$name" "$dir/3.tar"
		umoci config --image "$WORK/oci:$name" --config.cmd /bin/tool
	} >>"$WORK/umoci.log" 2>&1
}

expect() {
	[ "$1" = "$2" ] || {
		printf 'wanted: %s\ngot:    %s\n' "$1" "$2" >&2
		return 1
	}
}

# The processes that serve images of this test's daemon.
guestfs_pids() {
	local pid

	for pid in $(pgrep -x cocoon-guestfs); do
		if grep -qsF "$HOST_DIR/mounts/" "/proc/$pid/cmdline"; then
			echo "$pid"
		fi
	done
}

guestfs_count() {
	guestfs_pids | wc -l
}

mounts_count() {
	awk -v below="$HOST_DIR/mounts/" 'index($5, below) == 1' /proc/self/mountinfo | wc -l
}

snapshots_list() {
	ctr snapshots --snapshotter cocoon ls | tail -n +2
}

# Until it is true, at most ten seconds.
eventually() {
	local i

	for ((i = 0; i < 100; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	"$@"
}

nothing_of_images() {
	expect 0 "$(guestfs_count)" && expect 0 "$(mounts_count)" && expect '' "$(snapshots_list)" &&
		expect '' "$(find "$HOST_DIR/snapshots" "$HOST_DIR/mounts" -mindepth 1)" &&
		expect '' "$(ctr content ls -q)"
}

host_restart() {
	stop_daemon "$HOST_PID" "${1:-TERM}"
	host_start_again "${HOST_LINES[@]}"
}

# containerd connects again by itself, a second or so after it found nobody. (With a socket that systemd keeps open it
# would not notice.)
host_start_again() {
	host_start host "$@" && eventually plugin_answers
}

plugin_answers() {
	ctr snapshots --snapshotter cocoon prepare probe >/dev/null && ctr snapshots --snapshotter cocoon rm probe
}

unmount_images() {
	awk -v below="$HOST_DIR/mounts/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo |
		while read -r at; do umount "$at" || umount -l "$at"; done
	eventually test "$(guestfs_count)" = 0 || true
}

cri_build() {
	local source

	source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../containerd/cri" && pwd) && mkdir -p "$WORK/go/src" &&
		cp -r "$source" "$WORK/go/src/cocoon-cri" || return
	(
		cd "$WORK/go/src/cocoon-cri" || exit
		GO111MODULE=off GOPATH=$WORK/go:/usr/share/gocode GOFLAGS='' GOCACHE=${GOCACHE:-$WORK/cache} \
			interruptible go build -o "$WORK/cri" .
	)
}

cri() {
	interruptible "$WORK/cri" "$CONTAINERD_ADDRESS" "$@"
}
