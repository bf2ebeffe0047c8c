#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Two file trees, compared inode by inode. A tree becomes a dump: one JSON object a line, sorted by
# path, holding everything a container can see of an inode. A dump is made from a directory here, or
# from an image's tar layers by expect.py, so that one program compares either with either.
"""tree.py dump [--holes] [--dir-nlink] [--all-xattrs] DIR
tree.py compare [--holes] [--dir-nlink] [--all-xattrs] [--max N] EXPECTED ACTUAL

EXPECTED and ACTUAL are directories or files written by `dump` or expect.py. compare exits 0 when they
are the same, 1 when they differ, 2 when it cannot tell.

Fields: path, type, mode, uid, gid, size (not of directories), mtime (ns), nlink and links (the first
name, in byte order, of the names that share the inode; both not of directories), rdev, target, xattrs
(hex), sha256, holes (4096-byte granules). Bytes outside printable ASCII are written \\xNN.
The value "*" in an expectation means that nobody promised anything about that field.

--holes       each hole of EXPECTED must be a hole of ACTUAL; more holes are no difference
--dir-nlink   link counts of directories too (file systems are free in them)
--all-xattrs  also trusted.overlay.* and security.selinux, which are left out otherwise
"""

import argparse
import errno
import hashlib
import json
import os
import re
import stat
import sys

GRANULE = 4096
DROPPED_XATTRS = (b"trusted.overlay.", b"security.selinux")
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chr",
    stat.S_IFBLK: "blk",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "sock",
}
ANY = "*"
PLAIN = re.compile(rb"[ -\[\]-~]*")


def escape(b):
    """Bytes of a name as text that shows each of them."""
    if PLAIN.fullmatch(b):
        return b.decode("ascii")
    return "".join(chr(c) if 0x20 <= c < 0x7F and c != 0x5C else "\\x%02x" % c for c in b)


