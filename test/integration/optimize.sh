#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cocoon optimize: an image of python and numpy is run and sealed by what its start touches. Its files are those of
# the image that is not optimized, and so are its layers' blobs; the start asks for the list, in a few requests, and for
# little beyond it; what was started for the recording is gone, and a command that fails seals nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
COMMAND=(/usr/bin/python3 -c 'import json, numpy; print("ok")')

prepare() {
	image_make debian && keys_make && registry_start registry && host_start host
}

seal_plain() {
	image_seal "oci:$IMAGE_LAYOUT" optimize/image:plain >"$WORK/plain.json" && PLAIN=$SEALED_REF
}

optimize() {
	image_optimize "oci:$IMAGE_LAYOUT" optimize/image:optimized "${COMMAND[@]}" >"$WORK/optimized.json" && OPTIMIZED=$SEALED_REF &&
		jq -r '"touched \(.touched_bytes), ahead \(.ahead_bytes), \(.listed_chunks) chunks in \(.listed_bytes) bytes"' "$WORK/optimized.json" &&
		jq -e '.touched_bytes > 5000000 and .listed_bytes > .startup_blob_bytes and .startup_blob_bytes < .touched_bytes
			and .reads > 100 and .listed_chunks > 10' "$WORK/optimized.json" >/dev/null
}

nothing_is_left() {
	! find "${TMPDIR:-/var/tmp}" -maxdepth 1 -name 'cocoon-optimize.*' -newer "$WORK/plain.json" | grep . &&
		! grep -F cocoon-optimize. /proc/mounts && ! pgrep -f '^/usr/bin/python3 -c import json, numpy'
}

layers_are_the_same() {
	local blobs

	blobs=$("$COCOON" inspect --json --plain-http "$PLAIN" | jq -c '[.blobs[:-1][].digest]')
	[ "$blobs" = "$("$COCOON" inspect --json --plain-http "$OPTIMIZED" | jq -c '[.blobs[1:-1][].digest]')" ] &&
		jq -e '.blobs_present >= 3' "$WORK/optimized.json"
}

# What is in the two images is the same, and the kernel and its tool take both.
files_are_the_same() {
	local name

	for name in plain optimized; do
		"$COCOON" export --quiet --plain-http --key "$KEY" --policy "$POLICY" "$REGISTRY/optimize/image:$name" "$WORK/$name.erofs" &&
			fsck.erofs "$WORK/$name.erofs" && erofs_mount "$WORK/$name.erofs" "$WORK/$name.mnt" || return
	done
	"$here/../compare/tree.py" compare --dir-nlink "$WORK/plain.mnt" "$WORK/optimized.mnt"
}

# record NAME REF [COMMAND…]: what a guest asks for while COMMAND runs in the image, and what the registry gives.
record() {
	local name=$1 ref=$2 recorder status=0 mark before=-1 now
	shift 2

