#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# What a mount shows while the host damages what it serves. Everything is looked up by the names of an
# undamaged mount of the same filesystem: whatever is not right must be EIO, never another error, never
# missing, shorter or other bytes.
"""damage.py REFERENCE TREE none|any|SIZE [RULES]

REFERENCE is the exported filesystem as the kernel mounts it, TREE the mount that is looked at.
none: no EIO at all is allowed. any, SIZE: EIO is what is wanted; with SIZE only for what one chunk of at
most so many bytes covers, and for all of that. With RULES, that file of wire-proxy.py is emptied then, and
what was EIO has to be right.

Prints what was found. Exit status: 0 as wanted, 1 not, 3 right, but nothing gave EIO (with any, SIZE).
"""

import array
import errno
import fcntl
import os
import stat
import struct
import sys

BLOCK = 4096
RUN = 1 << 20
MOST_RANGES = 3  # a chunk stands for several ranges of the image where it stands for several equal ones
FIEMAP = 0xC020660B


class Wrong(Exception):
    pass


def addresses(fd, size):
    """[(offset in the file, address in the image, length)] of a file of the reference."""
    out, start = [], 0
    while start < size:
        buf = array.array("B", struct.pack("<QQIIII", start, size - start, 0, 0, 256, 0) + bytes(56 * 256))
        fcntl.ioctl(fd, FIEMAP, buf)
        n = struct.unpack_from("<I", buf, 20)[0]
        if n == 0:
            break
        for i in range(n):
            logical, physical, length = struct.unpack_from("<QQQ", buf, 32 + 56 * i)
            out.append((logical, physical, length))
        start = out[-1][0] + out[-1][2]
    return out


class Check:
    def __init__(self, reference, tree):
        self.reference, self.tree = os.fsencode(reference), os.fsencode(tree)
        self.failed = set()  # paths where something gave EIO
        self.names = 0  # operations on names, attributes and directories that gave EIO
        self.bad = set()  # addresses of blocks of file data that gave EIO
        self.good = set()
        self.bad_files = 0
        self.files = 0

    def same(self, path, what, call):
        """call(root) gives the same in both, or EIO in the tree: then None."""
        want = call(self.reference + path)
        try:
            got = call(self.tree + path)
        except OSError as e:
            if e.errno != errno.EIO:
                raise Wrong(f"{os.fsdecode(path)}: {what}: {e.strerror}") from e
            self.names += 1
            self.failed.add(path)
            return None
        if got != want:
            raise Wrong(f"{os.fsdecode(path)}: {what}: {str(got)[:200]}, expected {str(want)[:200]}")
        return want

    def walk(self, path=b""):
        if self.same(path, "lstat", attributes) is None:
            return  # what lies below cannot be reached
        mode = os.lstat(self.reference + path).st_mode
        self.same(path, "xattrs", xattrs)
        if stat.S_ISDIR(mode):
            self.same(path, "names", lambda p: sorted(os.listdir(p)))
            for name in os.listdir(self.reference + path):
                self.walk(path + b"/" + name)
        elif stat.S_ISLNK(mode):
            self.same(path, "target", os.readlink)
        elif stat.S_ISREG(mode):
            self.file(path)

    def file(self, path):
        self.files += 1
        want = os.open(self.reference + path, os.O_RDONLY)
        try:
            got = os.open(self.tree + path, os.O_RDONLY)
        except OSError as e:
            os.close(want)
            if e.errno != errno.EIO:
                raise Wrong(f"{os.fsdecode(path)}: open: {e.strerror}") from e
            self.names += 1
            self.failed.add(path)
            return
        try:
            self.content(path, want, got)
        finally:
            os.close(want)
            os.close(got)

    def content(self, path, want, got):
        size = os.fstat(want).st_size
        bad = set()
        for start in range(0, size, RUN):
            data = os.pread(want, RUN, start)
            try:
                if os.pread(got, RUN, start) == data:
                    continue
            except OSError as e:
                if e.errno != errno.EIO:
                    raise Wrong(f"{os.fsdecode(path)}: read: {e.strerror}") from e
            bad |= self.blocks(path, got, data, start)
        if bad:
            self.bad_files += 1
            self.failed.add(path)
        for offset, address, length in addresses(want, size):
            for at in range(0, length, BLOCK):
                (self.bad if offset + at in bad else self.good).add(address + at)

    def blocks(self, path, got, data, start):
        """A read that spans good and bad blocks may fail or be cut short: each block for itself tells."""
        bad = set()
        for at in range(0, len(data), BLOCK):
            block = data[at : at + BLOCK]
            try:
                found = os.pread(got, BLOCK, start + at)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise Wrong(f"{os.fsdecode(path)}: read: {e.strerror}") from e
                bad.add(start + at)
                continue
            if found != block:
                raise Wrong(f"{os.fsdecode(path)}: {len(found)} bytes at {start + at} are not those of the image")
        return bad

    def ranges(self, span):
        """The addresses that gave EIO as ranges no longer than `span`; None when a block inside is right."""
        out, bad = [], sorted(self.bad)
        while bad:
            low = bad[0]
            inside = [a for a in bad if a < low + span]
            bad = bad[len(inside) :]
            high = inside[-1] + BLOCK
            if any(low <= a < high for a in self.good - self.bad):
                return None
            out.append((low, high))
        return out

    def judge(self, wanted):
        found = f"{self.files} files; EIO: {self.bad_files} files, {len(self.bad)} blocks, {self.names} names"
        if wanted == "none":
            return (1 if self.failed else 0), found
        if not self.failed:
            return 3, found
        if wanted != "any":
            ranges = self.ranges(int(wanted))
            if ranges is None:
                return 1, found + "; right blocks between them"
            found += "".join(f", {high - low} bytes at {low}" for low, high in ranges)
            if len(ranges) > MOST_RANGES or self.names:
                return 1, found + ": that is more than one chunk"
        return 0, found


def attributes(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    size = st.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else 0
    links = 0 if kind == stat.S_IFDIR else st.st_nlink
    return st.st_mode, st.st_uid, st.st_gid, size, st.st_mtime_ns, links, st.st_rdev


def xattrs(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [(n, os.getxattr(path, n, follow_symlinks=False)) for n in names]


def look_again(check, rules):
    """What was EIO, once nothing is damaged any more."""
    with open(rules, "w", encoding="ascii"):
        pass
    again = Check(check.reference, check.tree)
    for path in check.failed:
        again.walk(path)
    status, found = again.judge("none")
    print("put back:", found)
    return status


def main():
    if len(sys.argv) not in (4, 5):
        print(__doc__, file=sys.stderr)
        return 2
    sys.setrecursionlimit(10000)
    check = Check(sys.argv[1], sys.argv[2])
    try:
        check.walk()
        status, found = check.judge(sys.argv[3])
        print(found)
        if status != 1 and len(sys.argv) == 5:
            status = look_again(check, sys.argv[4]) or status
    except Wrong as e:
        print(f"WRONG: {e}")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
