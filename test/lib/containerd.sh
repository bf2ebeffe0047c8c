# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A containerd of our own: its root, state, socket and configuration are below
# $WORK, and the machine's own containerd is not touched. To be sourced after
# cleanup.sh.
#
#   containerd_start NAME [PLUGIN=SOCKET…]   proxy snapshotters by name
#     CONTAINERD_ADDRESS      its socket, exported: ctr and ctr-remote find it there
#     CONTAINERD_DIR          $WORK/NAME
#   These variables name the containerd started last; for several, copy them and
#   give the address in front: CONTAINERD_ADDRESS=$other ctr …
#
# CONTAINERD_CRI=FILE in front of containerd_start enables the CRI plugin and
# appends FILE to the configuration; without it the CRI is off.

containerd_start() {
	local name=$1 plugin
	shift

	CONTAINERD_DIR=$WORK/$name
	CONTAINERD_ADDRESS=$CONTAINERD_DIR/containerd.sock
	export CONTAINERD_ADDRESS
	[ ${#CONTAINERD_ADDRESS} -le 100 ] || {
		echo "containerd_start: socket path too long: $CONTAINERD_ADDRESS" >&2
		return 1
	}
	mkdir -p "$CONTAINERD_DIR" || return
	{
		cat <<-END
			version = 2
			root = "$CONTAINERD_DIR/root"
			state = "$CONTAINERD_DIR/state"
			disabled_plugins = [
			  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
			  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
			  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
			  $([ -n "${CONTAINERD_CRI:-}" ] || echo '"io.containerd.grpc.v1.cri",')
			]
			[grpc]
			  address = "$CONTAINERD_ADDRESS"
		END
		for plugin; do
			cat <<-END
				[proxy_plugins.${plugin%%=*}]
				  type = "snapshot"
				  address = "${plugin#*=}"
			END
		done
		[ -z "${CONTAINERD_CRI:-}" ] || cat "$CONTAINERD_CRI"
	} >"$CONTAINERD_DIR/config.toml" || return

	start_daemon "$name" containerd --config "$CONTAINERD_DIR/config.toml"
	CONTAINERD_PID=$STARTED_PID
	at_exit containerd_stop_tasks "$CONTAINERD_ADDRESS" "$CONTAINERD_DIR"
	wait_socket "$CONTAINERD_ADDRESS" 30 "$CONTAINERD_PID" || {
		tail -n 20 "$WORK/$name.log" >&2
		return 1
	}
	# The socket is there before the services are.
	ctr version >/dev/null
}

# container_run SNAPSHOTTER REF ID [CMD…]: runs to its end with runc, container
# and snapshot removed then; stdout is the container's. What may run long runs
# under `interruptible`. runc's state is ours too: in its default place the same
# ID in two containerds would be one container. CONTAINER_OPTIONS, an array, is for ctr.
CONTAINER_OPTIONS=()
container_run() {
	local snapshotter=$1 ref=$2 id=$3
	shift 3

	mkdir -p "$CONTAINERD_DIR/fifo" || return
	ctr run --rm --snapshotter "$snapshotter" --runc-root "$CONTAINERD_DIR/runc" \
		--fifo-dir "$CONTAINERD_DIR/fifo" "${CONTAINER_OPTIONS[@]}" "$ref" "$id" "$@"
}

# Tasks and their shims outlive containerd, so they are ended while it still
# runs. Where it cannot any more (it crashed, it was killed), its bundles tell
# what is left.
containerd_stop_tasks() {
	local address=$1 dir=$2 namespace id bundle

	for namespace in $(timeout 10 ctr --address "$address" namespaces ls -q 2>/dev/null); do
		for id in $(timeout 10 ctr --address "$address" -n "$namespace" tasks ls -q 2>/dev/null); do
			timeout 10 ctr --address "$address" -n "$namespace" tasks rm -f "$id" >/dev/null 2>&1
		done
		for id in $(timeout 10 ctr --address "$address" -n "$namespace" containers ls -q 2>/dev/null); do
			timeout 10 ctr --address "$address" -n "$namespace" containers rm "$id" >/dev/null 2>&1
		done
	done
	for bundle in "$dir"/state/io.containerd.runtime.v2.task/*/*; do
		if [ -d "$bundle" ]; then
			containerd_stop_bundle "$dir" "$bundle" "$address"
		fi
	done
	unmount_below "$dir"
}

# The shim first, or it would see its container die and report that to nobody;
# then runc ends the container, and the shim's socket is the last thing left.
containerd_stop_bundle() {
	local dir=$1 bundle=$2 address=$3 id namespace pid

	id=$(basename "$bundle")
	namespace=$(basename "$(dirname "$bundle")")
	for pid in $(containerd_shims "$address"); do
		stop_daemon "$pid" KILL
	done
	runc --root "$dir/runc/$namespace" delete --force "$id" >/dev/null 2>&1
	if [ -s "$bundle/address" ]; then
		rm -f "$(sed 's,^unix://,,' "$bundle/address")"
	fi
}

# The shims that serve the containerd at this address.
containerd_shims() {
	local pid

	for pid in /proc/[0-9]*; do
		if { tr '\0' '\n' <"$pid/cmdline"; } 2>/dev/null | awk -v address="$1" '
			NR == 1 && !/containerd-shim/ { exit }
			$0 == address { found = 1 }
			END { exit !found }'; then
			echo "${pid#/proc/}"
		fi
	done
}
