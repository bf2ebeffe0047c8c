#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Sealed and plain images through containerd and cocoon-snapshotter, with runc: pulling, running, sharing, removing, and what happens
# when daemons end, die or forget in between.
#
#   COCOON_BIN=DIR test/containerd/sealed.sh
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/cleanup.sh"
. "$here/../lib/packages.sh"
. "$here/../lib/registry.sh"
. "$here/../lib/containerd.sh"
. "$here/../lib/cocoon.sh"
. "$here/../lib/check.sh"
. "$here/../lib/node.sh"

need_packages run image build
work_dir sealed

pull() {
	"$COCOON" pull --plain-http "$@"
}

run() {
	interruptible container_run cocoon "$@"
}

# --- the checks -----------------------------------------------------------------

pulls_without_layers() {
	local mark traffic

	mark=$(registry_mark)
	pull --json "$ONE" >"$WORK/pull.json"
	expect "$ONE" "$(jq -r .name "$WORK/pull.json")" &&
		expect "$(snapshots_list | awk '{ print $1 }' | grep -Fx "$(jq -r .snapshot "$WORK/pull.json")")" \
			"$(jq -r .snapshot "$WORK/pull.json")" || return
	sleep 0.2
	traffic=$(registry_traffic "$mark")
	[ "${traffic% *}" -lt 1000000 ] && echo "${traffic% *} bytes of $(registry_image_size lib/one:sealed)"
}

runs() {
	expect first "$(run "$ONE" c1 /bin/tool /etc/text)" && expect base "$(run "$ONE" c1 /bin/tool /etc/base)"
}

shows_the_images_root() {
	expect 750 "$(run "$ONE" c1 /bin/tool put /x y >/dev/null; ctr snapshots --snapshotter cocoon prepare look \
		"$(jq -r .snapshot "$WORK/pull.json")" >/dev/null && stat -c %a "$(upper_of look)")" &&
		ctr snapshots --snapshotter cocoon rm look
}

upper_of() {
	ctr snapshots --snapshotter cocoon mounts /nowhere "$1" | tr ',' '\n' | sed -n 's/.*upperdir=//p'
}

containers_do_not_meet() {
	local pids=() i

	for i in 1 2 3 4; do
		container_run cocoon "$ONE" "many$i" /bin/tool put /etc/text "own $i" wait-for /never-"$i" &
		pids+=($!)
	done
	for i in 1 2 3 4; do
		eventually task_runs "many$i" || return
	done
	expect 1 "$(guestfs_count)" || return
	for i in 1 2 3 4; do
		eventually expect "own $i" "$(ctr tasks exec --exec-id e --fifo-dir "$CONTAINERD_DIR/fifo" "many$i" /bin/tool /etc/text)" || return
	done
	expect first "$(run "$ONE" c1 /bin/tool /etc/text)" || return
	for i in 1 2 3 4; do
		ctr tasks kill -s KILL "many$i"
	done
	wait "${pids[@]}" || true
}

task_runs() {
	ctr tasks ls | awk -v id="$1" '$1 == id && $3 == "RUNNING" { found = 1 } END { exit !found }'
}

# A container that runs while its daemon ends with signal $1: it goes on reading, and others start afterwards.
survives() {
	local signal=$1 before after runner

	before=$(guestfs_pids)
	container_run cocoon "$ONE" long /bin/tool wait-for /go /etc/text >"$WORK/long.out" &
	runner=$!
	eventually task_runs long || return
	host_restart "$signal" || return
	after=$(guestfs_pids)
	expect "$before" "$after" || return
	ctr tasks exec --exec-id e --fifo-dir "$CONTAINERD_DIR/fifo" long /bin/tool put /go x || return
	wait "$runner" || return
	expect first "$(cat "$WORK/long.out")" && expect first "$(run "$ONE" c1 /bin/tool /etc/text)" &&
		expect "$before" "$(guestfs_pids)"
}

replaces_a_dead_guestfs() {
	local before

	before=$(guestfs_pids)
	kill -KILL "$before"
	expect first "$(run "$ONE" c1 /bin/tool /etc/text)" && expect 1 "$(guestfs_count)" && expect 1 "$(mounts_count)" &&
		[ "$before" != "$(guestfs_pids)" ]
}

makes_lost_state_again() {
	stop_daemon "$HOST_PID"
	rm "$HOST_DIR"/snapshots.db*
	host_start_again "${HOST_LINES[@]}" || return
	expect first "$(run "$ONE" c1 /bin/tool /etc/text)"
}

shares_a_base() {
	local before

	before=$(snapshots_list | wc -l)
	pull -q "$TWO" >/dev/null || return
	expect $((before + 2)) "$(snapshots_list | wc -l)" && # its own third layer and its index
		expect second "$(run "$TWO" c1 /bin/tool /etc/text)" && expect 2 "$(guestfs_count)"
}

