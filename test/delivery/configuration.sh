#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every piece of configuration in contrib/ is what its reader takes: by a schema, and where the machine has the reader, by itself.
# Names that one file gives and another one uses are the same. Then all that `cmake --install` puts where.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
SOURCE=$(cd "$here/../.." && pwd)
CONTRIB=$SOURCE/contrib

fits() {
	"$here/configuration.py" "$1" "$CONTRIB/$2"
}

# refuses KIND FILE SED: the file with this mistake in it.
refuses() {
	local copy=$WORK/mistake.${2##*.}

	sed -E "$3" "$CONTRIB/$2" >"$copy" && ! cmp -s "$CONTRIB/$2" "$copy" || { echo "no mistake was made: $3"; return 1; }
	! "$here/configuration.py" "$1" "$copy" 2>"$WORK/said" || { echo "taken: $3"; return 1; }
	tail -n 1 "$WORK/said"
}

refuses_mistakes() {
	! fits containerd-1.6 kata/containerd-1.7.toml 2>/dev/null || { echo "1.6 has no snapshotter of a runtime"; return 1; }
	refuses containerd-1.7 kata/containerd-1.7.toml 's/disable_snapshot_annotations/disable_snapshot_annotation/' &&
		refuses containerd-1.7 kata/containerd-1.7.toml 's/discard_unpacked_layers = false/discard_unpacked_layers = true/' &&
		refuses containerd-1.7 kata/containerd-1.7.toml 's/^  snapshotter = "cocoon-kata"/  snapshotter = "cocoon-kat"/' &&
		refuses containerd-2 kata/containerd-2.toml 's/io.containerd.cri.v1.runtime/io.containerd.grpc.v1.cri/' &&
		refuses containerd-2 kata/containerd-2.toml 's/^version = 3/version = 2/' &&
		refuses containerd-2 containerd/config-v3.toml 's/"true"/true/' &&
		refuses kata kata/50-cocoon.toml 's/guest_components_procs=attestation-agent/guest_components_procs=aa/' &&
		refuses kata kata/50-cocoon.toml 's/image_pull_timeout/image_pull_time/' &&
		refuses kata kata/50-cocoon.toml 's/create_container_timeout = 60/create_container_timeout = "60"/' &&
		refuses runtimeclass kata/runtimeclass.yaml 's/^handler/handle/' &&
		refuses pod kata/pod.yaml 's/runtimeClassName/runtimeClass/' &&
		refuses pod kata/pod.yaml 's/@sha256:[0-9a-f]*/:1/'
}

# The containerd of this machine: every value arrives where it belongs.
containerd_takes() {
	containerd --config "$CONTRIB/$1" config dump >"$WORK/dump.toml" && python3 - "$CONTRIB/$1" "$WORK/dump.toml" <<-'END'
		import sys, tomllib
		wanted, read = (tomllib.load(open(path, "rb")) for path in sys.argv[1:])
		def compare(wanted, read, at):
		    for key, value in wanted.items():
		        if isinstance(value, dict):
		            compare(value, read.get(key, {}), f"{at}/{key}")
		        elif read.get(key) != value:
		            sys.exit(f"{at}/{key}: {value!r} became {read.get(key)!r}")
		compare(wanted, read, "")
	END
}

# The daemon's own socket, media types and names.
names_agree() {
	local file socket type handler

	socket=$(sed -n 's/^#address: //p' "$CONTRIB/cocoon-snapshotter.yaml")
	[ "$socket" = "$(sed -n 's/^ListenStream=//p' "$CONTRIB/systemd/cocoon-snapshotter.socket")" ] || return
	for file in "$CONTRIB"/containerd/*.toml "$CONTRIB"/kata/containerd-*.toml; do
		[ "$(sed -n 's/^ *address = "\(.*\)"/\1/p' "$file" | sort -u)" = "$socket" ] || { echo "$file: socket"; return 1; }
	done
	for type in $(grep -oh 'application/vnd.oci.image.layer.cocoon[a-z.]*v1' "$SOURCE/proto/format/format.h" | sort -u); do
		for file in "$CONTRIB"/containerd/*.toml; do
			grep -qF "\"$type\"" "$file" || { echo "$file: $type"; return 1; }
		done
	done
	handler=$(sed -n 's/^handler: \([^ ]*\).*/\1/p' "$CONTRIB/kata/runtimeclass.yaml")
	for file in "$CONTRIB"/kata/containerd-*.toml; do
		grep -q "containerd\.runtimes\.$handler\]" "$file" || { echo "$file: $handler"; return 1; }
	done
	grep -q "containerd.cri.v1.images\"\.runtime_platforms\.$handler\]" "$CONTRIB/kata/containerd-2.toml" &&
		grep -q "runtime-handler: $handler$" "$CONTRIB/kata/pod.yaml" &&
		[ "$(sed -n 's/^ *runtimeClassName: //p' "$CONTRIB/kata/pod.yaml")" = "$(sed -n 's/^  name: //p' "$CONTRIB/kata/runtimeclass.yaml")" ]
}

installs() {
	DESTDIR=$WORK/root cmake --install "${COCOON_BUILD:?the build directory}" --prefix /usr >/dev/null &&
		(cd "$WORK/root" && find . ! -type d | sort) >"$WORK/installed" || return
	{
		printf './usr/bin/%s\n' cocoon cocoon-guestfs cocoon-snapshotter nydus-overlayfs-cocoon
		printf './usr/lib/systemd/system/%s\n' cocoon-snapshotter.service cocoon-snapshotter.socket
		echo ./usr/sbin/mount.cocoon
		echo ./usr/share/bash-completion/completions/cocoon
		printf './usr/share/doc/cocoon/%s\n' cocoon-snapshotter.yaml image-policy.json
		(cd "$CONTRIB" && find containerd kata -type f | sed 's,^,./usr/share/doc/cocoon/,')
		(cd "$SOURCE" && find man -type f | sed -E 's,^man/(.*\.([0-9]))$,./usr/share/man/man\2/\1,')
	} | sort | diff - "$WORK/installed" || return
	[ "$(readlink "$WORK/root/usr/sbin/mount.cocoon")" = /usr/bin/cocoon-guestfs ] && wc -l <"$WORK/installed"
}

# As installed, they name programs that are there.
units_verify() {
	local root=$WORK/root

	cp /usr/lib/systemd/system/*.target "$root/usr/lib/systemd/system/" || return
	systemd-analyze verify --root="$root" --man=no cocoon-snapshotter.service cocoon-snapshotter.socket >"$WORK/verify" 2>&1 &&
		! grep . "$WORK/verify"
}

work_dir configuration
while read -r kind file; do
	check "$kind: $file" fits "$kind" "$file" || true
done <<-END
	containerd-1.6 containerd/config-v2.toml
	containerd-1.7 containerd/config-v2.toml
	containerd-2 containerd/config-v3.toml
	containerd-1.6 kata/containerd-1.6.toml
	containerd-1.7 kata/containerd-1.7.toml
	containerd-2 kata/containerd-2.toml
	kata kata/50-cocoon.toml
	runtimeclass kata/runtimeclass.yaml
	pod kata/pod.yaml
END
check "refuses mistakes" refuses_mistakes || true
for file in containerd/config-v2.toml kata/containerd-1.6.toml; do
	check "containerd takes $file" containerd_takes "$file" || true
done
check "names agree" names_agree || true
check "installs" installs || true
check "units of the host verify" units_verify || true
checks_end
