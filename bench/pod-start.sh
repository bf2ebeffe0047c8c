#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A pod's start inside a virtual machine: from the request for the image to the container's first line, by Cocoon
# and by what confidential pods do without it: pull, decrypt and unpack the image into the machine's memory. Also
# memory of the machine, bytes over the virtio socket, and how fast a cold file is read.
#
# Where there is no KVM the machine is emulated, and its seconds are no seconds: its clock counts its instructions, one as
# a nanosecond, and runs along with the host's clock while it waits. That repeats to the percent whatever else the
# host does, and an AES instruction costs one instruction as on a real processor, not a hundred. SHA instructions the
# emulator has not.
#
#   bench/pod-start.sh [-n ROUNDS] [-k "KERNEL…"] [-s "ROW…"] [-f "FRONT…"] [-r RATE] [-i IMAGE] [-l MIB] [-w] [-b DIR] [-o DIR]
#     -n ROUNDS   measurements of each row, in turn (default 3)
#     -k KERNELS  default: 6.1 6.12
#     -s ROWS     default: stream cocoon-cold cocoon-warm; also skopeo; "" measures reads only
#     -f FRONTS   of the reads (default: auto tree)
#     -r RATE     of the link to the registry, as tc(8) writes it (default: unshaped)
#     -i IMAGE    oci:DIR:TAG that has python3 and numpy (default: made by test/images/make.py)
#     -l MIB      of the file that is read (default 64; 0: no reads)
#     -w          the machine's clock is the host's (on a busy host it measures the host)
#     -b DIR      a build directory with -DDEVELOP=ON (default: built); kernels are kept there
#     -o DIR      for pod-start.csv, pod-reads.csv and pod-start.md (default: the current directory)
#
# Rows; each measurement is a machine of its own with two pods of the image, one after the other:
#   stream       bench/peers/guest-pull: a layer flows from the registry through digest, decryption and
#                decompression into tmpfs; nothing is kept twice. The second pod has the image already
#   skopeo       the same with Debian's skopeo and umoci: layers lie in tmpfs until they are unpacked
#   cocoon-cold  the host has nothing of the image
#   cocoon-warm  the host's chunk cache has what an earlier machine asked for
# A row may name the front: cocoon-warm:tree.
# shellcheck disable=SC2034 # some variables are for the libraries
set -euo pipefail

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(dirname "$BENCH")
for library in cleanup packages link registry; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done

usage() {
	sed -n '/^#   bench/,/^#     -o/s/^# \{0,3\}//p' "$0"
	exit "$1"
}

[ "${1:-}" != --help ] || usage 0
ROUNDS=3 KERNELS='6.1 6.12' ROWS='stream cocoon-cold cocoon-warm' FRONTS='auto tree' RATE='' IMAGE='' LARGE=64 BUILD='' OUT=$PWD
CLOCK=(-icount 'shift=0')
while getopts n:k:s:f:r:i:l:wb:o:h option; do
	case $option in
	n) ROUNDS=$OPTARG ;;
	k) KERNELS=$OPTARG ;;
	s) ROWS=$OPTARG ;;
	f) FRONTS=$OPTARG ;;
	r) RATE=$OPTARG ;;
	i) IMAGE=$OPTARG ;;
	l) LARGE=$OPTARG ;;
	w) CLOCK=() ;;
	b) BUILD=$(realpath "$OPTARG") ;;
	o) OUT=$OPTARG ;;
	h) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || usage 2 >&2

COMMAND=(python3 -c 'import json, numpy; print("ok")')
EXPECTED=ok
VM_MEMORY=2048 # MiB, Kata's default
BOOT_SECONDS=900

# quietly LOG COMMAND…: its words are shown when it fails.
quietly() {
	local log=$WORK/$1.log
	shift

	interruptible "$@" >"$log" 2>&1 && return
	tail -n 10 "$log" >&2
	return 1
}

log() { [ ! -t 2 ] || echo "$(date +%T) $*" >&2; }

# --- programs -------------------------------------------------------------------

build() {
	cmake -S "$SOURCE_DIR" -B "$BUILD" -G Ninja -DDEVELOP=ON -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$BUILD/bin" &&
		cmake --build "$BUILD" --target cocoon cocoon-snapshotter cocoon-guestfs vm-vsock agent-pull
}

