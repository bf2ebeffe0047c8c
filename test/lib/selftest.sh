#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The test of this library: starts registries and containerd, pulls an image and
# runs it, and shows that nothing stays on the machine afterwards: after a clean
# end, after an error halfway, and after SIGTERM while a container runs.
#
#   test/lib/selftest.sh [oci:DIR:TAG]       without an argument, a busybox-sized image is made
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/cleanup.sh"
# shellcheck source=/dev/null
. "$here/packages.sh"
# shellcheck source=/dev/null
. "$here/registry.sh"
# shellcheck source=/dev/null
. "$here/containerd.sh"

# One static program that prints and sleeps is image enough.
make_image() {
	local dir=$1

	mkdir -p "$dir/rootfs/bin"
	cat >"$dir/hello.c" <<-'END'
		#include <stdio.h>
		#include <stdlib.h>
		#include <unistd.h>
		int main(int n, char **v) { puts("hello"); fflush(stdout); return n > 1 ? (int)sleep((unsigned)atoi(v[1])) : 0; }
	END
	gcc -static -O1 -o "$dir/rootfs/bin/hello" "$dir/hello.c"
	tar -C "$dir/rootfs" -cf "$dir/layer.tar" .
	{
		umoci init --layout "$dir/oci"
		umoci new --image "$dir/oci:t"
		umoci raw add-layer --image "$dir/oci:t" "$dir/layer.tar"
		umoci config --image "$dir/oci:t" --config.cmd /bin/hello
	} >/dev/null
}

# What the outer script starts several times: the whole path, ended in the way
# that $1 names.
inner() {
	local how=$1 image=$2 output

	work_dir inner
	registry_start registry
	registry_push "$image" lib/hello:1
	containerd_start containerd
	interruptible ctr images pull --plain-http "$REGISTRY/lib/hello:1" >/dev/null
	output=$(container_run overlayfs "$REGISTRY/lib/hello:1" once /bin/hello)
	[ "$output" = hello ]
	case $how in
	ends) ;;
	fails) false ;;
	waits)
		echo started
		interruptible container_run overlayfs "$REGISTRY/lib/hello:1" long /bin/hello 600
		;;
	esac
}

if [ "${1:-}" = --inner ]; then
	shift
	inner "$@"
	exit
fi

need_packages run image build
work_dir selftest
make_image "$WORK"
image=oci:$WORK/oci:t

expect() {
	local what=$1 wanted=$2 got=$3

	[ "$wanted" = "$got" ] || {
		echo "FAIL $what: wanted $wanted, got $got" >&2
		exit 1
	}
	assert_nothing_left_inside "$what"
	echo "ok   $what"
}

# The pid of the program that the inner script has started under this name.
pidof_inner() {
	local pid

	for pid in $(process_tree "$STARTED_PID"); do
		if [ "$(cat "/proc/$pid/comm")" = "$1" ]; then
			echo "$pid"
			return 0
		fi
	done
	return 1
}

# The inner script has checked itself; the outer one looks with its own eyes.
assert_nothing_left_inside() {
	local left

	left=$(
		leftover_mounts
		leftover_loops
		leftover_processes
		ls -d "$WORK"/inner.* 2>/dev/null
	) || true
	[ -z "$left" ] || {
		printf 'FAIL %s left behind:\n%s\n' "$1" "$left" >&2
		exit 1
	}
}

status=0
"$0" --inner ends "$image" || status=$?
expect "a clean end" 0 $status

status=0
"$0" --inner fails "$image" || status=$?
expect "an error halfway" 1 $status

# A shell's background child is born with SIGINT ignored, and what is ignored
# then cannot be trapped: so the default is restored first.
start_inner() {
	: >"$WORK/waits.log"
	start_daemon waits env --default-signal=INT,HUP "$0" --inner waits "$image"
}

wait_for_container() {
	local i

	for ((i = 0; i < 600; i++)); do
		if grep -qs started "$WORK/waits.log"; then
			sleep 1
			return 0
		fi
		sleep 0.1
	done
	echo "FAIL the inner script does not get to its container" >&2
	return 1
}

ends_with() {
	local what=$1 signal=$2 status=0

	kill -"$signal" "$STARTED_PID"
	wait "$STARTED_PID" || status=$?
	expect "$what" $((128 + $(kill -l "$signal"))) $status
}

for signal in TERM INT HUP; do
	start_inner
	wait_for_container
	ends_with "SIG$signal while a container runs" $signal
done

# As Ctrl-C does it: the whole process group at once.
start_inner
wait_for_container
status=0
kill -INT -- "-$STARTED_PID"
wait "$STARTED_PID" || status=$?
expect "SIGINT to the group" 130 $status

start_inner
wait_for_container
status=0
kill -KILL "$(pidof_inner containerd)"
kill -TERM "$STARTED_PID" 2>/dev/null || true
wait "$STARTED_PID" || status=$?
[ "$status" != 1 ] || status=143 # ctr has noticed first
expect "SIGTERM after containerd was killed" 143 $status

# During start-up, push, pull, run.
for delay in 0.1 0.4 0.8 1.2 1.6 2.0; do
	start_inner
	sleep $delay
	ends_with "SIGTERM after $delay s" TERM
done

registry_start secured tls auth
registry_push "$image" lib/hello:1
status=$(curl -s -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "https://$REGISTRY/v2/")
expect_code() { [ "$2" = "$3" ] || { echo "FAIL $1: $3" >&2; exit 1; }; echo "ok   $1"; }
expect_code "TLS registry refuses without a password" 401 "$status"
status=$(curl -s -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" -u "$REGISTRY_USER:$REGISTRY_PASSWORD" \
	"https://$REGISTRY/v2/lib/hello/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json')
expect_code "TLS registry answers with one" 200 "$status"
[ "$(registry_image_size lib/hello:1)" -gt 1000 ]
echo "ok   image size: $(registry_image_size lib/hello:1) bytes; traffic: $(registry_traffic 0)"
