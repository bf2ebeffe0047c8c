# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# One measurement of coldstart.sh: the state before it, the start itself, and what is counted until the answer.
#
# A file in bench/systems defines, with its name in front:
#   _rows             names of its rows
#   _plugin           name=socket of its containerd plugin, if it has one
#   _programs         what is read into the page cache before a measurement
#   _prepare          once: starts its daemon
#   _image            once for each image (IMAGE, SOURCE, COMMAND): makes and pushes its form
#   _reset ROW        brings the host into the state that ROW means; sets GUEST where a part of the start is a guest's
#   _keeps_cache ROW  true when the page cache is a part of that state
#   _blobs ROW        tags in the registry that ROW reads
#   _pids             its daemons, one a line
#   _pull ROW, _run ROW ID      the start; what the container prints goes to stdout
#   _wire ROW         bytes that guests got from the host so far, if there is such a thing
#   _end ROW ID       ends what runs
#   _clean ROW        takes the image from the host again
# All but _pull and _run may fail after setting SKIP to the reason, which is reported.

CSV_COLUMNS=image,link,system,round,pulled_s,answer_s,registry_bytes,requests,wire_bytes,disk_bytes,cpu_s,memory_peak,guest_memory_peak,processes
CGROUP='' STARTS=0

# say TEXT: a line on the terminal above the one with the progress.
say() { printf '\r\033[K%s %s\n' "$(date +%T)" "$*" >&2; }