# What the machine needs for measuring.
build_probes() {
	local cc=(cc -std=gnu11 -O2 -Wall -Wextra -Werror -I"$SOURCE_DIR")

	mkdir -p "$WORK/probes" &&
		"${cc[@]}" -o "$WORK/probes/memory-peak" "$BENCH/pod/memory-peak.c" &&
		"${cc[@]}" -o "$WORK/probes/drain" "$BENCH/pod/drain.c" &&
		"${cc[@]}" -o "$WORK/probes/open-loop" "$BENCH/pod/open-loop.c" "$BUILD/crypto/libcocoon-crypto.a" \
			"$BUILD/crypto/libcocoon-digest.a" "$BUILD/proto/libcocoon-proto.a" -lcrypto
}

# --- images ---------------------------------------------------------------------

# One file of noise: it is as long sealed as it is plain.
make_large() {
	local layout=$WORK/large-layout

	mkdir "$WORK/large" && head -c "${LARGE}M" /dev/urandom >"$WORK/large/large" &&
		tar -C "$WORK/large" -cf "$WORK/large.tar" large &&
		umoci init --layout "$layout" && umoci new --image "$layout:latest" &&
		umoci raw add-layer --image "$layout:latest" "$WORK/large.tar" && rm "$WORK/large.tar"
}

encrypt_and_push() {
	skopeo --insecure-policy copy --quiet --dest-tls-verify=false --encryption-key "jwe:$KEYS/guest.pem.pub" \
		"$IMAGE" "docker://$REGISTRY/$ENCRYPTED"
}

# --- the host ---------------------------------------------------------------------

host_with_machines() {
	METRICS=127.0.0.1:$(free_port)
	host_start host "$(VM_VSOCK=unix vm_chunks)" 'metrics:' "  address: $METRICS"
	wait_socket "$METRICS" 20 "$HOST_PID"
}

host_forgets() {
	stop_daemon "$HOST_PID"
	rm -rf --one-file-system "$HOST_DIR"
	host_with_machines
}

# counters ROW: "BYTES REQUESTS REGISTRY-BYTES", so far, of what the host gave the machine.
counters() {
	case $1 in
	cocoon-*) curl -sSf "http://$METRICS/metrics" | awk '{ v[$1] = $2 }
		END { printf "%d %d %d\n", v["cocoon_guest_bytes_total"], v["cocoon_guest_requests_total"], v["cocoon_registry_bytes_total"] }' ;;
	*) registry_traffic 0 | awk '{ print $1, $2, $1 }' ;;
	esac
}

# boot NAME INITRAMFS. The emulator copies byte by byte where the processor says that it copies fast (erms).
boot() {
	local processor=(-cpu "max,-cx16,-erms" "${CLOCK[@]}")

	log "$1"
	! vm_kvm || processor=()
	VM_VSOCK=unix vm_start "$1" "$2" "${processor[@]}"
}

processor_words() {
	if vm_kvm; then
		echo "virtualized"
	elif [ ${#CLOCK[@]} = 0 ]; then
		echo "emulated"
	else
		echo "emulated, a nanosecond for each instruction,"
	fi
}

# listen PORT ADDRESS [SOCAT-OPTION…]: each connection of the machine to this port of the host goes there.
listen() {
	start_daemon "port-$1" socat -b 1048576 "${@:3}" "UNIX-LISTEN:${VM_SOCKET}_$1,fork" "$2"
}

# --- one start ---------------------------------------------------------------------

# machine KERNEL WAY FRONT IMAGE: the initramfs is made once for each.
machine() {
	local programs=()

	INITRAMFS=$WORK/$1-$2-$3.initramfs
	[ ! -e "$INITRAMFS" ] || return 0
	case $2 in
	cocoon) programs=(usr/bin/cocoon-guestfs="$BUILD/bin/cocoon-guestfs"
		usr/bin/agent-pull="$BUILD/test/vm/agent-pull" keys/policy.json="$POLICY") ;;
	skopeo) programs=(usr/bin/skopeo="$(command -v skopeo)" usr/bin/umoci="$(command -v umoci)"
		usr/bin/socat="$(command -v socat)") ;;
	stream) programs=(usr/bin/guest-pull="$PEERS/guest-pull" usr/bin/unpigz="$(command -v unpigz)") ;;
	esac
	printf 'WAY=%s\nFRONT=%s\nIMAGE=%s\n' "$2" "$3" "$4" >"$WORK/pod.conf"
	vm_initramfs "$INITRAMFS" "$BENCH/pod/start" "${programs[@]}" usr/sbin/runc="$(command -v runc)" \
		usr/bin/drain="$WORK/probes/drain" usr/bin/memory-peak="$WORK/probes/memory-peak" \
		keys/guest.pem="$KEYS/guest.pem" pod/config.json="$WORK/config.json" pod.conf="$WORK/pod.conf"
}

