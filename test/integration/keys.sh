#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where a guest's key comes from: every kind of recipient, sealed for and mounted with. A key provider wraps, the
# Confidential Data Hub unwraps: a stand-in for both that speaks ttrpc and ocicrypt's protocol (key_provider.py).
# And where the key is afterwards: in nobody's memory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

provider=$here/../lib/key_provider.py
KBS=provider:attestation-agent:keypath=/unused::keyid=kbs:///test/key/1::algorithm=A256GCM

# provider_config JSON: how the publisher reaches the key provider.
provider_config() {
	printf '{ "key-providers": { "attestation-agent": %s } }' "$1" >"$WORK/ocicrypt.conf"
	export OCICRYPT_KEYPROVIDER_CONFIG=$WORK/ocicrypt.conf
}

# seal_for NAME RECIPIENT…: with the image key that is searched for later; its policy, too.
seal_for() {
	local name=$1 recipient arguments=()
	shift

	for recipient in "$@"; do
		arguments+=(--recipient "$recipient")
	done
	"$COCOON" convert --plain-http --json --domain "$KEYS/domain.secret" --image-key "$KEYS/image.key" \
		"${arguments[@]}" "oci:$IMAGE_LAYOUT" "$REGISTRY/keys/$name:1" >"$WORK/summary.json" &&
		policy_add "$(jq -r .manifest "$WORK/summary.json")"
}

hub_start() {
	mkdir -p "$WORK/hub" && : >"$WORK/hub/asked" && echo list >"$WORK/hub/style" && rm -f "$WORK/cdh.sock" &&
		start_daemon hub "$provider" serve "$WORK/kek" "$WORK/cdh.sock" "$WORK/hub" &&
		HUB_PID=$STARTED_PID && wait_socket "$WORK/cdh.sock" 10 "$HUB_PID"
}

asked() { [ "$(wc -l <"$WORK/hub/asked")" = "$1" ]; }

# mounts_with KEY NAME [OPTION…]: and what is in it is the image.
mounts_with() {
	local key=$1 name=$2
	shift 2

	KEY=$key guest_mount auto "$REGISTRY/keys/$name:1" "$WORK/mnt" "$HOST_CHUNKS" "$@" &&
		[ "$(sha256sum <"$WORK/mnt/data/random" | cut -d' ' -f1)" = "$NOISE" ] && guest_unmount "$WORK/mnt"
}

# refuses_with KEY NAME WORDS: not mounted, and why.
refuses_with() {
	local key=$1 name=$2 words=$3 status=0

	KEY=$key guest_mount auto "$REGISTRY/keys/$name:1" "$WORK/mnt" 2>"$WORK/refused.log" || status=$?
	cat "$WORK/refused.log"
	[ "$status" = 32 ] && grep -q "$words" "$WORK/refused.log" && ! mountpoint -q "$WORK/mnt"
}

seals_by_program() {
	provider_config "{ \"cmd\": { \"path\": \"$provider\", \"args\": [ \"wrap\", \"$WORK/kek\" ] } }" &&
		seal_for program "$KBS" &&
		[ "$("$COCOON" inspect --plain-http --json "$REGISTRY/keys/program:1" | jq .recipients)" = 1 ]
}

seals_by_socket() {
	provider_config "{ \"ttrpc\": \"unix://$WORK/cdh.sock\" }" && seal_for socket "$KBS" "$KEYS/guest.pem.pub" &&
		grep -qx 'WrapKey kbs:///test/key/1' "$WORK/hub/asked" &&
		[ "$("$COCOON" inspect --plain-http --json "$REGISTRY/keys/socket:1" | jq .recipients)" = 2 ]
}

seals_nothing_without_an_answer() {
	provider_config '{ "cmd": { "path": "/bin/false" } }' && ! seal_for nothing "$KBS" 2>"$WORK/seal.log" &&
		grep 'key provider attestation-agent: /bin/false: exit code 1' "$WORK/seal.log" &&
		provider_config '{ "cmd": { "path": "/bin/echo" } }' && ! seal_for nothing "$KBS" 2>"$WORK/seal.log" &&
		grep 'annotation is missing' "$WORK/seal.log" &&
		provider_config '{ "grpc": "127.0.0.1:1" }' && ! seal_for nothing "$KBS" 2>"$WORK/seal.log" &&
		grep 'neither by' "$WORK/seal.log" && unset OCICRYPT_KEYPROVIDER_CONFIG &&
		! seal_for nothing "$KBS" 2>"$WORK/seal.log" && grep OCICRYPT_KEYPROVIDER_CONFIG "$WORK/seal.log" &&
		! "$COCOON" inspect --plain-http "$REGISTRY/keys/nothing:1" 2>/dev/null
}

unwraps() {
	echo "$1" >"$WORK/hub/style" && mounts_with "cdh:unix:$WORK/cdh.sock" program &&
		mounts_with "cdh:unix:$WORK/cdh.sock" socket
}

refuses() {
	echo "$1" >"$WORK/hub/style" && refuses_with "cdh:unix:$WORK/cdh.sock" program "$2"
}

# Nobody is asked for the key of an image that may not be mounted.
policy_first() {
	local before

	before=$(wc -l <"$WORK/hub/asked")
	echo list >"$WORK/hub/style"
	jq '.images = []' "$POLICY" >"$WORK/none.json"
	POLICY=$WORK/none.json refuses_with "cdh:unix:$WORK/cdh.sock" program policy && asked "$before"
}

