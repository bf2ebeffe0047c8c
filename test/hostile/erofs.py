# SPDX-License-Identifier: Apache-2.0
#
# Where things lie in an EROFS image (the kernel's Documentation/filesystems/erofs.rst), so that a test can
# spoil them.

import struct

BLOCK = 4096
SUPER = 1024
CHECKSUM, BLOCK_BITS, ROOT_NID, N_BLOCKS, META, INCOMPAT = 4, 12, 14, 36, 40, 80
PLAIN, INLINE, CHUNKED = 0, 2, 4


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


class Inode:
    """Offsets of its fields in the image, and what they hold."""

    def __init__(self, fs, nid):
        self.offset = fs.meta + 32 * nid
        raw = fs.data[self.offset : self.offset + 64]
        form, xattrs, self.mode = struct.unpack_from("<HHH", raw)
        self.extended, self.layout = form & 1, form >> 1 & 7
        self.size_at = self.offset + 8
        self.size = struct.unpack_from("<Q" if self.extended else "<I", raw, 8)[0]
        self.nlink_at = self.offset + (44 if self.extended else 6)
        self.start_at = self.offset + 16
        self.start = struct.unpack_from("<I", raw, 16)[0]
        self.end = self.offset + (64 if self.extended else 32) + (12 + 4 * (xattrs - 1) if xattrs else 0)


class Entry:
    def __init__(self, name, nid, at, name_at):
        self.name, self.nid, self.at, self.name_at = name, nid, at, name_at


class Erofs:
    def __init__(self, data):
        self.data = data
        self.root = struct.unpack_from("<H", data, SUPER + ROOT_NID)[0]
        self.meta = struct.unpack_from("<I", data, SUPER + META)[0] * BLOCK

    def pieces(self, x):
        """[(offset in the image, size)] of a directory's or a link's data."""
        last = -(-x.size // BLOCK) - 1
        out = [(x.start * BLOCK + k * BLOCK, min(BLOCK, x.size - k * BLOCK)) for k in range(last + 1)]
        if x.layout == INLINE:
            out[last] = (x.end, x.size - last * BLOCK)
        return out

    def entries(self, x):
        out = []
        for at, size in self.pieces(x):
            n = struct.unpack_from("<H", self.data, at + 8)[0] // 12
            offsets = [struct.unpack_from("<H", self.data, at + 12 * k + 8)[0] for k in range(n)] + [size]
            for k in range(n):
                name = self.data[at + offsets[k] : at + offsets[k + 1]].rstrip(b"\0").decode()
                nid = struct.unpack_from("<Q", self.data, at + 12 * k)[0]
                out.append(Entry(name, nid, at + 12 * k, at + offsets[k]))
        return out

    def entry(self, path):
        x, found = Inode(self, self.root), None
        for part in path.split("/"):
            found = next(e for e in self.entries(x) if e.name == part)
            x = Inode(self, found.nid)
        return found

    def inode(self, path):
        return Inode(self, self.entry(path).nid if path else self.root)