said() { tr -d '\r' <"$VM_CONSOLE" | grep "^$1: " | cut -d' ' -f2-; }

# times: seconds to pulled and to the first line and how much of the latter the machine waited, of both pods.
times() {
	said mark | awk '{ at[$1] = $2; waited[$1] = $3 }
		END { for (i = 1; i <= 2; i++) { pod = "pod" i
			printf "%s%.2f,%.2f,%.2f", (i > 1 ? "," : ""), at[pod "-pulled"] - at[pod "-asked"],
				at[pod "-line"] - at[pod "-asked"], (waited[pod "-line"] - waited[pod "-asked"]) / 100 } }'
}

# measure KERNEL ROUND ROW: prints a line of the CSV.
measure() {
	local kernel=$1 round=$2 row=${3%:*} front=auto name before after way image

	[ "$row" = "$3" ] || front=${3#*:}
	case $row in
	cocoon-*) way=cocoon image=$SEALED ;;
	*) way=$row image=$ENCRYPTED ;;
	esac
	case $row in
	cocoon-cold) host_forgets ;;
	cocoon-warm) [ -n "$HOST_IS_WARM" ] || measure "$kernel" warming cocoon-cold >/dev/null ;;
	esac
	vm_kernel "$kernel"
	machine "$kernel" "$way" "$front" "$image"
	name=$kernel-$row-$front-$round
	before=$(counters "$row")
	boot "$name" "$INITRAMFS"
	[ "$way" = cocoon ] || listen 5000 "TCP:$REGISTRY"
	vm_wait "memory: " "$BOOT_SECONDS"
	after=$(counters "$row")
	listen 7700 OPEN:/dev/null -U
	vm_end "$BOOT_SECONDS"
	[ "$(said container | sort | uniq -c | awk '{ print $1, $2 }')" = "2 $EXPECTED" ] || {
		echo "pod-start.sh: $name: the container did not print what it should:" >&2
		tail -n 20 "$VM_CONSOLE" >&2
		return 1
	}
	printf '%s,%s,%s,%s,%s,' "$kernel" "$3" "$round" "$(times)" "$(said memory | tr ' ' ,)"
	paste -d ' ' <(echo "$before") <(echo "$after") | awk '{ print $4 - $1 "," $5 - $2 "," $6 - $3 }'
	[ "$way" != cocoon ] || HOST_IS_WARM=1
}

# --- reads ---------------------------------------------------------------------------

# reads KERNEL: appends what the machine has read, and how often it asked the host for that.
reads() {
	local kernel=$1 name=$1-reads before after

	vm_kernel "$kernel"
	printf 'IMAGE=%s\nFRONTS="%s"\nROUNDS=%s\nBYTES=%s\nCHUNK=%s\n' "$LARGE_REF" "$FRONTS" "$ROUNDS" \
		$((LARGE << 20)) "$CHUNK" >"$WORK/read.conf"
	vm_initramfs "$WORK/$name.initramfs" "$BENCH/pod/read" usr/bin/cocoon-guestfs="$BUILD/bin/cocoon-guestfs" \
		usr/bin/drain="$WORK/probes/drain" usr/bin/open-loop="$WORK/probes/open-loop" \
		keys/guest.pem="$KEYS/guest.pem" keys/policy.json="$POLICY" read.conf="$WORK/read.conf"
	before=$(counters cocoon-warm)
	boot "$name" "$WORK/$name.initramfs"
	listen 7701 "OPEN:$WORK/large/large" -U
	vm_end $((BOOT_SECONDS * ROUNDS))
	after=$(counters cocoon-warm)
	said drain | awk -v kernel="$kernel" '{ print kernel "," $1 "," $2 "," $3 }' >>"$OUT/pod-reads.csv"
	# each round and front reads the file twice from the host
	paste -d ' ' <(echo "$before") <(echo "$after") | awk -v kernel="$kernel" -v n=$((ROUNDS * $(wc -w <<<"$FRONTS") * 2)) \
		'{ printf "%s,requests,%d,%d\n", kernel, ($4 - $1) / n, ($5 - $2) / n }' >>"$OUT/pod-reads.csv"
}

