#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A host that changes what it serves: one byte flipped anywhere, chunks cut, exchanged or denied, on the
# wire, in the cache, in the registry. What the byte covers is EIO, everything else reads right, no name is
# missing; when the byte is put back, the same mount reads right again. A mount is refused or it is right.
# Places are picked at random; a failure says which.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry images cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done

any_number() { echo $((RANDOM << 15 | RANDOM)); }

damage() { interruptible "$here/damage.py" "$REFERENCE" "$MOUNT" "$@"; }

# image_use NAME: seals it and mounts its export as the reference.
image_use() {
	image_make "$1" && image_seal "oci:$IMAGE_LAYOUT" "tamper/$1:1" >"$WORK/seal.json" || return
	MANIFEST=$(jq -r .manifest "$WORK/seal.json")
	PINNED_REF=${SEALED_REF%:*}@$MANIFEST
	read -r N_CHUNKS N_META TABLE_SIZE META_OFFSET MAX_CHUNK < \
		<("$here/sealed.py" numbers "$REGISTRY_DIR/data" "$MANIFEST") || return
	REFERENCE=$WORK/reference-$1
	interruptible "$COCOON" export --quiet --plain-http --key "$KEY" "$SEALED_REF" "$WORK/$1.erofs" &&
		erofs_mount "$WORK/$1.erofs" "$REFERENCE" &&
		echo "$N_CHUNKS chunks, $N_META of them metadata; hash tree $TABLE_SIZE … $META_OFFSET"
}

# under FRONT COVERS RULE [REF]: mounts while the rule holds, looks, takes the rule back and looks again at what
# could not be read. COVERS as damage.py takes it.
#   OUTCOME   refused; eio: that is what was found, where it may be; hidden: nothing that shows was damaged
under() {
	local front=$1 covers=$2 rule=$3 ref=${4:-$PINNED_REF} status=0

	echo "$rule" >"$RULES"
	OUTCOME=refused
	if ! guest_mount "$front" "$ref" "$MOUNT" "$PROXY" --timeout 1; then
		: >"$RULES"
		refused_cleanly
		return
	fi
	damage "$covers" "$RULES" || status=$?
	case $status in
	0) OUTCOME=eio ;;
	3) OUTCOME=hidden ;;
	*) echo "$front front, with the rule: $rule" ;;
	esac
	guest_unmount "$MOUNT" && [ "$OUTCOME" != refused ]
}

refused_cleanly() {
	! mountpoint -q "$MOUNT" && [ -z "$(guest_pids "$MOUNT")" ] || {
		echo "refused, but a mount or a daemon is left"
		return 1
	}
}

# tally COMMAND…: counts the outcomes of `under` in ${COUNT[…]}.
declare -A COUNT
tally() {
	"$@" || return
	COUNT[$OUTCOME]=$((${COUNT[$OUTCOME]} + 1))
}
tally_start() { COUNT=([refused]=0 [eio]=0 [hidden]=0); }
tally_end() { echo "${COUNT[eio]} EIO, ${COUNT[refused]} refused, ${COUNT[hidden]} touch nothing that shows"; }

# twenty_data_chunks FRONT: any byte of any of them.
twenty_data_chunks() {
	local front=$1 i

	tally_start
	for ((i = 0; i < 20; i++)); do
		tally under "$front" "$MAX_CHUNK" \
			"chunk $(any_data_chunk) flip $(any_number)" || return
	done
	tally_end
	# Chunks that hold only what upper layers hide exist; layers60 has many.
	[ "${COUNT[refused]}" = 0 ] && [ "${COUNT[eio]}" -gt 0 ]
}

# The root chunk, the map, names and attributes, config, start-up list.
every_metadata_chunk() {
	local front=$1 n

	tally_start
	for ((n = 0; n < N_META; n++)); do
		tally under "$front" any "chunk $n flip $(any_number)" || return
		[ "$n" -gt 0 ] || [ "$OUTCOME" = refused ] || return
	done
	tally_end
}