removes_one_of_two() {
	ctr images rm --sync "$ONE" >/dev/null
	eventually test "$(guestfs_count)" = 1
	expect 1 "$(guestfs_count)" && expect second "$(run "$TWO" c1 /bin/tool /etc/text)"
}

removes_everything() {
	ctr images rm --sync "$TWO" >/dev/null
	eventually nothing_of_images
}

pulls_again_without_the_registry_for_chunks() {
	pull -q "$ONE" >/dev/null && expect first "$(run "$ONE" c1 /bin/tool /etc/text)" || return
	kill -STOP "$REGISTRY_PID"
	run "$ONE" c1 /bin/tool /etc/text >"$WORK/offline.out" || true
	kill -CONT "$REGISTRY_PID"
	expect first "$(cat "$WORK/offline.out")"
}

serves_two_namespaces() {
	pull -q -n other "$ONE" >/dev/null && expect 1 "$(guestfs_count)" || return
	ctr images rm --sync "$ONE" >/dev/null
	CONTAINERD_NAMESPACE=other expect first "$(CONTAINERD_NAMESPACE=other run "$ONE" c1 /bin/tool /etc/text)" || return
	ctr -n other images rm --sync "$ONE" >/dev/null
	eventually nothing_of_images
}

# view_kept KEY PARENT: ctr protects no view from the collector, which runs after so many changes: it may be quicker once.
view_kept() {
	local i

	for ((i = 0; i < 3; i++)); do
		ctr snapshots --snapshotter cocoon view "$1" "$2" >/dev/null || return
		ctr snapshots --snapshotter cocoon label "$1" containerd.io/gc.root=test >/dev/null && return
	done
	return 1
}

commits_on_top() {
	local top

	pull -q --json "$ONE" >"$WORK/pull.json" || return
	top=$(jq -r .snapshot "$WORK/pull.json")
	ctr snapshots --snapshotter cocoon prepare work "$top" >/dev/null &&
		echo changed >"$(upper_of work)/changed" &&
		ctr snapshots --snapshotter cocoon commit mine work &&
		view_kept see mine || return
	mkdir -p "$WORK/see"
	at_exit unmount "$WORK/see"
	eval "$(ctr snapshots --snapshotter cocoon mounts "$WORK/see" see)"
	expect 'changed first' "$(cat "$WORK/see/changed" "$WORK/see/etc/text" | paste -sd ' ')" || return
	umount "$WORK/see"
	ctr snapshots --snapshotter cocoon rm see && ctr snapshots --snapshotter cocoon rm mine &&
		ctr images rm --sync "$ONE" >/dev/null && eventually nothing_of_images
}

runs_plain_images() {
	ctr images pull --plain-http --snapshotter cocoon "$PLAIN" >/dev/null &&
		expect first "$(run "$PLAIN" c1 /bin/tool /etc/text)" && expect 0 "$(guestfs_count)" || return
	host_restart
	expect first "$(run "$PLAIN" c1 /bin/tool /etc/text)" || return
	ctr images rm --sync "$PLAIN" >/dev/null
	eventually nothing_of_images
}

says_what_to_type() {
	local said

	said=$(ctr images pull --plain-http --snapshotter cocoon "$ONE" 2>&1) && return 1
	grep -qF 'cocoon pull REF' <<<"$said" || {
		echo "$said"
		return 1
	}
	pull -q "$ONE" >/dev/null && expect first "$(run "$ONE" c1 /bin/tool /etc/text)" || return
	ctr images rm --sync "$ONE" >/dev/null
	eventually nothing_of_images && sed -n 's/^ctr: //p' <<<"$said"
}

refuses_plain_images() {
	local said

	said=$(pull "$PLAIN" 2>&1) && return 1
	echo "$said"
	grep -qF 'ctr images pull --snapshotter cocoon' <<<"$said"
}

refuses_other_snapshotters() {
	local said

	said=$(pull --snapshotter overlayfs "$ONE" 2>&1) && return 1
	grep -F 'does not take sealed layers' <<<"$said" && expect '' "$(ctr snapshots ls | tail -n +2)" || return
	said=$(pull --snapshotter nothing "$ONE" 2>&1) && return 1
	echo "$said"
}

says_that_no_key_fits() {
	local said

	"$COCOON" keygen image "$KEYS/wrong.key" 2>/dev/null || true
	stop_daemon "$HOST_PID"
	host_start_again 'local:' "  guestfs: $COCOON_BIN/cocoon-guestfs" "  keys: [ \"file:$KEYS/wrong.key\" ]" || return
	said=$(pull "$ONE" 2>&1) && return 1
	expect 0 "$(mounts_count)" && expect '' "$(ctr images ls -q)" || return
	host_restart
	echo "$said"
	grep -q 'key' <<<"$said"
}