takes_no_tag_alone() {
	local status=0

	"$COCOON" mount --key "cdh:unix:$WORK/cdh.sock" --host "unix:$HOST_CHUNKS" "$REGISTRY/keys/program:1" "$WORK/mnt" \
		2>"$WORK/tag.log" || status=$?
	[ "$status" != 0 ] || guest_unmount "$WORK/mnt"
	[ "$status" = 1 ] && grep 'a tag says nothing' "$WORK/tag.log"
}

second_key_after_the_hub_has_gone() {
	stop_daemon "$HUB_PID" && refuses_with "cdh:unix:$WORK/cdh.sock" program 'is away' &&
		mounts_with "cdh:unix:$WORK/cdh.sock" socket --key "recipient:$KEYS/guest.pem" && hub_start
}

# recipient NAME COMMAND…: a private key of that kind, sealed for and mounted with.
recipient() {
	local name=$1
	shift

	openssl genpkey -quiet "$@" -out "$KEYS/$name.pem" 2>"$WORK/genpkey.log" &&
		openssl pkey -in "$KEYS/$name.pem" -pubout -out "$KEYS/$name.pub" &&
		seal_for "$name" "$KEYS/$name.pub" && mounts_with "recipient:$KEYS/$name.pem" "$name" &&
		refuses_with "recipient:$KEYS/guest.pem" "$name" 'opens none of the 1 wrapped keys'
}

# While it is mounted: what holds chunk keys is locked and in no core file, and the image key is not there any more.
memory_of() {
	local pid key=$1 pids=() places=()

	mkdir -p "$WORK/secrets" &&
		sed -n 2p "$KEYS/image.key" | base64 -d >"$WORK/secrets/image.key" &&
		openssl pkey -in "$KEYS/rsa.pem" -noout -text | sed -n '/^prime1:/,/^prime2:/{/^prime/d;s/[: ]//g;p}' |
		xxd -r -p | tail -c 128 >"$WORK/secrets/rsa prime.key" &&
		! "$here/../lib/search.py" find "$WORK/secrets" "$KEYS" >"$WORK/search.log" &&
		KEY=$key guest_mount auto "$REGISTRY/keys/$2:1" "$WORK/mnt" || return
	mapfile -t pids < <(guest_pids "$WORK/mnt")
	for pid in "${pids[@]}"; do
		places+=("pid:$pid")
		echo "coredump_filter of $pid: $(cat "/proc/$pid/coredump_filter"), $(grep VmLck "/proc/$pid/status")"
	done
	guest_is_locked "${pids[@]}" && "$here/../lib/search.py" find "$WORK/secrets" "${places[@]}" &&
		guest_unmount "$WORK/mnt"
}

# One of the two processes has the keys: none of its memory goes into a core file, the map with the chunks' keys is
# locked, and where the limit could be raised everything that is written to.
guest_is_locked() {
	local pid locked=0

	for pid in "$@"; do
		if [ "$((16#$(cat "/proc/$pid/coredump_filter")))" != 0 ] || grep -q 'VmLck:\s*0 kB' "/proc/$pid/status"; then
			continue
		fi
		if ! grep -q '^Max locked memory *unlimited' "/proc/$pid/limits" ||
			awk '/^[0-9a-f]+-[0-9a-f]+ / { where = $0; kind = $2; file = $6 }
				/^VmFlags:/ && kind ~ /^rw.p/ && file != "[stack]" && !/ lo/ { print where; bad = 1 }
				END { exit bad }' "/proc/$pid/smaps"; then
			locked=$((locked + 1))
		fi
	done
	[ "$locked" -ge 1 ]
}

work_dir keys
registry_start registry
check "image made" image_make busybox
keys_make
head -c 32 /dev/urandom >"$WORK/kek"
NOISE=$(python3 -c 'import hashlib, random; print(hashlib.sha256(random.Random("busybox").randbytes(4 << 20)).hexdigest())')
host_start host
hub_start

check "sealed by a program" seals_by_program || true
check "sealed by a socket" seals_by_socket || true
check "not sealed without an answer" seals_nothing_without_an_answer || true
for style in list base64; do
	check "UnWrapKey, $style" unwraps $style || true
done
check "UnWrapKey, refused" refuses refuse 'attestation did not convince' || true
check "UnWrapKey, broker away" refuses away 'the key broker is away' || true
check "UnWrapKey, garbage" refuses garbage 'optsdata is missing' || true
check "UnWrapKey, another image's key" refuses another 'of another image' || true
check "policy before key" policy_first || true
check "no tag alone" takes_no_tag_alone || true
check "hub away" second_key_after_the_hub_has_gone || true
check "RSA-OAEP" recipient rsa -algorithm RSA -pkeyopt rsa_keygen_bits:2048 || true
for curve in 256 384 521; do
	check "ECDH-ES P-$curve" recipient p$curve -algorithm EC -pkeyopt "ec_paramgen_curve:P-$curve" || true
done
check "memory, UnWrapKey" memory_of "cdh:unix:$WORK/cdh.sock" program || true
check "memory, RSA" memory_of "recipient:$KEYS/rsa.pem" rsa || true
check "memory, ECDH" memory_of "recipient:$KEYS/p256.pem" p256 || true
checks_end