# table_blocks FRONT: the first, the last, two between.
table_blocks() {
	local front=$1 block last=$((TABLE_SIZE / 4096 - 1))

	tally_start
	for block in 0 "$last" $((RANDOM % (last + 1))) $((RANDOM % (last + 1))); do
		tally under "$front" any "index flip $((block * 4096 + RANDOM % 4096))" || return
		# A block that describes no metadata must not cost the mount.
		[ "$OUTCOME" != refused ] || [ $((block * 64)) -lt "$N_META" ] || return
	done
	tally_end
	[ "${COUNT[hidden]}" -lt 3 ]
}

# Nothing is taken from the superblock; of these small trees there is no more than the root's hash block.
hash_tree() {
	local front=$1 at

	under "$front" any "index flip $((TABLE_SIZE + RANDOM % 512))" && [ "$OUTCOME" = hidden ] || return
	tally_start
	for ((at = TABLE_SIZE + 4096; at < META_OFFSET; at += 4096)); do
		tally under "$front" any "index flip $((at + RANDOM % 4096))" || return
	done
	tally_end
	[ "${COUNT[refused]}" -gt 0 ] && [ "${COUNT[hidden]}" = 0 ]
}

# One byte of each eight.
descriptor_bytes() {
	local front=$1 at

	tally_start
	for ((at = 0; at < 256; at += 8)); do
		tally under "$front" any "descriptor flip $((at + RANDOM % 8))" "$SEALED_REF" || return
	done
	tally_end
	[ "${COUNT[refused]}" = 32 ]
}

manifest_size() { skopeo --insecure-policy inspect --raw --tls-verify=false "docker://$SEALED_REF" | wc -c; }

# Asked for by digest, a manifest is that one or none.
manifest_bytes() {
	local front=$1 size i

	size=$(manifest_size)
	tally_start
	for ((i = 0; i < 20; i++)); do
		tally under "$front" any "manifest flip $(($(any_number) % size))" || return
	done
	tally_end
	[ "${COUNT[refused]}" = 20 ]
}

# By tag another manifest is as good, if it leads to the same image. One that is wrong about a blob's size
# costs what lies in that blob, for as long as the mount lives.
manifest_bytes_by_tag() {
	local front=$1 size i status

	size=$(manifest_size)
	tally_start
	for ((i = 0; i < 20; i++)); do
		echo "manifest flip $(($(any_number) % size))" >"$RULES"
		status=0 OUTCOME=refused
		if guest_mount "$front" "$SEALED_REF" "$MOUNT" "$PROXY" --timeout 1; then
			damage any || status=$?
			case $status in
			0) OUTCOME=eio ;;
			3) OUTCOME=hidden ;;
			*) cat "$RULES" ;;
			esac
			guest_unmount "$MOUNT" || return
		fi
		: >"$RULES"
		[ "$status" != 1 ] || return
		COUNT[$OUTCOME]=$((${COUNT[$OUTCOME]} + 1))
	done
	tally_end
}

stored_size() {
	local id size rest

	read -r id size rest < <("$here/sealed.py" chunk "$REGISTRY_DIR/data" "$MANIFEST" "$1")
	echo "$size"
}

any_data_chunk() { echo $((N_META + $(any_number) % (N_CHUNKS - N_META))); }

# A chunk that is not longer than chunk N: a longer answer would break the wire's rules, and what breaks
# those is asked for again until the deadline.
chunk_to_swap() {
	local n=$1 size other

	size=$(stored_size "$n")
	while :; do
		other=$(any_data_chunk)
		if [ "$other" != "$n" ] && [ "$(stored_size "$other")" -le "$size" ]; then
			echo "$other"
			return
		fi
	done
}

# What else a host can do to a chunk: one of each, on chunks where it shows.
every_lie() {
	local front=$1 lie n

	tally_start
	for lie in "flip 0" "flip -1" "cut 1" "cut 32" "grow 1" swap "status 1" "status 3" "status 4"; do
		OUTCOME=hidden
		while [ "$OUTCOME" = hidden ]; do
			n=$(any_data_chunk)
			if [ "$lie" = swap ]; then
				tally under "$front" "$MAX_CHUNK" "chunk $n swap $(chunk_to_swap "$n")" || return
			else
				tally under "$front" "$MAX_CHUNK" "chunk $n $lie" || return
			fi
		done
		[ "$OUTCOME" = eio ] || return
		VISIBLE=$n
	done
	tally_end
}