	stop_daemon "$HOST_PID" && rm -rf --one-file-system "$HOST_DIR" && host_start host || return
	start_daemon "record-$name" "$here/../lib/record.py" "$WORK/$name.sock" "$HOST_CHUNKS" "$WORK/$name"
	recorder=$STARTED_PID
	mark=$(stat -c %s "$REGISTRY_LOG")
	wait_socket "$WORK/$name.sock" 20 "$recorder" &&
		guest_mount block "$ref" "$WORK/mnt" "$WORK/$name.sock" --cache-size 64M &&
		{ [ $# = 0 ] || interruptible chroot "$WORK/mnt" /usr/bin/env -i LANG=C.UTF-8 "$@"; } || status=1
	while now=$(cat "$WORK/$name".*.up "$WORK/$name".*.down | wc -c) && [ "$before" != "$now" ]; do
		before=$now
		sleep 0.3
	done
	registry_traffic "$mark" >"$WORK/$name.traffic"
	guest_unmount "$WORK/mnt" || status=1
	stop_daemon "$recorder"
	return "$status"
}

start() {
	record plain-start "$PLAIN" "${COMMAND[@]}" && record start "$OPTIMIZED" "${COMMAND[@]}"
}

requests() { "$here/../leak/traffic.py" requests "$WORK/$1" | wc -l; }

# The list is asked for with the mount, also when nothing runs, and all that the program touches is on it. How far
# the kernel reads ahead depends on what came first: a few requests more.
little_beyond_the_list() {
	local more

	record idle "$OPTIMIZED" || return
	more=$(comm -13 <("$here/../leak/traffic.py" requests "$WORK/idle" | sort) <("$here/../leak/traffic.py" requests "$WORK/start" | sort) | wc -l)
	echo "$(requests idle) requests when nothing runs, $more more for the start"
	[ "$more" -le 20 ] && [ $(($(requests start) - $(requests idle))) = "$more" ]
}

few_requests() {
	local bytes bytes_plain n n_plain listed

	read -r bytes n <"$WORK/start.traffic"
	read -r bytes_plain n_plain <"$WORK/plain-start.traffic"
	listed=$(jq .listed_bytes "$WORK/optimized.json")
	echo "guest $(requests plain-start) to $(requests start) requests, registry $n_plain to $n, $bytes_plain to $bytes bytes, $listed on the list"
	[ $((10 * $(requests start))) -le "$(requests plain-start)" ] && [ $((10 * n)) -le "$n_plain" ] &&
		[ "$bytes" -lt "$bytes_plain" ] && [ $((10 * bytes)) -le $((11 * listed + 5000000)) ]
}

# The record that was kept is a list for convert, and makes the same blob of the same image.
record_is_a_list() {
	local blob

	interruptible "$COCOON" optimize --quiet --period 120s --domain "$KEYS/domain.secret" --image-key "$KEYS/image.key" \
		--record "$WORK/record" "oci:$IMAGE_LAYOUT" "oci:$WORK/recorded" -- "${COMMAND[@]}" &&
		[ "$(stat -c %a "$WORK/record")" = 600 ] &&
		"$COCOON" convert --quiet --domain "$KEYS/domain.secret" --image-key "$KEYS/image.key" --startup "$WORK/record" \
			"oci:$IMAGE_LAYOUT" "oci:$WORK/converted" &&
		blob=$("$COCOON" inspect --json "oci:$WORK/recorded" | jq -r '.blobs[0].digest') &&
		[ "$blob" = "$("$COCOON" inspect --json "oci:$WORK/converted" | jq -r '.blobs[0].digest')" ] &&
		grep -q '^/usr/lib/python3/dist-packages/numpy/__init__.py'$'\t0\t' "$WORK/record"
}

# optimize_fails CODE WORDS ARGUMENT…: and there is no image then.
optimize_fails() {
	local code=$1 words=$2 status=0
	shift 2

	interruptible "$COCOON" optimize --quiet --period 120s --image-key "$KEYS/image.key" "$@" 2>"$WORK/failed" || status=$?
	cat "$WORK/failed"
	[ "$status" = "$code" ] && grep -qF -- "$words" "$WORK/failed" && [ ! -e "$WORK/none" ]
}

failures() {
	local from=oci:$IMAGE_LAYOUT to=oci:$WORK/none

	optimize_fails 1 'exit code 3' "$from" "$to" -- /bin/sh -c 'exit 3' &&
		optimize_fails 1 'exit code 125' "$from" "$to" -- /no/such/program &&
		optimize_fails 2 '--period takes' --period 5 "$from" "$to" &&
		optimize_fails 2 'a source and a destination' "$from" &&
		optimize_fails 1 'File exists' --record "$WORK/record" "$from" "$to" -- /usr/bin/true
}

# A server does not end: it is stopped. It has loopback, /proc, /dev and a place to write, no other network, and of the
# capabilities those of a container's root.
a_server_is_stopped() {
	interruptible "$COCOON" optimize --quiet --period 10s --image-key "$KEYS/image.key" "oci:$IMAGE_LAYOUT" "oci:$WORK/server" \
		-- /bin/sh -c 'echo "$$ $(cat /proc/self/comm) $(wc -l </proc/net/route) $(sed -n "s/CapEff:.//p" /proc/self/status)" >/run/state && cat /run/state >&2 &&
			echo x >/dev/null && python3 -c "import socket; s = socket.create_server((\"127.0.0.1\", 80)); s.accept()"' 2>"$WORK/server.log" &&
		cat "$WORK/server.log" && [ "$(sort -u "$WORK/server.log")" = '1 cat 1 00000000a00025fb' ] && nothing_is_left
}

work_dir optimize
check "image and host" prepare
check "seal" seal_plain
check "optimize" optimize
check "nothing is left of the run" nothing_is_left || true
check "the layers' blobs are the same" layers_are_the_same || true
check "the files are the same" files_are_the_same || true
check "start" start
check "little beyond the list" little_beyond_the_list || true
check "few requests" few_requests || true
check "the record is a list" record_is_a_list || true
check "failures seal nothing" failures || true
check "a server is stopped" a_server_is_stopped || true
checks_end
