#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where secrets are not: keys in no command line, environment, log, file or core, and in nobody's memory but
# the publisher's and the guest's; what the image holds nowhere on the host, in its registry or on the wire.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon containerd; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

# A user without rights: of such a process the kernel tells whether it hides its memory.
NOBODY=(setpriv --reuid=65534 --regid=65534 --clear-groups)

watched() { interruptible "$here/watch.py" "$WORK/secrets" run "$@"; }
search() { "$here/../lib/search.py" find "$@"; }

# found_nowhere WHERE…: neither a key nor what the image holds.
found_nowhere() {
	local status=0

	search "$WORK/secrets" "$@" >"$WORK/search.log" || status=$?
	search "$WORK/canary" "$@" >>"$WORK/search.log" || status=$?
	grep -v '^clean' "$WORK/search.log" || true
	awk -F'\t' '{ bytes += $3 } END { printf "%d bytes searched\n", bytes / 2 }' "$WORK/search.log"
	return "$status"
}

# The search finds what is there, or its silence would mean nothing.
search_works() {
	! search "$WORK/secrets" "$KEYS" >/dev/null && ! search "$WORK/canary" "$WORK/layer" >/dev/null
}

# The keys as the bytes that they are. A P-256 private key in DER begins with 30 77 02 01 01 04 20.
collect_secrets() {
	mkdir "$WORK/secrets" &&
		sed -n 2p "$KEYS/domain.secret" | base64 -d >"$WORK/secrets/domain secret.key" &&
		sed -n 2p "$KEYS/image.key" | base64 -d >"$WORK/secrets/image key.key" &&
		openssl ec -in "$KEYS/guest.pem" -outform DER 2>/dev/null | head -c 39 | tail -c 32 >"$WORK/secrets/private key.key" &&
		sed -n 2p "$KEYS/guest.pem" | tr -d '\n' >"$WORK/secrets/private key PEM.key" &&
		wc -c "$WORK/secrets"/* && [ "$(wc -c <"$WORK/secrets/private key.key")" = 32 ]
}

# The kept image with one more layer, which holds what no compression hides. The canary is in whatever an image
# can hold: contents, names, symlinks, attributes, and every field of the config that takes words.
make_source() {
	local name

	image_make debian &&
		cp -a "$IMAGE_LAYOUT" "$WORK/source" &&
		mkdir "$WORK/layer" &&
		"$here/../lib/search.py" make "$WORK/layer/canary" >"$WORK/canary-name" &&
		name=$(cat "$WORK/canary-name") &&
		mkdir -p "$WORK/layer/places/directory-$name" && ln -s "/nowhere/$name" "$WORK/layer/places/link" &&
		echo attributes >"$WORK/layer/places/file" &&
		setfattr -n user.canary -v "value-$name" "$WORK/layer/places/file" &&
		setfattr -n "user.$name" -v x "$WORK/layer/places/file" &&
		setfattr -n security.canary -v "value-$name" "$WORK/layer/places/file" &&
		setfattr -n trusted.canary -v "value-$name" "$WORK/layer/places" &&
		tar -C "$WORK/layer" --xattrs --xattrs-include='*' -cf "$WORK/layer.tar" canary places &&
		umoci raw add-layer --image "$WORK/source:latest" "$WORK/layer.tar" \
			--history.comment "comment $name" --history.created_by "RUN $name" --history.author "$name" &&
		umoci config --image "$WORK/source:latest" --config.env "SECRET=$name" --config.label "secret=$name" \
			--config.label "$name=label" --config.entrypoint "/$name/entry" --config.cmd "cmd-$name" \
			--config.workingdir "/$name/work" --config.volume "/$name/volume" --author "author $name" &&
		cp -a "$WORK/layer/canary" "$WORK/canary" &&
		touch "$WORK/canary/$CANARY.txt" &&
		chmod -R a+rX "$WORK/source"
}

# What a guest with the key sees of it, each in its place: what is searched for did go into the image.
planted() {
	local at=$1/places name fields

	name=$(cat "$WORK/canary-name")
	[ -d "$at/directory-$name" ] && [ "$(readlink "$at/link")" = "/nowhere/$name" ] &&
		[ "$(getfattr -n user.canary --only-values "$at/file")" = "value-$name" ] &&
		[ "$(getfattr -n "user.$name" --only-values "$at/file")" = x ] &&
		[ "$(getfattr -n security.canary --only-values "$at/file")" = "value-$name" ] &&
		[ "$(getfattr -n trusted.canary --only-values "$at")" = "value-$name" ] || return
	"$COCOON" inspect --json --plain-http --key "$KEY" "$SEALED_REF" >"$WORK/inspect.json" &&
		fields=$(jq -r --arg name "$name" '[paths(strings | contains($name)) | map(tostring) | join(".")] +
			[paths | select(any(strings | contains($name))) | map(tostring) | join(".")] | unique | .[]' "$WORK/inspect.json") &&
		echo "$(wc -l <<<"$fields") places in the config: ${fields//$'\n'/ }" &&
		rm "$WORK/inspect.json" && [ "$(wc -l <<<"$fields")" -ge 10 ]
}

convert() {
	SEALED_REF=$REGISTRY/secrets/image:1
	watched "${NOBODY[@]}" "$COCOON" convert --plain-http --domain "$KEYS/domain.secret" \
		--image-key "$KEYS/image.key" --recipient "$KEYS/guest.pem.pub" "oci:$WORK/source" "$SEALED_REF" &&
		policy_add "$("$COCOON" inspect --plain-http --json "$SEALED_REF" | jq -r .descriptor)"
}

# A key where a path belongs is refused, and not said again.
key_as_argument() {
	local key out status=0

	key=$(sed -n 2p "$KEYS/image.key")
	out=$("$COCOON" "$1" --key "$key" "$SEALED_REF" "$WORK/refused" 2>&1) || status=$?
	echo "$out"
	[ "$status" != 0 ] && grep -q 'never the secret' <<<"$out" && ! grep -qF -e "$key" <<<"$out" && [ ! -e "$WORK/refused" ]
}

# no_core COMMAND…: dies of SIGSEGV, with core files allowed, and leaves none.
no_core() {
	local pid i

	rm -rf "$WORK/cores"
	mkdir -m 777 "$WORK/cores"
	(cd "$WORK/cores" && ulimit -c unlimited && exec "$@") >/dev/null 2>&1 &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		[ "$(readlink "/proc/$pid/exe")" != "$BASH" ] || sleep 0.02
	done
	sleep 0.3
	kill -SEGV "$pid"
	wait "$pid" 2>/dev/null || [ $? = 139 ] || {
		echo "it ended before the signal"
		return 1
	}
	[ -z "$(ls -A "$WORK/cores")" ]
}

cores_are_files() { [[ $(cat /proc/sys/kernel/core_pattern) != [/\|]* ]]; }

a_core() { ! no_core sleep 60; }

# A process of the same user must not read it either.
not_readable() {
	local pid=$1

	"${NOBODY[@]}" /usr/bin/python3 - "$pid" <<-'END'
		import sys
		try:
		    open(f"/proc/{sys.argv[1]}/mem", "rb")
		except PermissionError as e:
		    print(e.strerror)
		else:
		    sys.exit("its memory can be read")
	END
}

# In a mount namespace where /dev/fuse is for everybody, as udev would have it.
mount_as_nobody() {
	[ -e "$WORK/fuse" ] || mknod -m 666 "$WORK/fuse" c 10 229 || return
	install -d -o 65534 -g 65534 "$WORK/nobody"
	# shellcheck disable=SC2016 # the inner shell expands
	interruptible unshare --mount sh -c 'mount --bind "$1" /dev/fuse && shift && exec "$@"' sh "$WORK/fuse" \
		"${NOBODY[@]}" "$COCOON" mount --front tree --key "$KEY" --policy "$POLICY" --host "unix:$WORK/recorded.sock" \
		"$SEALED_REF" "$WORK/nobody" || return
	GUEST_PID=$(guest_pids "$WORK/nobody")
	at_exit stop_daemon "$GUEST_PID"
	# Only its own user can look into such a mount.
	nsenter -t "$GUEST_PID" -m "${NOBODY[@]}" cat "$WORK/nobody/canary/random.bin" | cmp - "$WORK/canary/random.bin"
}

mount_as_root() {
	guest_mount block "$SEALED_REF" "$WORK/mnt" "$WORK/recorded.sock" --log-level debug || return
	GUEST_PID=$(guest_pids "$WORK/mnt")
	interruptible find "$WORK/mnt" -xdev -type f -exec cat {} + | wc -c
}

# look PID: what it has in memory is told; that it has no key that it is done with is checked.
look() {
	local out

	out=$("$here/watch.py" "$WORK/secrets" look "$1") || {
		echo "$out"
		return 1
	}
	echo "$out"
	! grep -E 'private key|domain secret' <<<"$out"
}

# In local mode the daemon starts the guest's program itself, and has no key all the same.
pull_and_run() {
	host_start local "local:" "  keys: [ \"$KEY\" ]" "  guestfs: $COCOON_BIN/cocoon-guestfs" &&
		containerd_start containerd "cocoon=$HOST_DIR.sock" || return
	# A pull is over before it can be looked at; here it has to wait for the daemon.
	kill -STOP "$HOST_PID" && { sleep 0.5 && kill -CONT "$HOST_PID"; } &
	watched "$COCOON" pull --plain-http --address "$CONTAINERD_ADDRESS" "$SEALED_REF" &&
		interruptible container_run cocoon "$SEALED_REF" secrets cat /canary/random.bin | cmp - "$WORK/canary/random.bin"
}

work_dir secrets
# The user without rights is to reach what it is given.
chmod 755 "$WORK"
export TMPDIR=$WORK/tmp
mkdir -m 1777 "$TMPDIR"
cp -a "$COCOON_BIN" "$WORK/bin"
COCOON=$WORK/bin/cocoon
keys_make
chown -R 65534:65534 "$KEYS"

check "secrets collected" collect_secrets
check "image" make_source
check "search finds what is there" search_works
registry_start registry
host_start host
start_daemon traffic "$here/../lib/record.py" "$WORK/recorded.sock" "$HOST_CHUNKS" "$WORK/traffic"
wait_socket "$WORK/recorded.sock"
chmod 666 "$WORK/recorded.sock"

check "convert" convert
check "verify" watched "${NOBODY[@]}" "$COCOON" verify --plain-http --key "$KEY" "$SEALED_REF" || true
mkdir -m 777 "$WORK/export"
check "export" watched "${NOBODY[@]}" "$COCOON" export --plain-http --key "$KEY" "$SEALED_REF" "$WORK/export/e" || true
rm -rf "$WORK/export"
for command in verify export mount inspect; do
	check "$command refuses a key as argument" key_as_argument $command || true
done

check "mount, a user's" mount_as_nobody
check "the mount's process" look "$GUEST_PID" || true
check "not readable for its own user" not_readable "$GUEST_PID" || true
stop_daemon "$GUEST_PID"
check "mount, root's" mount_as_root
check "the mount's process" look "$GUEST_PID" || true
check "cocoon-snapshotter's process" "$here/watch.py" "$WORK/secrets" clean "$HOST_PID" || true
check "the canary is where it was put" planted "$WORK/mnt" || true
check "unmount" guest_unmount "$WORK/mnt" || true

check "host: cache, images, state" found_nowhere "$HOST_DIR" || true
check "host: memory of the daemon" found_nowhere "pid:$HOST_PID" || true
check "registry: storage" found_nowhere "$REGISTRY_DIR" || true
check "registry: memory" found_nowhere "pid:$REGISTRY_PID" || true
check "wire" found_nowhere "$WORK"/traffic.*.* || true

check "local mode: pull and run" pull_and_run || true
check "local mode: the daemon's process" "$here/watch.py" "$WORK/secrets" clean "$HOST_PID" || true
check "local mode: cache, images, state" found_nowhere "$HOST_DIR" || true
check "local mode: containerd's state" found_nowhere "$CONTAINERD_DIR" || true
check "all logs" found_nowhere "$WORK"/*.log || true
check "temporary files" found_nowhere "$TMPDIR" || true

if cores_are_files && check "sleep leaves a core" a_core; then
	check "no core of verify" no_core "$COCOON" verify --plain-http --key "$KEY" "$SEALED_REF" || true
	check "no core of convert" no_core "${NOBODY[@]}" "$COCOON" convert --plain-http \
		--domain "$KEYS/domain.secret" --recipient "$KEYS/guest.pem.pub" "oci:$WORK/source" "$REGISTRY/secrets/other:1" || true
	mkdir "$WORK/core-mnt"
	check "no core of mount" no_core "$WORK/bin/cocoon-guestfs" --foreground --front tree --key "$KEY" \
		--policy "$POLICY" --host "unix:$WORK/recorded.sock" "$SEALED_REF" "$WORK/core-mnt" || true
	unmount "$WORK/core-mnt"
else
	echo "not shown: here cores are not files in the current directory"
fi
checks_end
