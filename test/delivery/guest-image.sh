#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The recipe that puts the guest's part into a Kata guest's root directory, for each of the three that can start it: systemd, whose
# units are checked; the agent by the manifest of an extension; the agent by a script in the hub's place. The last is run for real: a
# stand-in for the agent has it mount an image.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check fixture; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
SOURCE=$(cd "$here/../.." && pwd)
RECIPE=$SOURCE/contrib/kata/guest-image.sh
REF=localhost:5000/delivery/test:1
UNITS=$SOURCE/contrib/systemd
UNITS_TARGET=etc/systemd/system/kata-containers.target.wants

# root NAME FILE…: a root directory with these empty programs in $ROOT.
root() {
	local file

	ROOT=$WORK/$1
	shift
	for file in /usr/local/bin/kata-agent "$@"; do
		install -D -m 755 /dev/null "$ROOT$file"
	done
}

recipe() {
	"$RECIPE" "$ROOT" "$WORK/bundle.tar.gz" --policy "$WORK/policy.json" --key "file:$WORK/key" "$@"
}

refuses() {
	local words=$1
	shift

	! "$@" >"$WORK/said" 2>&1 && grep -F -e "$words" "$WORK/said"
}

refusals() {
	printf 'socket = "unix:///run/confidential-containers/cdh.sock"\n' >"$WORK/cdh-wrong.toml"
	root wrong /usr/lib/systemd/systemd
	refuses "ROOT BUNDLE --policy" "$RECIPE" "$ROOT" "$WORK/bundle.tar.gz" --key "file:$WORK/key" &&
		refuses "not the root directory" "$RECIPE" / "$WORK/bundle.tar.gz" --policy "$WORK/policy.json" --key "file:$WORK/key" &&
		refuses "must say socket" recipe --hub-config "$WORK/cdh-wrong.toml" &&
		refuses "file:FILE, recipient:FILE or cdh" "$RECIPE" "$ROOT" "$WORK/bundle.tar.gz" --policy "$WORK/policy.json" --key "$WORK/key" &&
		refuses "not an address" recipe --host 'vsock:2 --front tree' || return
	ln -s /usr/share "$ROOT/usr/share" && refuses "leads out of" recipe && rm "$ROOT/usr/share" || return
	root bare && refuses "neither systemd nor a shell" recipe
}