skip() {
	say "$1: $2"
	SKIPPED[$1]=${2//[[:space:]]/ }
}

# --- what the system files use ------------------------------------------------

# host_forgets SNAPSHOTTER REF: containerd keeps nothing of it, which is checked.
host_forgets() {
	local snapshotter=$1 ref=$2 left i

	ctr images rm --sync "$ref" >/dev/null 2>&1 || true
	for ((i = 0; i < 100; i++)); do
		left=$(
			ctr content ls -q
			ctr snapshots --snapshotter "$snapshotter" ls | tail -n +2
		) || left='containerd does not answer'
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	SKIP="the host does not forget the image: $left"
	return 1
}

# After its daemon was started anew containerd dials a plugin with back-off;
# that is not to be measured. Only a call that changes something reaches the
# plugin for certain; the rest containerd answers from its own database.
plugin_answers() {
	local i lease

	for ((i = 0; i < 200; i++)); do
		if ctr snapshots --snapshotter "$1" prepare probe >/dev/null 2>&1; then
			ctr snapshots --snapshotter "$1" rm probe &&
				lease=$(ctr leases create) &&
				ctr leases rm --sync "$lease" >/dev/null # collects the probe now, not while measuring
			return
		fi
		sleep 0.1
	done
	SKIP="containerd does not reach the plugin $1"
	return 1
}

# peak NAME CMD…: a program that ends before the answer, so that its memory is asked for when it ends.
peak() {
	local name=$1
	shift
	command time -a -o "$WORK/peaks" -f "$name %M" "$@"
}

# --- one start --------------------------------------------------------------------

# Runs under timed_lines, in a shell of its own: prints `pulled` and the answer.
start() {
	local file=$1 row=$2 id=$3 answer

	[ -z "$CGROUP" ] || cgroup_enter "$CGROUP" "$BASHPID"
	"${file}_pull" "$row" >&2 || return
	echo pulled
	if [ -z "$REQUEST" ]; then
		"${file}_run" "$row" "$id" || return
		# What a process has read goes to its parent when it ends: be there until that has been counted.
		while [ -e "$WORK/samples" ]; do
			read -r -t 0.01 -u "$NOTHING_FD" answer || true
		done
	else
		"${file}_run" "$row" "$id" >&2 &
		read -r answer <&"$ASK_FD"
		echo "$answer"
		wait
	fi
}

# Sets LINE_SECONDS and leaves the container running.
start_to_answer() {
	local file=$1 row=$2 id=$3 ready

	CONTAINER_OPTIONS=(--cgroup "/${CGROUP:-$WORK_CGROUP}${CGROUP:+/}app")
	if [ -n "$REQUEST" ]; then
		rm -f "$WORK/answer"/* "$WORK/answer"/.[a-zA-Z]*
		CONTAINER_OPTIONS+=(--mount "type=bind,src=$WORK/answer,dst=/answer,options=rbind:rw")
		exec {ASK_FD}< <(printf %b "$REQUEST" | "$BENCH/ask.py" "$WORK/answer/$SOCKET" "$ANSWER")
		ASK_PID=$!
		read -r ready <&"$ASK_FD"
	fi
	timed_lines 2 "${ANSWER_SECONDS:-300}" start "$file" "$row" "$id" 2>>"$WORK/$file-commands.log" &&
		[ "${LINE_TEXT[1]}" = "$ANSWER" ]
}

start_end() {
	local file=$1 row=$2 id=$3

	[ -z "$REQUEST" ] || {
		"${file}_end" "$row" "$id"
		stop_tree "$ASK_PID"
		exec {ASK_FD}<&-
	} >>"$WORK/$file-commands.log" 2>&1
	# a program that was ended has not succeeded
	timed_end 20 || [ -n "$REQUEST" ]
}

# warm_up FILE ROW: a start that is not measured.
warm_up() {
	local status=0

	start_to_answer "$1" "$2" warming || status=1
	start_end "$1" "$2" warming || status=1
	[ "$status" = 0 ] || SKIP="no answer while warming: $(tail -n 1 "$WORK/$1-commands.log")"
	return "$status"
}

# --- before it and after it ----------------------------------------------------------

# Paths of the blobs that a tag of this image names.
blobs_of() {
	local digest manifest

	digest=$(cat "$CACHE/registry/docker/registry/v2/repositories/bench/$IMAGE/_manifests/tags/$1/current/link")
	manifest=$(blob_path "$digest")
	echo "$manifest"
	jq -r '.config.digest, .layers[].digest' "$manifest" | while read -r digest; do
		blob_path "$digest"
	done
}

blob_path() { echo "$CACHE/registry/docker/registry/v2/blobs/sha256/${1:7:2}/${1#sha256:}/data"; }

# The page cache holds nothing but the programs and, on the far side of the link, the registry's files; nothing flows
# over the link any more.
settle() {
	local file=$1 row=$2 program tag bytes=-1 i

	for ((i = 0; i < 60; i++)); do
		[ "$bytes" != "$(link_bytes)" ] || break
		bytes=$(link_bytes)
		sleep 0.3
	done
	"${file}_keeps_cache" "$row" || {
		sync
		echo 3 >/proc/sys/vm/drop_caches
	}
	for program in containerd containerd-shim-runc-v2 runc ctr docker-registry time $("${file}_programs"); do
		program=$(type -P "$program")
		# A script has no shared libraries.
		{ echo "$program" && { ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*'; } |
			xargs cat >/dev/null 2>&1 || true
	done
	for tag in $("${file}_blobs" "$row"); do
		blobs_of "$tag" | xargs cat >/dev/null
	done
	ctr version >/dev/null
	sleep 0.2
}

# The link's counter fifty times a second, until the file is taken away.
sample_bytes() {
	local nothing

	while [ -e "$WORK/samples" ]; do
		echo "$EPOCHREALTIME $(link_bytes)"
		read -r -t 0.02 -u "$NOTHING_FD" nothing || true
	done
}

# peaks: "NAME KIB" of all processes that take part.
peaks() {
	local pid

	cat "$WORK/peaks" 2>/dev/null || true
	for pid in $(cgroup_pids "$CGROUP"); do
		awk '$1 == "Name:" { name = $2 } $1 == "VmHWM:" { print name, $2 }' "/proc/$pid/status" 2>/dev/null || true
	done
}

# read_bytes: from disk, by all processes that take part, as the kernel accounts it to them; a process has what its
# ended children had.
read_bytes() {
	local pid

	for pid in $(cgroup_pids "$CGROUP"); do
		cat "/proc/$pid/io" 2>/dev/null || true
	done | awk '$1 == "read_bytes:" { n += $2 } END { printf "%.0f\n", n }'
}

# "NAME:KIB*N;…", the largest of each name first.
peaks_line() {
	grep -v '^\(bash\|time\|cat\|sleep\) ' | sort -k1,1 -k2,2nr |
		awk '{ if (!n[$1]++) max[$1] = $2 } END { for (name in n) printf "%s:%d*%d;", name, max[name], n[name] }'
}

# measure ROUND LINK FILE ROW: appends a line to the CSV.
measure() {
	local round=$1 link=$2 file=$3 row=$4 pids bytes wire requests log_size status=0 disk cpu sampler began id values

	SKIP='' GUEST=''
	id=bench-$((++STARTS))
	"${file}_reset" "$row" || {
		skip "$row $IMAGE $link" "${SKIP:-reset failed}"
		"${file}_clean" "$row" || true
		return 0
	}
	settle "$file" "$row"
	CGROUP=$WORK_CGROUP$id
	cgroup_start "$CGROUP"
	[ -z "$GUEST" ] || cgroup_start "$CGROUP/guest" "$GUEST_MEMORY"
	cgroup_enter "$CGROUP" "$CONTAINERD_PID"
	mapfile -t pids < <("${file}_pids")
	cgroup_enter "$CGROUP" "$CONTAINERD_PID" "${pids[@]}"
	rm -f "$WORK/peaks"
	log_size=$(stat -c %s "$REGISTRY_LOG")
	wire=$("${file}_wire" "$row")
	disk=$(read_bytes)
	: >"$WORK/samples"
	sample_bytes >>"$WORK/samples" &
	sampler=$!
	bytes=$(link_bytes)
	began=$EPOCHREALTIME
	start_to_answer "$file" "$row" "$id" || status=1
	bytes=$(($(link_bytes) - bytes))
	cpu=$(cgroup_value "$CGROUP" cpu_us)
	values=$(($(read_bytes) - disk)),$(printf '%d.%03d' $((cpu / 1000000)) $((cpu / 1000 % 1000)))
	values+=,$(cgroup_value "$CGROUP" memory_peak)
	values+=,$([ -z "$GUEST" ] || cgroup_value "$CGROUP/guest" memory_peak)
	values+=,$(peaks | peaks_line)
	mv "$WORK/samples" "$WORK/samples.last"
	wait "$sampler"
	[ -z "$wire" ] || wire=$(($("${file}_wire" "$row") - wire))
	requests=$(registry_traffic "$log_size")
	start_end "$file" "$row" "$id" || status=1
	[ "$status" = 0 ] || skip "$row $IMAGE $link" "no answer: $(tail -n 1 "$WORK/$file-commands.log")"
	"${file}_clean" "$row" || {
		skip "$row $IMAGE $link" "${SKIP:-clean failed}"
		status=1
	}
	cgroup_end "$CGROUP"
	CGROUP=
	[ "$status" = 0 ] || return 0
	echo "$IMAGE,$link,$row,$round,${LINE_SECONDS[0]},${LINE_SECONDS[1]},$bytes,${requests#* },$wire,$values" >>"$OUT/runs.csv"
	awk -v began="$began" -v line="$IMAGE,$link,$row,$round" -v last="${LINE_SECONDS[1]}" '
		NR == 1 { first = $2 }
		$1 - began <= last && $2 != before { printf "%s,%.3f,%d\n", line, $1 - began, $2 - first }
		{ before = $2 }
		END { printf "%s,%.3f,%d\n", line, last, '"$bytes"' }' "$WORK/samples.last" >>"$OUT/bytes.csv"
}

# measure_rows ROUND LINK IMAGE: all systems, in turn, begun at another one each round.
measure_rows() {
	local round=$1 link=$2 i pair rate=${2%%+*} delay=0

	[[ $link != *+* ]] || delay=${link#*+}
	[ "$rate" != unshaped ] || rate=
	link_shape "$rate" "${delay%ms}"
	use_image "$3"
	for ((i = 0; i < ${#ROWS[@]}; i++)); do
		pair=${ROWS[(i + round) % ${#ROWS[@]}]}
		progress "$round" "$link" "${pair#* }"
		[ -n "${SKIPPED[${pair% *}]:-}${SKIPPED[${pair% *} $IMAGE]:-}${SKIPPED[${pair#* } $IMAGE $link]:-}" ] ||
			measure "$round" "$link" "${pair% *}" "${pair#* }"
		CELLS_DONE=$((CELLS_DONE + 1))
	done
}

# One line: how much is left, and what is measured now.
progress() {
	local left=-1

	[ "$CELLS_DONE" = 0 ] || left=$(((SECONDS - MEASURING_SINCE) * (CELLS - CELLS_DONE) / CELLS_DONE))
	[ "$CELLS_DONE" != 0 ] || MEASURING_SINCE=$SECONDS
	printf '\r\033[K%d/%d  %s  round %d  %s, %s, %s' "$CELLS_DONE" "$CELLS" \
		"$([ $left -lt 0 ] || printf 'about %d:%02d min left' $((left / 60)) $((left % 60)))" "$1" "$IMAGE" "$2" "$3" >&2
}

# The exact versions and parameters, as JSON.
parameters() {
	local name

	for name in "${!SKIPPED[@]}"; do
		jq -n --arg what "$name" --arg why "${SKIPPED[$name]}" '{$what, $why}'
	done | jq -s --arg images "$IMAGES" --arg rates "$RATES" --arg runs "$RUNS" \
		--arg systems "$(printf '%s\n' "${ROWS[@]#* }" | tr '\n' ' ')" --arg guest_memory "$GUEST_MEMORY" \
		--arg commit "$(git -C "$SOURCE_DIR" describe --always --dirty --exclude '*' 2>/dev/null)" \
		--arg cocoon "$(sha256sum "$COCOON_BIN"/cocoon* | sha256sum | cut -c1-16)" \
		--arg kernel "$(uname -r)" --arg cpus "$(nproc)" \
		--arg cpu "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" \
		--arg memory "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" \
		--arg load "$(cut -d' ' -f1-3 /proc/loadavg)" --arg date "$(date -u +%FT%TZ)" \
		--argjson pods "${PODS_RESULT:-null}" --argjson touched "$(touched_all)" --argjson packages "$(dpkg-query -W -f '${Package} ${Version}\n' containerd runc docker-registry skopeo umoci \
			stargz-snapshotter golang-github-containerd-stargz-snapshotter-dev golang-github-containers-ocicrypt-dev \
			erofs-utils libzstd1 libssl3 libfuse3-3 2>/dev/null | jq -nRc '[inputs]')" \
		'{$commit, $cocoon, $date, $images, $rates, $runs, $systems, $guest_memory, $kernel, $cpus, $cpu, $memory, $load, $packages, $touched, $pods, skipped: .}'
}
