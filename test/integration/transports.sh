#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The same image over each transport that needs no virtual machine: a unix socket, a machine's hybrid socket, and TLS from another
# network namespace, with the real daemons. The log says who was there; who is not known is refused; cuts and restarts are waited for.
# (vsock itself is test/vm.)
#
#   test/integration/transports.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry cocoon link; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

FILES=64 # of 256 KiB

make_image() {
	local i

	mkdir "$WORK/tree" || return
	for ((i = 0; i < FILES; i++)); do
		head -c 262144 /dev/urandom >"$WORK/tree/file-$i" || return
	done
	tar -C "$WORK/tree" -cf "$WORK/layer.tar" . && umoci init --layout "$WORK/source" &&
		umoci new --image "$WORK/source:latest" && umoci raw add-layer --image "$WORK/source:latest" "$WORK/layer.tar" &&
		image_seal "oci:$WORK/source:latest" transports/image:1
}

# identity NAME: $WORK/NAME.pem holds a certificate and its key; the pin in $PIN, as the manual says to find it.
identity() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cocoon -days 3650 \
		-keyout "$WORK/$1.key" -out "$WORK/$1.crt" 2>/dev/null && cat "$WORK/$1.crt" "$WORK/$1.key" >"$WORK/$1.pem" &&
		PIN=sha256:$(openssl x509 -in "$WORK/$1.crt" -noout -pubkey | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1)
}

# mount_at ADDRESS DIR [OPTION…]: by a guest in the other network namespace, which is nothing to a unix socket.
mount_at() {
	local address=$1 dir=$2
	shift 2

	mkdir -p "$dir" && at_exit unmount "$dir" &&
		interruptible nsenter "--net=/run/netns/$LINK_NETNS" "$COCOON" mount --front tree --key "$KEY" --policy "$POLICY" \
			--host "$address" --cache-size 1M "$@" "$SEALED_REF" "$dir"
}

# refused STATUS WORDS ADDRESS [OPTION…]
refused() {
	local wanted=$1 words=$2 status=0
	shift 2

	mount_at "$1" "$WORK/refused" "${@:2}" 2>"$WORK/words" || status=$?
	cat "$WORK/words"
	[ "$status" = "$wanted" ] && grep -q -e "$words" "$WORK/words" && rmdir "$WORK/refused"
}

# The guest may not hear why; the log has it.
stranger_is_refused() {
	refused 32 'Permission denied\|Broken pipe\|Connection reset' "$TLS:$HOST_PIN" "${@:2}" && logged "$1"
}

# The kernel forgets the pages of these files.
forget() {
	find "$1" -type f -exec dd if={} iflag=nocache count=0 status=none \;
}

# same DIR: everything is as it was made, read from the daemon; how fast.
same() {
	local start=${EPOCHREALTIME/[.,]/}

	diff -rq "$WORK/tree" "$1" && forget "$1" || return
	echo "$((FILES * 262144 * 1000 / (${EPOCHREALTIME/[.,]/} - start) * 1000 / 1048576)) MiB/s"
}

logged() { grep -q -e "$1" "$HOST_LOG"; }

HOST_CONFIG=()
host() {
	host_start host "${HOST_CONFIG[@]}"
}

# The keeper makes the connection.
over_unix() {
	local keeper

	mount_at "unix:$HOST_CHUNKS" "$WORK/unix" && same "$WORK/unix" || return
	keeper=$(pgrep -P "$(guest_pids "$WORK/unix")")
	logged "guest connected peer=unix:uid=0,pid=$keeper\$" && guest_unmount "$WORK/unix"
}

# ---- A machine's socket ----

appears() {
	local i

	for ((i = 0; i < 100; i++)); do
		[ ! -S "$1" ] || return 0
		sleep 0.1
	done
	return 1
}

machine_appears() {
	mkdir -p "$WORK/vm/a/root" && start_daemon machine python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(3600)' "$WORK/vm/a/root/vm.sock" &&
		appears "$WORK/vm/a/root/vm.sock_7681"
}

