#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# What an image's tree has to look like, worked out from its tar layers alone: nothing is unpacked, so
# no file system and no unpacker's habits come into it. Writes the same dump as `tree.py dump`.
#
# Rules, from the OCI image specification: a layer's whiteouts act on the layers below only, wherever
# they stand in the tar, so they are applied first; then the entries in their order, a later one
# replacing an earlier one of that name; a directory over a directory changes its attributes and keeps
# its content. A directory that no layer lists is 0755 root:root and nobody promised its times ("*").
"""expect.py [--platform OS/ARCH] [--dir-nlink] [--all-xattrs] DIR[:TAG] > DUMP"""

import argparse
import hashlib
import sys
import tarfile

import tree
from ocilayout import BadImage, Image

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
XATTR = "SCHILY.xattr."
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "chr",
    tarfile.BLKTYPE: "blk",
    tarfile.FIFOTYPE: "fifo",
}


def raw(s):
    return s.encode("utf-8", "surrogateescape")


def parts(name):
    out = tuple(p for p in name.split(b"/") if p not in (b"", b"."))
    if b".." in out:
        raise BadImage(f"{name!r}: .. in a name")
    return out


def nanoseconds(member):
    """tarfile keeps times as floats; the header's text has every digit."""
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    return sign * (int(whole) * 10**9 + int((fraction + "0" * 9)[:9]))


class StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a bad header for the end of the archive; an oracle must not."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            return super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as e:
            raise BadImage(f"tar header: {e}") from e


class Node:
    """One inode. `fields` is its part of the dump; `children` is None but for directories."""

    def __init__(self, fields):
        self.fields = fields
        self.children = {} if fields["type"] == "dir" else None
        self.nlink = 0


def implied_dir():
    return Node({"type": "dir", "mode": "0755", "uid": 0, "gid": 0, "mtime": tree.ANY, "xattrs": {}})


def read_member(tar, m, all_xattrs):
    if m.islnk():
        return None
    if m.type not in KINDS:
        raise BadImage(f"{m.name!r}: type {m.type!r}")
    fields = {
        "type": KINDS[m.type],
        "mode": "%04o" % (m.mode & 0o7777),
        "uid": m.uid,
        "gid": m.gid,
        "mtime": nanoseconds(m),
    }
    kind = fields["type"]
    if kind != "dir":
        fields["size"] = len(raw(m.linkname)) if kind == "symlink" else m.size if kind == "file" else 0
    fields["xattrs"] = {
        tree.escape(raw(k[len(XATTR) :])): raw(v).hex()
        for k, v in sorted(m.pax_headers.items())
        if k.startswith(XATTR) and tree.keep_xattr(raw(k[len(XATTR) :]), all_xattrs)
    }
    if kind == "symlink":
        fields["target"] = tree.escape(raw(m.linkname))
    elif kind in ("chr", "blk"):
        fields["rdev"] = "%d:%d" % (m.devmajor, m.devminor)
    elif kind == "file":
        h = hashlib.sha256()
        f = tar.extractfile(m)
        while data := f.read(1 << 20):
            h.update(data)
        fields["sha256"] = h.hexdigest()
        holes, pos = [], 0
        for offset, length in [(0, m.size)] if m.sparse is None else m.sparse:
            if length:  # an empty extent at the end only tells the size
                if offset > pos:
                    holes.append((pos, offset))
                pos = offset + length
        if pos < m.size:
            holes.append((pos, m.size))
        fields["holes"] = tree.granular(holes, m.size)
    return fields


class Merged:
    def __init__(self):
        self.root = implied_dir()

    def find(self, path, make=False):
        node = self.root
        for p in path:
            if node.children is None:
                raise BadImage(f"{b'/'.join(path)!r}: a parent is a {node.fields['type']}")
            if p not in node.children:
                if not make:
                    return None
                node.children[p] = implied_dir()
            node = node.children[p]
        return node

    def whiteout(self, path):
        parent, name = self.find(path[:-1]), path[-1]
        if parent is None or parent.children is None:
            return
        if name == OPAQUE:
            parent.children.clear()
        else:
            parent.children.pop(name[len(PREFIX) :], None)

    def add(self, path, fields, link):
        if not path:
            self.root.fields = fields
            return
        parent = self.find(path[:-1], make=True)
        if parent.children is None:
            raise BadImage(f"{b'/'.join(path)!r}: parent is no directory")
        old = parent.children.get(path[-1])
        if link is not None:
            node = self.find(link)
            if node is None or node.children is not None:
                raise BadImage(f"{b'/'.join(path)!r}: hard link to {b'/'.join(link)!r}")
        elif old is not None and old.children is not None and fields["type"] == "dir":
            old.fields = fields
            return
        else:
            node = Node(fields)
        parent.children[path[-1]] = node

    def layer(self, tar, all_xattrs):
        whiteouts, entries = [], []
        for m in tar:
            path = parts(raw(m.name))
            if path and path[-1].startswith(PREFIX):
                whiteouts.append(path)
            else:
                link = parts(raw(m.linkname)) if m.islnk() else None
                entries.append((path, read_member(tar, m, all_xattrs), link))
            tar.members.clear()  # tarfile remembers all of them otherwise
        for path in whiteouts:
            self.whiteout(path)
        for entry in entries:
            self.add(*entry)

    def dump(self, dir_nlink, out):
        entries = {}
        stack = [(b"/", self.root)]
        while stack:
            path, node = stack.pop()
            node.nlink += 1
            e = entries[path] = {**node.fields}
            if node.children is None:
                e["inode"] = id(node)
                e["nlink"] = node
                continue
            for name, child in node.children.items():
                stack.append((path.rstrip(b"/") + b"/" + name, child))
            if dir_nlink:
                e["nlink"] = 2 + sum(c.children is not None for c in node.children.values())
        for e in entries.values():
            if isinstance(e.get("nlink"), Node):
                e["nlink"] = e["nlink"].nlink
        tree.write_dump(entries, out)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--platform", default="linux/amd64")
    parser.add_argument("--dir-nlink", action="store_true")
    parser.add_argument("--all-xattrs", action="store_true")
    parser.add_argument("ref")
    opt = parser.parse_args()
    try:
        image = Image(opt.ref, opt.platform)
        merged = Merged()
        for i in range(len(image.layers)):
            with image.open_layer(i) as f, tarfile.open(
                fileobj=f,
                mode="r|",
                bufsize=1 << 16,
                encoding="utf-8",
                errors="surrogateescape",
                tarinfo=StrictTarInfo,
            ) as tar:
                merged.layer(tar, opt.all_xattrs)
    except (BadImage, tarfile.TarError, OSError) as e:
        print(f"expect.py: {e}", file=sys.stderr)
        return 2
    merged.dump(opt.dir_nlink, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
