#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Puts cocoon-guestfs into the root directory of a Kata guest's image, before osbuilder makes an image or an initrd of it:
#
#   contrib/kata/guest-image.sh ROOT BUNDLE --policy FILE --key file:FILE|recipient:FILE|cdh [--host ADDRESS]
#       [--hub-config FILE] [--unsealed cdh]
#
# ROOT is what osbuilder's rootfs.sh has made, or the contents of the extension image `coco` (it has etc/kata-extensions), BUNDLE
# is from contrib/guest/bundle.sh. --policy says which images may be mounted, --key what opens them: both become part of the
# measured guest, where the key is not the hub's to give (cdh). --host is where chunks come from (vsock:2:7681). --hub-config is for
# the real Confidential Data Hub, which listens at cdh-real.sock instead of cdh.sock: it must say so. --unsealed cdh leaves images
# that are not sealed to it. Running this again replaces what it has put there.
#
# Who starts it: in an extension the agent, as components.toml says; else systemd, where the guest has it; else the agent, which
# finds a script in the hub's place.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HUB_SOCKET=unix:///run/confidential-containers/cdh-real.sock

fail() {
	echo "guest-image.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '3,14s/^# \{0,1\}//p' "$0"
}

root='' bundle='' policy='' key='' host=vsock:2:7681 hub_config='' unsealed=refuse
while [ $# -gt 0 ]; do
	case $1 in
	--policy | --key | --host | --hub-config | --unsealed)
		[ $# -ge 2 ] || fail "$1 needs a value"
		case $1 in
		--policy) policy=$2 ;;
		--key) key=$2 ;;
		--host) host=$2 ;;
		--hub-config) hub_config=$2 ;;
		--unsealed) unsealed=$2 ;;
		esac
		shift
		;;
	-h | --help)
		usage
		exit
		;;
	-*) fail "there is no option $1; see --help" ;;
	*)
		if [ -z "$root" ]; then
			root=$1
		elif [ -z "$bundle" ]; then
			bundle=$1
		else
			fail "$1 is one word too many; see --help"
		fi
		;;
	esac
	shift
done
[ -n "$root" ] && [ -n "$bundle" ] && [ -n "$policy" ] && [ -n "$key" ] || {
	usage >&2
	exit 1
}
[ -d "$root" ] && [ "$(realpath "$root")" != / ] || fail "$root is not the root directory of a guest"
case $key in
file:* | recipient:*) key_file=${key#*:} ;;
cdh) key_file='' ;;
*) fail "--key is file:FILE, recipient:FILE or cdh" ;;
esac
case $unsealed in
refuse | cdh) ;;
*) fail "--unsealed is refuse or cdh" ;;
esac
case $host in
*[!A-Za-z0-9:._/-]*) fail "--host $host is not an address" ;;
esac
[ -z "$hub_config" ] || grep -qE "^[[:space:]]*socket[[:space:]]*=[[:space:]]*\"$HUB_SOCKET\"" "$hub_config" ||
	fail "$hub_config must say socket = \"$HUB_SOCKET\""
root=$(realpath "$root")
# Links such as lib -> usr/lib are followed, but one that is absolute leads to this machine's own directories.
for directory in bin lib usr usr/bin usr/sbin usr/lib usr/share usr/local etc etc/systemd etc/cocoon; do
	case $(realpath -m "$root/$directory") in
	"$root"/*) ;;
	*) fail "$root/$directory leads out of $root" ;;
	esac
done

tar --keep-directory-symlink -xzf "$bundle" -C "$root"
install -D -m 644 "$policy" "$root/etc/cocoon/policy.json"
rm -f "$root/etc/cocoon/guest.key"
[ -z "$key_file" ] || install -D -m 600 "$key_file" "$root/etc/cocoon/guest.key"
[ -z "$hub_config" ] || install -D -m 600 "$hub_config" "$root/etc/cocoon/cdh.toml"

# key_spec ETC: what --key is in the guest whose /etc is there.
key_spec() {
	[ -n "$key_file" ] && echo "${key%%:*}:$1/cocoon/guest.key" || echo "$key"
}

# extension MANIFEST: the hub's entry goes, ours come.
extension() {
	local kept

	kept=$(awk '
		function flush() { if (entry != "" && entry !~ /\nid *= *"(confidential-data-hub|cocoon-guestfs)"/) printf "%s", entry; entry = "" }
		/^\[\[process\]\]/ { flush(); inside = 1 }
		/^\[[^[]/ && !/^\[process\./ { flush(); inside = 0 }
		inside { entry = entry $0 "\n"; next }
		{ print }
		END { flush() }' "$1")
	{
		printf '%s\n\n' "$kept"
		# shellcheck disable=SC2016 # the agent's variable
		sed -e '/^#/d' -e "s|\"recipient:.*guest.key\"|\"$(key_spec '${extension_root}/etc')\"|" -e "s|\"vsock:2:7681\"|\"$host\"|" \
			-e "s|\"refuse\"|\"$unsealed\"|" "$here/components.toml"
	} >"$1.new" && mv "$1.new" "$1"
}

guestfs_conf() {
	echo "OPTIONS=\"--policy /etc/cocoon/policy.json --key $(key_spec /etc) --host $host --unsealed $unsealed\"" \
		>"$root/etc/cocoon/guestfs.conf"
}

systemd_units() {
	local unit wants=$root/etc/systemd/system/kata-containers.target.wants

	mkdir -p "$wants"
	for unit in cocoon-guestfs cocoon-hub; do
		ln -sfn "/usr/lib/systemd/system/$unit.service" "$wants/$unit.service"
	done
}

hub_script() {
	local hub=$root/usr/local/bin/confidential-data-hub

	[ -x "$root/bin/sh" ] || [ -L "$root/bin/sh" ] || fail "$root has neither systemd nor a shell: nothing could start cocoon-guestfs"
	if [ -e "$hub" ] && ! cmp -s "$hub" "$here/confidential-data-hub"; then
		mkdir -p "$root/usr/local/libexec/cocoon"
		mv "$hub" "$root/usr/local/libexec/cocoon/confidential-data-hub"
	fi
	install -D -m 755 "$here/confidential-data-hub" "$hub"
}

if [ -e "$root/etc/kata-extensions/components.toml" ]; then
	extension "$root/etc/kata-extensions/components.toml"
	echo "installed into an extension; its manifest starts cocoon-guestfs"
elif [ -e "$root/usr/lib/systemd/systemd" ] || [ -e "$root/lib/systemd/systemd" ]; then
	guestfs_conf
	systemd_units
	echo "installed for systemd; the kernel's parameters must have agent.guest_components_procs=attestation-agent (or none)"
else
	guestfs_conf
	hub_script
	echo "installed in the hub's place; the kernel's parameters must have agent.guest_components_procs=confidential-data-hub"
fi