# --- the run ---------------------------------------------------------------------------

need_packages run image vm peers
work_dir bench-pod
mkdir -p "$OUT"
if [ -z "$BUILD" ]; then
	need_packages build test
	log "building"
	BUILD=$WORK/build
	quietly build build
fi
COCOON_BUILD=$BUILD COCOON_BIN=$BUILD/bin
for library in cocoon images vm pod; do
	# shellcheck source=/dev/null
	. "$SOURCE_DIR/test/lib/$library.sh"
done
build_probes
[[ " $ROWS " != *" stream "* ]] || PEERS=$("$BENCH/peers/build.sh" | tail -n 1)
if [ -z "$IMAGE" ] && [ -n "$ROWS" ]; then
	log "making the image"
	image_make debian >"$WORK/make-image.log" 2>&1
	IMAGE=oci:$IMAGE_LAYOUT:latest
fi

link_start "$RATE"
registry_start registry link
keys_make
if [ -n "$ROWS" ]; then
	log "sealing"
	image_seal "$IMAGE" pod/image:sealed >"$WORK/sealed.json"
	SEALED=$SEALED_REF
	ENCRYPTED=pod/image:encrypted
	interruptible encrypt_and_push
	pod_runs "${COMMAND[@]}"
	UNPACKED_BYTES=$(jq .tar_bytes "$WORK/sealed.json")
	PACKED_BYTES=$(skopeo --insecure-policy inspect --raw "$IMAGE" | jq '[.layers[].size] | add')
fi
if [ "$LARGE" != 0 ]; then
	quietly large make_large
	image_seal "oci:$WORK/large-layout:latest" pod/large:sealed >"$WORK/large.json"
	LARGE_REF=$SEALED_REF
	CHUNK=$(jq '.image_bytes / .chunks | floor' "$WORK/large.json")
fi
host_with_machines
HOST_IS_WARM=

{
	printf kernel,row,round,pulled_s,first_line_s,waited_s,second_pulled_s,second_first_line_s,second_waited_s,
	printf peak_unavailable_kib,peak_used_kib,kept_unavailable_kib,kept_used_kib,
	echo vsock_bytes,requests,registry_bytes
} >"$OUT/pod-start.csv"
for ((round = 1; round <= ROUNDS; round++)); do
	for kernel in $KERNELS; do
		for row in $ROWS; do
			measure "$kernel" "$round" "$row" >>"$OUT/pod-start.csv"
		done
	done
done
echo "kernel,what,bytes,seconds" >"$OUT/pod-reads.csv"
"$WORK/probes/open-loop" $((256 << 20)) 65536 | awk '{ print "host," $2 "," $3 "," $4 }' >>"$OUT/pod-reads.csv"
if [ "$LARGE" != 0 ]; then
	# the host's cache is warm from here on
	guest_mount tree "$LARGE_REF" "$WORK/mnt"
	cat "$WORK/mnt/large" >/dev/null
	guest_unmount "$WORK/mnt"
	for kernel in $KERNELS; do
		reads "$kernel"
	done
fi
{
	echo "Image: ${PACKED_BYTES:-0} bytes of layers, ${UNPACKED_BYTES:-0} unpacked. Link: ${RATE:-unshaped}." \
		"Rounds: $ROUNDS, in turn. Machine: $VM_MEMORY MiB, 1 CPU, $(processor_words) by" \
		"$(qemu-system-x86_64 --version | sed -n '1s/ (.*//p') on $(nproc) CPUs, Linux $(uname -r)," \
		"load $(cut -d' ' -f1 /proc/loadavg). Command: \`${COMMAND[*]}\`"
	echo
	"$BENCH/pod/report.py" "$OUT/pod-start.csv" "$OUT/pod-reads.csv" "${UNPACKED_BYTES:-0}"
} >"$OUT/pod-start.md"
cat "$OUT/pod-start.md"
