# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# The three programs as a test uses them: keys and sealing, a host daemon of our own, mounts as a guest
# makes them. Programs are taken from $COCOON_BIN. To be sourced after cleanup.sh and registry.sh.
#
#   keys_make [DIR]                    below $WORK/keys, or those of DIR: domain.secret, image.key, guest.pem, guest.pem.pub
#     KEYS, KEY                        that directory; the SPEC that opens what image_seal has sealed
#     POLICY                           the image policy: it lists what image_seal has sealed
#   image_seal SOURCE REPO:TAG [OPTION…]     to $REGISTRY; the summary is JSON on stdout
#   image_optimize SOURCE REPO:TAG [COMMAND…]         the same by cocoon optimize
#     SEALED_REF                       registry/repo:tag
#   host_start NAME [CONFIG-LINE…]     cocoon-snapshotter for $REGISTRY
#     HOST_PID, HOST_LOG
#     HOST_DIR                         its root
#     HOST_CHUNKS                      the socket that guests connect to
#   guest_mount FRONT REF DIR [SOCKET [OPTION…]]      FRONT is block or tree
#   guest_unmount DIR                  returns when its daemon has ended
#   erofs_mount FILE DIR               the kernel's own, of an exported image

COCOON=${COCOON_BIN:?the directory that holds the programs}/cocoon

keys_make() {
	KEYS=${1:-$WORK/keys}
	KEY=recipient:$KEYS/guest.pem
	POLICY=$KEYS/policy.json
	[ ! -e "$KEYS/guest.pem.pub" ] || return 0
	mkdir -m 700 "$KEYS" &&
		"$COCOON" keygen domain "$KEYS/domain.secret" &&
		"$COCOON" keygen image "$KEYS/image.key" &&
		"$COCOON" keygen recipient "$KEYS/guest.pem"
}

image_seal() {
	local source=$1 name=$2
	shift 2

	SEALED_REF=$REGISTRY/$name
	interruptible "$COCOON" convert --plain-http --json --domain "$KEYS/domain.secret" \
		--recipient "$KEYS/guest.pem.pub" "$@" "$source" "$SEALED_REF" >"$WORK/summary.json" &&
		policy_add "$(jq -r .descriptor "$WORK/summary.json")" &&
		cat "$WORK/summary.json"
}

image_optimize() {
	local source=$1 name=$2
	shift 2

	SEALED_REF=$REGISTRY/$name
	# a busy machine takes longer than the default period
	interruptible "$COCOON" optimize --plain-http --json --period 120s --domain "$KEYS/domain.secret" \
		--recipient "$KEYS/guest.pem.pub" "$source" "$SEALED_REF" -- "$@" >"$WORK/summary.json" &&
		policy_add "$(jq -r .descriptor "$WORK/summary.json")" &&
		cat "$WORK/summary.json"
}

# policy_add DIGEST: of a manifest or a descriptor.
policy_add() {
	[ -e "$POLICY" ] || echo '{ "version": 1, "images": [] }' >"$POLICY"
	jq --arg digest "$1" '.images += [ { digest: $digest } ]' "$POLICY" >"$POLICY.new" && mv "$POLICY.new" "$POLICY"
}

host_start() {
	local name=$1
	shift

	HOST_DIR=$WORK/$name
	HOST_LOG=$WORK/$name.log
	HOST_CHUNKS=$HOST_DIR/chunks.sock
	mkdir -p "$HOST_DIR" || return
	{
		printf 'registry:\n  plain_http: [ "%s" ]\n' "$REGISTRY"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$HOST_DIR.yaml"
	start_daemon "$name" "$COCOON_BIN/cocoon-snapshotter" --config "$HOST_DIR.yaml" \
		--address "$HOST_DIR.sock" --root "$HOST_DIR"
	HOST_PID=$STARTED_PID
	at_exit host_unmount "$HOST_DIR"
	wait_socket "$HOST_CHUNKS" 20 "$HOST_PID" || {
		tail -n 5 "$HOST_LOG" >&2
		return 1
	}
}

# Images that are mounted in local mode stay when the daemon ends.
host_unmount() {
	local dir

	for dir in "$1"/mounts/*; do
		unmount "$dir"
	done
}

guest_mount() {
	local front=$1 ref=$2 dir=$3 socket=${4:-$HOST_CHUNKS}
	shift $(($# > 4 ? 4 : $#))

	mkdir -p "$dir"
	at_exit unmount "$dir"
	interruptible "$COCOON" mount --front "$front" --key "$KEY" --policy "$POLICY" --host "unix:$socket" "$@" "$ref" "$dir"
}

guest_unmount() {
	local i

	umount "$1" || return
	for ((i = 0; i < 200; i++)); do
		[ -n "$(guest_pids "$1")" ] || return 0
		sleep 0.05
	done
	echo "the guest daemon of $1 runs 10 s after umount" >&2
	return 1
}

# The cocoon-guestfs whose last argument is this directory.
guest_pids() {
	local pid

	for pid in $(pgrep -x cocoon-guestfs); do
		if [ "$({ tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | tail -n 1)" = "$1" ]; then
			echo "$pid"
		fi
	done
}

erofs_mount() {
	mkdir -p "$2"
	at_exit unmount "$2"
	mount -t erofs -o ro,loop "$1" "$2"
}

# Harmless when nothing is mounted there. A dead FUSE mount cannot be looked at, but the kernel lists it.
unmount() {
	if grep -qF " $1 " /proc/self/mountinfo; then
		umount "$1" || umount -l "$1"
	fi
}