# systemd's part in a few lines: the socket stays open while the daemon on it is stopped and started again, three times. containerd's calls
# wait meanwhile; none fails.
activated_restarts_are_not_seen() {
	local failed=$WORK/activated.failed keeper caller i

	stop_daemon "$HOST_PID"
	rm -f "$HOST_DIR.sock"
	cat >"$WORK/activate.py" <<-'END'
		import os, signal, socket, sys, time
		path, program, *arguments = sys.argv[1:]
		s = socket.socket(socket.AF_UNIX)
		s.bind(path)
		s.listen(128)
		def start():
		    pid = os.fork()
		    if pid == 0:
		        os.dup2(s.fileno(), 3)
		        os.set_inheritable(3, True)
		        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
		        os.execv(program, [program, *arguments])
		    return pid
		for i in range(4):
		    pid = start()
		    time.sleep(1.5)
		    os.kill(pid, signal.SIGTERM)
		    if os.waitpid(pid, 0)[1]: sys.exit(f"daemon {i} ended badly")
		    if not os.path.exists(path): sys.exit("the socket was removed")
	END
	python3 "$WORK/activate.py" "$HOST_DIR.sock" "$COCOON_BIN/cocoon-snapshotter" --config "$HOST_DIR.yaml" \
		--root "$HOST_DIR" >>"$HOST_LOG" 2>&1 &
	keeper=$!
	eventually plugin_answers || return
	: >"$failed"
	(
		while kill -0 "$keeper" 2>/dev/null && ! [ -e "$WORK/last" ]; do
			ctr snapshots --snapshotter cocoon prepare p >/dev/null 2>>"$failed" && echo >>"$WORK/activated.calls"
			ctr snapshots --snapshotter cocoon rm p 2>>"$failed"
			sleep 0.05
		done
	) &
	caller=$!
	sleep 5
	: >"$WORK/last"
	wait "$caller"
	wait "$keeper" || return
	rm -f "$HOST_DIR.sock"
	host_start_again "${HOST_LINES[@]}" || return
	expect '' "$(cat "$failed")" && echo "$(wc -l <"$WORK/activated.calls") calls over 3 restarts"
}

counts() {
	curl -s "http://$METRICS/metrics" >"$WORK/metrics" &&
		grep -E '^cocoon_grpc_calls_total\{road="local",method="Prepare",code="ALREADY_EXISTS"\} [1-9]' "$WORK/metrics" &&
		grep -E '^cocoon_registry_bytes_total [1-9]' "$WORK/metrics"
}

# Three sealed images: the keys of the daemon open them by a recipient's private key.
make_tool
image_of one first
image_of two second one
registry_start registry
keys_make
image_seal "oci:$WORK/oci:one" lib/one:sealed >/dev/null
ONE=$SEALED_REF
image_seal "oci:$WORK/oci:two" lib/two:sealed >/dev/null
TWO=$SEALED_REF
registry_push "oci:$WORK/oci:one" lib/one:plain
PLAIN=$REGISTRY/lib/one:plain

METRICS=127.0.0.1:$(free_port)
HOST_LINES=('local:' "  guestfs: $COCOON_BIN/cocoon-guestfs" "  keys: [ \"$KEY\" ]" 'metrics:' "  address: $METRICS")
host_start host "${HOST_LINES[@]}"
at_exit unmount_images
sed -n '/^\[stream_processors\]$/,/^ *args/p' "$here/../../contrib/containerd/config-v2.toml" >"$WORK/processors.toml"

CONTAINERD_CRI=$WORK/processors.toml containerd_start containerd "cocoon=$HOST_DIR.sock"

check 'pull fetches no layer' pulls_without_layers
check 'run' runs
check 'metrics' counts
check 'the root directory is the image'"'"'s' shows_the_images_root
check 'containers of one image do not meet' containers_do_not_meet
check 'the daemon is restarted under a container' survives TERM
check 'the daemon is killed under a container' survives KILL
check 'an activated socket hides restarts' activated_restarts_are_not_seen
check 'a killed guestfs is replaced' replaces_a_dead_guestfs
check 'lost state is made again' makes_lost_state_again
check 'a second image shares a base' shares_a_base
check 'images rm of one leaves the other' removes_one_of_two
check 'images rm of all leaves nothing' removes_everything
check 'a registry that hangs does not matter' pulls_again_without_the_registry_for_chunks
check 'two namespaces share an image' serves_two_namespaces
check 'an ordinary layer on a sealed image' commits_on_top
check 'plain images' runs_plain_images
check 'ctr images pull says what to type' says_what_to_type
check 'cocoon pull refuses plain images' refuses_plain_images
check 'cocoon pull refuses other snapshotters' refuses_other_snapshotters
check 'a missing key is told' says_that_no_key_fits
checks_end