for_systemd() {
	local once

	root systemd /usr/lib/systemd/systemd /usr/local/bin/confidential-data-hub
	ln -s usr/lib "$ROOT/lib"
	mkdir -p "$ROOT/usr/lib/systemd/system" && cp /usr/lib/systemd/system/*.target "$ROOT/usr/lib/systemd/system"
	printf '[Service]\nExecStart=/usr/local/bin/kata-agent\n[Unit]\nWants=kata-containers.target\n' \
		>"$ROOT/usr/lib/systemd/system/kata-agent.service"
	printf '[Unit]\nDescription=Kata\nRequires=kata-agent.service\n' >"$ROOT/usr/lib/systemd/system/kata-containers.target"
	printf 'socket = "unix:///run/confidential-containers/cdh-real.sock"\n' >"$WORK/cdh.toml"
	recipe --hub-config "$WORK/cdh.toml" --host vsock:2:7682 || return
	once=$(cd "$ROOT" && find . -printf '%p %m %l\n' | sort)
	[ "$(stat -c %a "$ROOT/etc/cocoon/guest.key")" = 600 ] &&
		cmp "$WORK/policy.json" "$ROOT/etc/cocoon/policy.json" &&
		grep -Fx 'OPTIONS="--policy /etc/cocoon/policy.json --key file:/etc/cocoon/guest.key --host vsock:2:7682 --unsealed refuse"' "$ROOT/etc/cocoon/guestfs.conf" &&
		[ -e "$ROOT$(readlink "$ROOT/$UNITS_TARGET/cocoon-guestfs.service")" ] &&
		[ -e "$ROOT$(readlink "$ROOT/$UNITS_TARGET/cocoon-hub.service")" ] && recipe --hub-config "$WORK/cdh.toml" --host vsock:2:7682 &&
		diff <(echo "$once") <(cd "$ROOT" && find . -printf '%p %m %l\n' | sort)
}

# The hub's key instead: the file goes.
with_the_hubs_key() {
	root systemd
	recipe --key cdh --unsealed cdh && [ ! -e "$ROOT/etc/cocoon/guest.key" ] &&
		grep -Fx 'OPTIONS="--policy /etc/cocoon/policy.json --key cdh --host vsock:2:7681 --unsealed cdh"' "$ROOT/etc/cocoon/guestfs.conf" || return
	root extension
	recipe --key cdh --unsealed cdh && python3 - "$ROOT/etc/kata-extensions/components.toml" <<-'END'
		import sys, tomllib
		args = next(p["args"] for p in tomllib.load(open(sys.argv[1], "rb"))["process"] if p["id"] == "cocoon-guestfs")
		assert args[args.index("--key") + 1] == "cdh" == args[args.index("--unsealed") + 1], args
	END
}

# What systemd says of the guest's units, in the guest.
units_verify() {
	systemd-analyze verify --root="$WORK/systemd" --man=no cocoon-guestfs.service cocoon-hub.service 2>&1 | tee "$WORK/verify" &&
		! grep . "$WORK/verify"
}

# The order that the door depends on, and no mount namespace of its own.
units_are_in_time() {
	grep -Fxq 'Before=kata-agent.service' "$UNITS/cocoon-guestfs.service" &&
		! grep -E '^(Protect(System|Home|KernelTunables|KernelModules|KernelLogs|ControlGroups|Proc|Clock|Hostname)|Private(Tmp|Devices|Mounts|Users|Network)|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths|RootDirectory|TemporaryFileSystem|BindPaths|MountFlags)=' \
			"$UNITS"/*.service
}

# exposure UNIT LIMIT: systemd's own measure, in tenths.
exposure() {
	systemd-analyze security --offline=yes --no-pager --threshold="$2" "$UNITS/$1" | tail -n 1
}

for_extension() {
	root extension /usr/local/bin/confidential-data-hub
	mkdir -p "$ROOT/etc/kata-extensions"
	cat >"$ROOT/etc/kata-extensions/components.toml" <<-'END'
		schema_version = 1

		[paths]
		"pause-bundle" = "pause_bundle"

		[[process]]
		id = "attestation-agent"
		level = 1
		select = "${attester_variant}"

		  [process.variants.default]
		  path = "usr/local/bin/attestation-agent"

		[[process]]
		id          = "confidential-data-hub"
		level       = 2
		path        = "usr/local/bin/confidential-data-hub"
		wait_socket = "${cdh_socket}"

		[[process]]
		id = "api-server-rest"
		level = 3
		path = "usr/local/bin/api-server-rest"
	END
	recipe --host vsock:2:7682 && cp "$ROOT/etc/kata-extensions/components.toml" "$WORK/once.toml" && recipe --host vsock:2:7682 &&
		diff "$WORK/once.toml" "$ROOT/etc/kata-extensions/components.toml" &&
		"$here/configuration.py" kata-components "$WORK/once.toml" && python3 - "$WORK/once.toml" <<-'END'
			import sys, tomllib
			manifest = tomllib.load(open(sys.argv[1], "rb"))
			ids = [p["id"] for p in manifest["process"]]
			assert sorted(ids) == ["api-server-rest", "attestation-agent", "cocoon-guestfs", "confidential-data-hub"], ids
			by = {p["id"]: p for p in manifest["process"]}
			assert by["attestation-agent"]["variants"]["default"]["path"] and manifest["paths"]
			assert by["confidential-data-hub"]["wait_socket"] == "/run/confidential-containers/cdh-real.sock"
			args = by["cocoon-guestfs"]["args"]
			assert args[args.index("--key") + 1] == "file:${extension_root}/etc/cocoon/guest.key", args
			assert args[args.index("--host") + 1] == "vsock:2:7682", args
			assert by["cocoon-guestfs"]["wait_socket"] == "${cdh_socket}"
		END
}

make_image() {
	fixture_image && fixture_host_start 65536
}

# The policy has the image's digest, which a mount tells.
make_policy() {
	local digest

	mkdir "$WORK/mnt"
	digest=$("${COCOON_BIN:?the directory that holds the programs}/cocoon-guestfs" --key "file:$WORK/key" --host "unix:$WORK/host.sock" \
		--print-manifest "$REF" "$WORK/mnt") && umount "$WORK/mnt" &&
		printf '{ "version": 1, "images": [ { "digest": "%s" } ] }\n' "$digest" >"$WORK/policy.json"
}

# A guest without systemd: busybox, and a hub that writes down that it was started, and how.
for_the_agent() {
	root agent /usr/local/bin/confidential-data-hub
	install -D /bin/busybox "$ROOT/bin/busybox" && ln -s busybox "$ROOT/bin/sh" || return
	printf '#!/bin/sh\necho "$@" >/run/hub-started\n' >"$ROOT/usr/local/bin/confidential-data-hub"
	recipe --host unix:/run/host.sock && recipe --host unix:/run/host.sock && mkdir "$ROOT"/{dev,proc,sys,run} &&
		grep -q hub-started "$ROOT/usr/local/libexec/cocoon/confidential-data-hub" &&
		mknod "$ROOT/dev/fuse" c 10 229 && mknod -m 666 "$ROOT/dev/null" c 1 3 && mount -t proc proc "$ROOT/proc" &&
		mount -t sysfs sysfs "$ROOT/sys" && mount -t tmpfs run "$ROOT/run" && touch "$ROOT/run/host.sock" &&
		mount --bind "$WORK/host.sock" "$ROOT/run/host.sock"
}

# capabilities UNIT: for setpriv(1), those that it takes away.
capabilities() {
	sed -n 's/^CapabilityBoundingSet=~//p' "$UNITS/$1" | tr A-Z a-z | sed 's/cap_/-/g; s/ /,/g'
}

# Started by the agent, but with the unit's privileges. All system calls from here on are written down.
agent_starts_the_hub() {
	start_daemon hub strace -D -f -qq -e signal=none -o "$WORK/calls" \
		setpriv --no-new-privs --bounding-set="$(capabilities cocoon-guestfs.service)" chroot "$WORK/agent" /usr/local/bin/confidential-data-hub -c /run/confidential-containers/initdata/cdh.toml
	wait_socket /run/confidential-containers/cdh.sock 10 "$STARTED_PID" && [ "$(cat "$ROOT/run/hub-started")" = "-c /etc/cocoon/cdh.toml" ]
}

# What a container may do to its files, overlayfs does with the capabilities of who mounted it.
writes() (
	cd "$1" && echo written >new && chown 1000:1000 new sub/text && chmod 4755 sub/text && mknod device c 1 3 &&
		setcap cap_net_raw+ep new && setfattr -n trusted.test -v y new && mv sub sub2 && rm random && chattr +i new && chattr -i new
)

agent_pulls() {
	local i rootfs=$ROOT/run/kata-containers/one/rootfs

	mkdir -p "$ROOT/run/kata-containers/one"
	"$COCOON_BUILD/test/vm/agent-pull" "unix:$ROOT/run/confidential-containers/cdh.sock" "$REF" /run/kata-containers/one &&
		diff -r "$WORK/tree" "$rootfs" && writes "$rootfs" && umount "$rootfs" || return
	for ((i = 0; i < 100; i++)); do
		[ -n "$(ls -A "$ROOT/run/cocoon/pods")" ] || return 0
		sleep 0.1
	done
	echo "the pod is not forgotten"
	return 1
}

# Every system call that serving, mounting and reading has made is one that the unit allows.
unit_allows_what_was_called() {
	local allowed

	# the groups are expanded until there are none
	allowed=$(sed -n 's/^SystemCallFilter=//p' "$UNITS/cocoon-guestfs.service" | tr ' ' '\n')
	while grep -q ^@ <<<"$allowed"; do
		allowed=$({ grep -v ^@ <<<"$allowed"; grep ^@ <<<"$allowed" | xargs -n1 systemd-analyze syscall-filter | sed '/^@/d; /^ *#/d; s/^ *//; /^$/d'; } | sort -u)
	done
	# setpriv(1), chroot(1) and the shell have been seen, too
	sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$WORK/calls" | sort -u | grep -vx -e chroot -e execve >"$WORK/called"
	[ "$(wc -l <"$WORK/called")" -gt 20 ] && ! comm -23 "$WORK/called" <(sort -u <<<"$allowed") | grep . && wc -l <"$WORK/called"
}

work_dir image
at_exit unmount_below "$WORK"
check "bundle" interruptible "$SOURCE/contrib/guest/bundle.sh" "$WORK/bundle.tar.gz" || exit 1
check "the image and its host" make_image
check "policy" make_policy
check "refuses" refusals || true
check "for systemd, twice the same" for_systemd || true
check "units verify" units_verify || true
check "units are in time, see all mounts" units_are_in_time || true
check "exposure of the guest's" exposure cocoon-guestfs.service 59 || true
check "exposure of the host's" exposure cocoon-snapshotter.service 81 || true
check "for an extension" for_extension || true
check "with the hub's key" with_the_hubs_key || true
check "for the agent" for_the_agent
check "the agent starts it" agent_starts_the_hub
check "the agent pulls" agent_pulls || true
check "the unit allows what was called" unit_allows_what_was_called || true
checks_end