# On disk ---------------------------------------------------------------------------------------------------

flip() {
	/usr/bin/python3 - "$1" "$2" <<-'END'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(int(sys.argv[2]))
		    byte = f.read(1)[0] ^ 1
		    f.seek(-1, 1)
		    f.write(bytes([byte]))
	END
}

# while_flipped FRONT COVERS FILE OFFSET: the same, with a byte of a file of the host's, while the host runs.
while_flipped() {
	local front=$1 covers=$2 file=$3 offset=$4 status=0

	flip "$file" "$offset" || return
	guest_mount "$front" "$PINNED_REF" "$MOUNT" && damage "$covers" || status=$?
	flip "$file" "$offset"
	[ "$status" != 0 ] || damage none || status=$?
	guest_unmount "$MOUNT" && [ "$status" = 0 ]
}

# cached CHUNK: its file in the host's cache.
cached() {
	local id rest

	read -r id rest < <("$here/sealed.py" chunk "$REGISTRY_DIR/data" "$MANIFEST" "$1")
	echo "$HOST_DIR/chunks/${id:0:2}/$id"
}

read_all() { guest_mount block "$PINNED_REF" "$MOUNT" && damage none && guest_unmount "$MOUNT"; }

in_cache() { while_flipped "$1" "$MAX_CHUNK" "$(cached "$VISIBLE")" 77; }

# The size tells the daemon, which fetches it again.
cut_in_cache() {
	truncate -s -1 "$(cached "$VISIBLE")" && read_all
}

in_cached_table() {
	while_flipped "$1" any "$HOST_DIR/images/${MANIFEST#sha256:}/index" $((VISIBLE * 64 + 40))
}

in_registry() {
	local id size blob offset

	read -r id size blob offset < <("$here/sealed.py" chunk "$REGISTRY_DIR/data" "$MANIFEST" "$VISIBLE")
	rm -f "$(cached "$VISIBLE")"
	while_flipped "$1" "$MAX_CHUNK" "$blob" $((offset + size / 2))
}

host_alive() {
	process_runs "$HOST_PID" && socket_accepts "$HOST_CHUNKS" && process_runs "$PROXY_PID" &&
		echo "$(grep -c . "$HOST_LOG") lines in its log"
}

work_dir tamper
RULES=$WORK/rules MOUNT=$WORK/mnt PROXY=$WORK/proxy.sock
: >"$RULES"
keys_make
registry_start registry
host_start host
start_daemon proxy "$here/wire-proxy.py" "$PROXY" "$HOST_CHUNKS" "$RULES"
PROXY_PID=$STARTED_PID
wait_socket "$PROXY" 20 "$PROXY_PID"

check "layers60: ready" image_use layers60
for front in block tree; do
	check "$front: nothing damaged" under $front any "" || true
	check "$front: 20 data chunks" twenty_data_chunks $front || true
	check "$front: every metadata chunk" every_metadata_chunk $front || true
	check "$front: hash tree" hash_tree $front || true
done
check "32 bytes of the descriptor" descriptor_bytes tree || true
check "20 bytes of the manifest, by digest" manifest_bytes tree || true
check "20 bytes of the manifest, by tag" manifest_bytes_by_tag tree || true

check "debian: ready" image_use debian
for front in block tree; do
	check "$front: every lie about a chunk" every_lie $front || true
	check "$front: every metadata chunk" every_metadata_chunk $front || true
	check "$front: table blocks" table_blocks $front || true
done
check "all is read into the host's cache" read_all || true
for front in block tree; do
	check "$front: flipped in the cache" in_cache $front || true
	check "$front: flipped in the cached table" in_cached_table $front || true
	check "$front: flipped in the registry" in_registry $front || true
done
check "cut in the cache: fetched again" cut_in_cache || true
check "the host daemon lives" host_alive || true
checks_end