over_hybrid() {
	mount_at "unix:$WORK/vm/a/root/vm.sock_7681" "$WORK/hybrid" && same "$WORK/hybrid" &&
		logged "guest connected peer=hybrid:$WORK/vm/a/root/vm.sock\$"
}

# Killed, so that it leaves its socket behind.
restarted_with_machines_alive() {
	stop_daemon "$HOST_PID" KILL
	[ -S "$WORK/vm/a/root/vm.sock_7681" ] && host && same "$WORK/hybrid"
}

machine_goes() {
	local i

	guest_unmount "$WORK/hybrid" && rm "$WORK/vm/a/root/vm.sock" || return
	for ((i = 0; i < 100; i++)); do
		[ -e "$WORK/vm/a/root/vm.sock_7681" ] || return 0
		sleep 0.1
	done
	return 1
}

# ---- TLS ----

over_tls() {
	mount_at "$TLS:$HOST_PIN" "$WORK/tls" --tls-identity "$WORK/guest.pem" --timeout 20 && same "$WORK/tls" &&
		logged "tls key=$HOST_PIN\$" &&
		logged "guest connected peer=tls:$LINK_ADDRESS:[0-9]*,key=$GUEST_PIN\$" &&
		logged "image opened peer=tls:$LINK_ADDRESS:[0-9]*,key=$GUEST_PIN image="
}

# An intact stream is read on, whatever else knocks at the door.
strangers() {
	local pid

	start_daemon strangers python3 -c '
import socket, sys, time
s = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for i in range(40)]
s[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
s[1].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
time.sleep(60)' "${TLS_HOST%:*}" "${TLS_HOST##*:}"
	pid=$STARTED_PID
	same "$WORK/tls" && mount_at "$TLS:$HOST_PIN" "$WORK/tls2" --tls-identity "$WORK/guest.pem" && guest_unmount "$WORK/tls2" || return
	sleep 11
	logged 'connection ended peer=tls:.*: no TLS: Connection timed out' && logged 'connection ended peer=tls:.*: TLS: http request' || return
	stop_daemon "$pid" && same "$WORK/tls"
}

speaks_only_1_3() {
	local version

	for version in tls1 tls1_1 tls1_2; do
		! openssl s_client -connect "$TLS_HOST" "-$version" -cipher ALL:@SECLEVEL=0 </dev/null >"$WORK/s_client" 2>&1 || return
		grep -q 'Cipher is (NONE)\|no peer certificate' "$WORK/s_client" || return
	done
	openssl s_client -connect "$TLS_HOST" -tls1_3 -cert "$WORK/guest.pem" -key "$WORK/guest.pem" </dev/null >"$WORK/s_client" 2>&1
	grep 'TLSv1.3, Cipher is' "$WORK/s_client" && grep -q 'Early data was not sent' "$WORK/s_client" &&
		! grep -q 'Post-Handshake New Session Ticket' "$WORK/s_client"
}

killed_and_restarted() {
	local reader

	stop_daemon "$HOST_PID" KILL
	same "$WORK/tls" &
	reader=$!
	sleep 1
	host && wait "$reader"
}

# Nobody says that the connection is gone; the guest notices, and makes another.
link_is_cut() {
	local reader

	same "$WORK/tls" &
	reader=$!
	sleep 0.1
	ip link set "$LINK_DEVICE" down
	sleep 3
	ip link set "$LINK_DEVICE" up
	wait "$reader"
}

# In the middle of records, for longer than a guest waits.
link_is_cut_for_long() {
	local reader

	mount_at "$TLS:$HOST_PIN" "$WORK/tls2" --tls-identity "$WORK/guest.pem" --timeout 2 || return
	while cat "$WORK/tls2"/file-* >/dev/null 2>"$WORK/words"; do
		forget "$WORK/tls2"
	done &
	reader=$!
	sleep 1
	ip link set "$LINK_DEVICE" down
	wait "$reader"
	ip link set "$LINK_DEVICE" up
	grep -m 1 'Input/output error' "$WORK/words" && sleep 3 && same "$WORK/tls2" && guest_unmount "$WORK/tls2"
}

