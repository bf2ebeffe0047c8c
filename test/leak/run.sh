#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a host can tell from what a guest asks for. One program runs from one image with five inputs, which
# lead it to different files, directories and missing names. With a start-up list that holds all of them the
# requests are the same, byte for byte, from the mount to the program's end; without the list they differ, and so they do when
# the program leaves the list: the measure sees what there is to see.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check registry cocoon; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
INPUTS=(1 2 3 4 5)

# A shell with its libraries; for each input some large files, many small ones, a symlink and a plugin; and what
# is on no list.
make_tree() {
	local input

	mkdir -p "$TREE"/{bin,app} && cp /bin/dash "$TREE/bin/sh" && cp /bin/cat "$TREE/bin/" || return
	ldd /bin/dash /bin/cat | grep -o '/[^ :]*' | sort -u | grep '\.so' | xargs -I{} cp --parents -L {} "$TREE" || return
	for input in "${INPUTS[@]}"; do
		plugin "$input" >"$TREE/app/plugin-$input.sh"
	done
	# shellcheck disable=SC2016 # for the other shell
	echo 'set -e; . "/app/plugin-$1.sh"; cat "/data/link-$1"' >"$TREE/app/run.sh"
	/usr/bin/python3 - "$TREE" "${INPUTS[@]}" <<-'END'
		import os, random, sys
		def fill(path, size):
		    path = os.path.join(sys.argv[1], path)
		    os.makedirs(os.path.dirname(path), exist_ok=True)
		    with open(path, "wb") as f:
		        f.write(random.randbytes(size))
		for name in sys.argv[2:]:
		    for i in range(3):
		        fill(f"data/{name}/large-{i}", random.randrange(200000, 900000))
		    for i in range(150):
		        fill(f"data/{name}/many/{i}", random.randrange(9000))
		    os.symlink(f"{name}/many/{name}", os.path.join(sys.argv[1], "data", f"link-{name}"))
		fill("unlisted/data", 9000000)
	END
}

# Each does what it does in its own order: small files first or last, some twice, with names that are missing.
plugin() {
	local many="cat /data/$1/many/*" large="cat /data/$1/large-*"

	case $1 in
	1) echo "$many; $large" ;;
	2) echo "$large; $many; $many" ;;
	3) echo "cat /data/3/large-2 /data/3/large-0; [ ! -e /data/none ] && [ ! -e /app/plugin-9.sh ] && cat /data/3/many/1*" ;;
	4) echo "cat /data/4/many/77; $large" ;;
	5) echo "for f in /data/*/many/7*; do cat \"\$f\"; done; [ ! -e /data/5/many/none ]; $large; $many" ;;
	esac
}

seal_all() {
	umoci init --layout "$WORK/source" && umoci new --image "$WORK/source:latest" &&
		tar -C "$TREE" -cf "$WORK/tree.tar" . && umoci raw add-layer --image "$WORK/source:latest" "$WORK/tree.tar" || return
	(cd "$TREE" && find . -path ./unlisted -prune -o -print) >"$WORK/startup" &&
		image_seal "oci:$WORK/source" leak/listed:1 --startup "$WORK/startup" >"$WORK/listed.json" &&
		LISTED=$SEALED_REF && image_seal "oci:$WORK/source" leak/plain:1 >"$WORK/plain.json" &&
		PLAIN=$SEALED_REF && echo "$(wc -l <"$WORK/startup") paths, $(jq .chunks "$WORK/plain.json") chunks"
}

quiet() {
	local before=-1 now

	while now=$(cat "$WORK/$1".*.up | wc -c) && [ "$before" != "$now" ]; do
		before=$now
		sleep 0.3
	done
}

# record NAME FRONT REF COMMAND…: what is asked for while COMMAND runs in the image, as $WORK/NAME.<n>.up.
record() {
	local name=$1 front=$2 ref=$3
	shift 3

	start_daemon "record-$name" "$here/../lib/record.py" "$WORK/$name.sock" "$HOST_CHUNKS" "$WORK/$name"
	local recorder=$STARTED_PID
	wait_socket "$WORK/$name.sock" 20 "$recorder" &&
		guest_mount "$front" "$ref" "$WORK/mnt" "$WORK/$name.sock" &&
		interruptible chroot "$WORK/mnt" "$@" >/dev/null && quiet "$name" && guest_unmount "$WORK/mnt"
	local status=$?
	stop_daemon "$recorder"
	return "$status"
}

# record_all NAME FRONT REF: with each input; the records are NAME-1 … NAME-5.
record_all() {
	local input

	RECORDS=()
	for input in "${INPUTS[@]}"; do
		record "$1-$input" "$2" "$3" /bin/sh /app/run.sh "$input" || return
		RECORDS+=("$WORK/$1-$input")
	done
}

traffic() { "$here/traffic.py" "$@"; }

listed() { record_all "listed-$1" "$1" "$LISTED" && traffic same "${RECORDS[@]}"; }
unlisted() { record_all "plain-$1" "$1" "$PLAIN" && traffic different "${RECORDS[@]}"; }

# What leaves the list shows, and nothing else does.
leaves_the_list() {
	# shellcheck disable=SC2016 # for the other shell
	record "beyond-$1" "$1" "$LISTED" /bin/sh -c 'cat /unlisted/data; . /app/run.sh' sh 1 || return
	traffic requests "$WORK/listed-$1-1" | sort >"$WORK/a" && traffic requests "$WORK/beyond-$1" | sort >"$WORK/b" &&
		[ -z "$(comm -23 "$WORK/a" "$WORK/b")" ] && ! traffic same "$WORK/listed-$1-1" "$WORK/beyond-$1"
}

work_dir leak
TREE=$WORK/tree
at_exit unmount "$WORK/mnt"
check "keys" keys_make
check "the tree" make_tree
registry_start registry
check "seal, with and without a list" seal_all
host_start host
for front in block tree; do
	check "$front: a list hides the input" listed $front || true
	check "$front: without a list it shows" unlisted $front || true
	check "$front: what is not listed shows" leaves_the_list $front || true
done
checks_end