def granular(holes, size):
    """Holes cut down to whole granules; one that reaches the end keeps the end."""
    out = []
    for start, end in holes:
        start = -(-start // GRANULE) * GRANULE
        if end < size:
            end = end // GRANULE * GRANULE
        if start < end:
            out.append([start, end])
    return out


def keep_xattr(name, every):
    return every or not name.startswith(DROPPED_XATTRS)


def hash_file(fd):
    h = hashlib.sha256()
    buf = bytearray(1 << 20)
    view = memoryview(buf)
    total = 0
    while n := os.readv(fd, [buf]):
        h.update(view[:n])
        total += n
    return h.hexdigest(), total


def find_holes(fd, size):
    holes, pos = [], 0
    while pos < size:
        try:
            data = os.lseek(fd, pos, os.SEEK_DATA)
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            data = size
        if data > pos:
            holes.append((pos, data))
        if data >= size:
            break
        pos = os.lseek(fd, data, os.SEEK_HOLE)
    return granular(holes, size)


class Walk:
    """Reads a directory tree; it changes directory as it goes, so that no path grows too long."""

    def __init__(self, opt):
        self.opt = opt
        self.entries = {}
        self.seen = {}  # (dev, ino) of inodes with several names -> their entry's content fields

    def run(self, root):
        home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.chdir(root)
            dev = os.lstat(".").st_dev
            self.inode(b".", b"/")
            # A stack, not recursion: (name to enter, path) and None for "go up".
            stack = [(b".", b"")]
            fds = []
            while stack:
                step = stack.pop()
                if step is None:
                    os.close(fds.pop())
                    if fds:
                        os.fchdir(fds[-1])
                    continue
                name, path = step
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                fds.append(fd)
                os.fchdir(fd)
                stack.append(None)
                for n in os.listdir(b"."):
                    st = self.inode(n, path + b"/" + n)
                    if stat.S_ISDIR(st.st_mode) and st.st_dev == dev:
                        stack.append((n, path + b"/" + n))
        finally:
            os.fchdir(home)
            os.close(home)
        return self.entries

    def inode(self, name, path):
        st = os.lstat(name)
        kind = KINDS[stat.S_IFMT(st.st_mode)]
        e = {
            "type": kind,
            "mode": "%04o" % stat.S_IMODE(st.st_mode),
            "uid": st.st_uid,
            "gid": st.st_gid,
            "mtime": st.st_mtime_ns,
        }
        self.entries[path] = e
        if kind != "dir":
            e["nlink"] = st.st_nlink
            e["size"] = st.st_size
            e["inode"] = (st.st_dev, st.st_ino)
        elif self.opt.dir_nlink:
            e["nlink"] = st.st_nlink
        key = (st.st_dev, st.st_ino)
        if st.st_nlink > 1 and key in self.seen:
            e.update(self.seen[key])
            return st
        e["xattrs"] = {
            escape(x): os.getxattr(name, x, follow_symlinks=False).hex()
            for x in sorted(map(os.fsencode, os.listxattr(name, follow_symlinks=False)))
            if keep_xattr(x, self.opt.all_xattrs)
        }
        if kind == "symlink":
            e["target"] = escape(os.readlink(name))
        elif kind in ("chr", "blk"):
            e["rdev"] = "%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))
        elif kind == "file":
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                e["sha256"], e["read"] = hash_file(fd)
                if self.opt.holes:
                    e["holes"] = find_holes(fd, st.st_size)
            finally:
                os.close(fd)
        if kind != "dir" and st.st_nlink > 1:
            self.seen[key] = {
                k: e[k] for k in ("xattrs", "target", "rdev", "sha256", "read", "holes") if k in e
            }
        return st


def canonical(entries):
    """Walked entries (path bytes -> dict; `inode`, anything hashable, tells which names are one inode)
    in the form of the dump: path text -> dict, in the order of the path's bytes."""
    first, out = {}, {}
    for path in sorted(entries):
        e = out[escape(path)] = dict(entries[path])
        inode = e.pop("inode", None)
        if inode is not None:
            e["links"] = escape(first.setdefault(inode, path))
    return out


def write_dump(entries, out):
    for path, e in canonical(entries).items():
        out.write(json.dumps({"path": path, **e}) + "\n")


def load(where, opt):
    if os.path.isdir(where):
        return canonical(Walk(opt).run(where))
    out = {}
    with open(where, encoding="ascii") as f:
        for line in f:
            e = json.loads(line)
            out[e.pop("path")] = e
    if "/" not in out:
        sys.exit(f"tree.py: {where}: no root in it")
    return out


def covered(holes, by):
    return all(any(s <= start and end <= e for s, e in by) for start, end in holes)


def differences(a, b, opt):
    """Yields one line for each difference."""
    for path in sorted(a.keys() | b.keys()):
        if path not in b:
            yield f"{path}: missing ({a[path]['type']})"
            continue
        if path not in a:
            yield f"{path}: should not be there ({b[path]['type']})"
            continue
        x, y = a[path], b[path]
        if x["type"] != y["type"]:
            yield f"{path}: type {x['type']}, found {y['type']}"
            continue
        for key in sorted(x.keys() | y.keys()):
            if key == "read" or (key == "nlink" and x["type"] == "dir" and not opt.dir_nlink):
                continue
            if key == "holes":
                if opt.holes and not covered(x.get(key, []), y.get(key, [])):
                    yield f"{path}: holes {x.get(key)}, found {y.get(key)}"
                continue
            v, w = x.get(key), y.get(key)
            if key == "xattrs":
                # A dump on disk may hold names that this comparison leaves out.
                v, w = ({n: h for n, h in d.items() if keep_xattr(n.encode(), opt.all_xattrs)} for d in (v, w))
                for n in sorted(v.keys() | w.keys()):
                    if v.get(n) != w.get(n):
                        yield f"{path}: xattr {n} {short(v.get(n))}, found {short(w.get(n))}"
            elif v != w and ANY not in (v, w):
                yield f"{path}: {key} {short(v)}, found {short(w)}"
        if y["type"] == "file" and y.get("read", y["size"]) != y["size"]:
            yield f"{path}: size says {y['size']}, reading gives {y['read']} bytes"


def short(v):
    s = "none" if v is None else str(v)
    return s if len(s) <= 100 else f"{s[:60]}… ({len(s)} characters)"


def summary(entries):
    inodes = {}
    for path, e in entries.items():
        inodes.setdefault(e.get("links", path), e)
    kinds = {}
    for e in inodes.values():
        kinds[e["type"]] = kinds.get(e["type"], 0) + 1
    hashed = sum(e["size"] for e in inodes.values() if e["type"] == "file")
    return "%d names, %d inodes (%s), %d bytes hashed" % (
        len(entries),
        len(inodes),
        ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())),
        hashed,
    )


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    sub = parser.add_subparsers(dest="command", required=True)
    for name in ("dump", "compare"):
        p = sub.add_parser(name, usage=__doc__)
        for flag in ("--holes", "--dir-nlink", "--all-xattrs"):
            p.add_argument(flag, action="store_true")
        if name == "dump":
            p.add_argument("dir")
        else:
            p.add_argument("--max", type=int, default=20)
            p.add_argument("expected")
            p.add_argument("actual")
    opt = parser.parse_args()
    try:
        if opt.command == "dump":
            write_dump(Walk(opt).run(opt.dir), sys.stdout)
            return 0
        a, b = load(opt.expected, opt), load(opt.actual, opt)
    except (OSError, ValueError, KeyError) as e:
        print(f"tree.py: {e!r}", file=sys.stderr)
        return 2
    n = 0
    for n, line in enumerate(differences(a, b, opt), 1):
        if n <= opt.max:
            print(line)
    if n:
        if n > opt.max:
            print(f"… and {n - opt.max} more")
        print(f"DIFFERENT: {n} differences; expected {summary(a)}; found {summary(b)}")
        return 1
    print(f"same: {summary(b)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