# Another host at the same address is not the host.
another_key() {
	local good=("${HOST_CONFIG[@]}") status=0

	stop_daemon "$HOST_PID"
	HOST_CONFIG=("${HOST_CONFIG[@]//host.crt/other.crt}")
	HOST_CONFIG=("${HOST_CONFIG[@]//host.key/other.key}")
	host || return
	forget "$WORK/tls"
	! cat "$WORK/tls"/file-* >/dev/null 2>"$WORK/words" || status=1
	grep -c 'Input/output error' "$WORK/words" || status=1
	stop_daemon "$HOST_PID"
	HOST_CONFIG=("${good[@]}")
	host && sleep 1 && same "$WORK/tls" || return
	return "$status"
}

config_is_refused() {
	printf 'chunks:\n  tls:\n    address: tls:127.0.0.1:1\n    certificate: %s\n    key: %s\n    guests: [ any ]\n' \
		"$WORK/host.crt" "$WORK/guest.key" >"$WORK/bad.yaml"
	! "$COCOON_BIN/cocoon-snapshotter" --config "$WORK/bad.yaml" --address "$WORK/bad.sock" --root "$WORK/bad" 2>"$WORK/words" || return
	tail -n 1 "$WORK/words"
	grep -q 'not the private key of the certificate' "$WORK/words"
}

# A process of this host comes by CID 1.
local_vsock_is_refused() {
	local i

	python3 - <<-'END' || return 0
		import socket, sys
		try:
		    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
		    s.settimeout(5)
		    s.connect((1, 7685))
		except OSError as e:
		    print("no vsock to oneself here:", e)
		    sys.exit(1)
		sys.exit(0 if s.recv(1) == b"" else 2)
	END
	logged 'connection refused peer=vsock:1:' && echo "refused"
}

work_dir transports
keys_make
registry_start registry
link_start
check "the image" make_image
identity other && OTHER_PIN=$PIN
identity guest && GUEST_PIN=$PIN
identity host && HOST_PIN=$PIN
TLS_HOST=${LINK_ADDRESS%.2}.1:$(free_port)
TLS=tls:$TLS_HOST
HOST_CONFIG=('chunks:' "  hybrid_sockets: [ \"$WORK/vm/*/root/vm.sock\" ]" '  tls:' "    address: $TLS"
	"    certificate: $WORK/host.crt" "    key: $WORK/host.key" "    guests: [ \"$GUEST_PIN\" ]")
[ ! -e /dev/vsock ] || HOST_CONFIG+=('  vsock_port: 7685')
check "the host" host || exit 1
check "over a unix socket" over_unix || true
check "a machine appears" machine_appears || true
check "over its socket" over_hybrid || true
check "a restart with machines alive" restarted_with_machines_alive || true
check "the machine goes" machine_goes || true
check "over TLS" over_tls || true
check "TLS: no address without a pin" refused 1 'expected tls:ADDRESS:PORT:sha256:PIN' "$TLS" || true
check "TLS: another pin" refused 32 "the key at the other end is $HOST_PIN, which is not pinned" "$TLS:$GUEST_PIN" || true
check "TLS: a guest without a key" stranger_is_refused 'peer=tls:[^ ]*: TLS: peer did not return a certificate' || true
check "TLS: a guest with another key" stranger_is_refused "peer=tls:[^ ]*: the key at the other end is $OTHER_PIN, which is not pinned" --tls-identity "$WORK/other.pem" || true
check "TLS: 1.3 and nothing else" speaks_only_1_3 || true
check "TLS: strangers" strangers || true
check "TLS: killed and restarted" killed_and_restarted || true
check "TLS: the link is cut" link_is_cut || true
check "TLS: the link is cut for long" link_is_cut_for_long || true
check "TLS: another host at the address" another_key || true
check "TLS: unmount" guest_unmount "$WORK/tls" || true
check "TLS: files that do not fit" config_is_refused || true
check "vsock from this host itself" local_vsock_is_refused || true
checks_end
