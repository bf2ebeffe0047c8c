#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The tars of real archivers: a directory with every kind of inode is packed by GNU tar and bsdtar in their formats, read
# into an EROFS image, and the kernel's view of that is compared with the directory. Root; bsdtar and setfacl are used
# where they are installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for library in cleanup check; do
	# shellcheck source=/dev/null
	. "$here/../lib/$library.sh"
done
EROFS_PLAIN=${COCOON_BUILD:?the build directory}/publisher/erofs-plain

have() {
	command -v "$1" >/dev/null
}

# A directory as a base image has it, and what base images do not have.
make_tree() {
	mkdir -p tree/dir/sub tree/empty tree/names
	cd tree
	echo content >file
	echo other >dir/sub/file
	head -c 3000000 /dev/urandom >dir/large
	chmod 4755 file
	chmod 1777 empty
	chmod 0 dir/sub/file
	chown 1000:2000 dir
	chown 4294967294:70000 dir/large
	ln file dir/hard
	ln file dir/sub/hard
	ln -s ../file dir/symlink
	ln -s "$(printf 't%.0s' {1..3000})" long-symlink
	mkfifo fifo
	mknod chr c 4095 1048575
	mknod blk b 8 1
	touch "names/$(printf 'n%.0s' {1..255})" names/$'\xff\xfe' names/$'new\nline' names/é names/' '
	mkdir -p "$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})"
	touch "$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})/f"
	truncate -s 1M sparse
	printf x | dd of=sparse bs=1 seek=65536 conv=notrunc status=none
	printf x | dd of=sparse bs=1 seek=700000 conv=notrunc status=none
	truncate -s 64M all-hole
	setfattr -n user.binary -v 0x00010a0d00 file
	setfattr -n trusted.t -v value dir
	setfattr -n user.empty dir/large
	setcap cap_net_raw+ep dir/sub/hard
	! have setfacl || setfacl -m u:1000:r,g:3000:rwx dir/large
	! have setfacl || setfacl -d -m u:1000:rwx empty
	touch -d '1970-01-01 00:00:00.5 UTC' fifo
	touch -d '1969-12-31 23:59:58.5 UTC' names/é
	touch -d '1969-12-31 23:59:59.999999999 UTC' names/' '
	touch -h -d '2200-01-01 00:00:00.123456789 UTC' dir/symlink
	touch -d '2020-02-02 02:02:02.020202020 UTC' dir empty names .
	cd ..
}

# layout TAR: an OCI layout of one plain layer.
layout() {
	python3 - "$1" "$2" <<'END'
import hashlib, json, os, shutil, sys
tar, out = sys.argv[1:]
os.makedirs(out + "/blobs/sha256")
def blob(data, kind):
    d = hashlib.sha256(data).hexdigest()
    with open(f"{out}/blobs/sha256/{d}", "wb") as f:
        f.write(data)
    return {"mediaType": kind, "digest": "sha256:" + d, "size": len(data)}
with open(tar, "rb") as f:
    layer = blob(f.read(), "application/vnd.oci.image.layer.v1.tar")
config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
config = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
kind = "application/vnd.oci.image.manifest.v1+json"
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).encode(), kind)
with open(out + "/index.json", "w") as f:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
END
}

# view: the kernel's tree of $WORK/image, compared with the dump $1 but for lines that match $2.
compare() {
	local out status=0
	mkdir -p mnt
	mount -t erofs -o loop,ro image mnt
	"$here/../compare/tree.py" dump mnt >actual.dump || status=$?
	umount mnt
	[ "$status" = 0 ] || return "$status"
	out=$("$here/../compare/tree.py" compare --max 1000 tree.dump actual.dump) || status=$?
	out=$(grep -vE -e "$1" -e '^DIFFERENT: ' <<<"$out") || true
	[ -z "$out" ] || [ "$status" = 0 ] || {
		echo "$out"
		return 1
	}
	echo "${out:-the same but for what the format cannot say}"
}

# packed LOSSES COMMAND…: what the command packs comes out as it went in, but for LOSSES, a regular expression.
packed() {
	local losses=$1
	shift
	rm -rf tar layout image
	(cd tree && "$@") || return
	layout tar layout
	"$EROFS_PLAIN" layout image || return
	fsck.erofs image >fsck.out 2>&1 && ! grep -q '<E>' fsck.out || {
		cat fsck.out
		return 1
	}
	compare "$losses"
}

work_dir archivers
cd "$WORK"
make_tree
"$here/../compare/tree.py" dump tree >tree.dump
gnu=(tar --xattrs --xattrs-include='*' --acls --numeric-owner --sort=name -cf ../tar)
whole_seconds='^[^:]*: mtime '
check "GNU tar, pax" packed '^$' "${gnu[@]}" --format=pax --sparse . || true
for version in 0.0 0.1; do
	check "GNU tar, pax, sparse $version" packed '^$' "${gnu[@]}" --format=pax --sparse --sparse-version=$version . || true
done
check "GNU tar, gnu" packed "$whole_seconds|: xattr " tar --numeric-owner -cf ../tar --format=gnu --sparse . || true
check "GNU tar, absolute names" packed '^$' "${gnu[@]}" --format=pax --sparse --transform 's,^\.,/,S' -P . || true
if have bsdtar; then
	# It writes -1.5 for half a second before 1969-12-31 23:59:59, and has no room for large device numbers in gnutar.
	check "bsdtar, pax" packed '^/names/( |.xc3.xa9): mtime ' bsdtar --numeric-owner --format=pax --xattrs --acls -cf ../tar . || true
	check "bsdtar, gnutar" packed "$whole_seconds|: xattr |^/chr: |^/dir/large: mode " bsdtar --numeric-owner --format=gnutar -cf ../tar . || true
fi
checks_end
