# SPDX-License-Identifier: Apache-2.0
#
# Writes tar byte by byte. The tests need control over every header field, and the oracle reads with
# Python's tarfile: a writer that shared its code would share its mistakes.

BLOCK = 512
FILE, LINK, SYMLINK, CHR, BLK, DIR, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def octal(n, width):
    return b"%0*o\0" % (width - 1, n)


def base256(n, width):
    return bytes([0x80 if n >= 0 else 0xFF]) + (n % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")


def fits(n, width):
    return 0 <= n < 8 ** (width - 1)


def any_number(n, width):
    return octal(n, width) if fits(n, width) else base256(n, width)


def seconds(ns):
    """Nanoseconds as the decimal text of PAX: -1500000000 is -1.5."""
    whole, fraction = divmod(abs(ns), 10**9)
    text = b"%d.%09d" % (whole, fraction) if fraction else b"%d" % whole
    return b"-" + text if ns < 0 else text


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    n = len(body)
    while len(b"%d" % n) + len(body) != n:
        n = len(b"%d" % n) + len(body)
    return b"%d" % n + body


class TarWriter:
    """`out` needs write(). Names are bytes and are written as they are."""

    def __init__(self, out, mtime=1700000000 * 10**9):
        self.out = out
        self.mtime = mtime

    def pad(self, size):
        self.out.write(b"\0" * (-size % BLOCK))

    def header(self, name, kind, *, mode, uid, gid, size, mtime, link, rdev, magic, number=octal):
        prefix = b""
        if len(name) > 100 and magic == b"ustar\x0000":
            cut = name.rfind(b"/", 0, 156)
            if cut > 0 and len(name) - cut - 1 <= 100:
                prefix, name = name[:cut], name[cut + 1 :]
        device = number(rdev[0], 8) + number(rdev[1], 8) if rdev else octal(0, 8) * 2
        if magic == b"\0" * 8:
            device = b"\0" * 16
        h = bytearray(
            name[:100].ljust(100, b"\0")
            + octal(mode, 8)
            + number(uid, 8)
            + number(gid, 8)
            + number(size, 12)
            + number(mtime, 12)
            + b" " * 8
            + kind
            + link[:100].ljust(100, b"\0")
            + magic
            + b"\0" * 64
            + device
            + prefix.ljust(155, b"\0")
        ).ljust(BLOCK, b"\0")
        h[148:156] = b"%06o\0 " % sum(h)
        return h

    def extension(self, kind, name, body):
        fixed = dict(mode=0o644, uid=0, gid=0, mtime=0, link=b"", rdev=None)
        magic = b"ustar  \0" if kind in b"KL" else b"ustar\x0000"
        self.out.write(self.header(name, kind, size=len(body), magic=magic, **fixed))
        self.out.write(body)
        self.pad(len(body))

    def global_pax(self, records):
        body = b"".join(pax_record(k, v) for k, v in records.items())
        self.extension(b"g", b"pax_global_header", body)

    def add(
        self,
        name,
        kind=FILE,
        data=b"",
        *,
        size=None,
        mode=0o644,
        uid=0,
        gid=0,
        mtime=None,
        link=b"",
        rdev=None,
        xattrs=None,
        pax=None,
        form="pax",
    ):
        """One entry. `data` is bytes, or an iterable of bytes together with `size`. `form` is pax (a
        ustar header, with PAX records for what does not fit), gnu (base-256 numbers and long-name
        entries, whole seconds) or v7."""
        mtime = self.mtime if mtime is None else mtime
        if isinstance(data, bytes):
            size = len(data)
            data = (data,)
        whole = mtime // 10**9
        if form == "gnu":
            magic, number = b"ustar  \0", any_number
            for long_kind, text in ((b"K", link), (b"L", name)):
                if len(text) > 100:
                    self.extension(long_kind, b"././@LongLink", text + b"\0")
        else:
            magic = b"\0" * 8 if form == "v7" else b"ustar\x0000"
            records = {}
            if len(name) > 100:
                records[b"path"] = name
            if len(link) > 100:
                records[b"linkpath"] = link
            for key, n, width in ((b"uid", uid, 8), (b"gid", gid, 8), (b"size", size, 12)):
                if not fits(n, width):
                    records[key] = b"%d" % n
            if mtime % 10**9 or not fits(whole, 12):
                records[b"mtime"] = seconds(mtime)
            for key in sorted(xattrs or {}):
                records[b"SCHILY.xattr." + key] = xattrs[key]
            records.update(pax or {})
            if records:
                body = b"".join(pax_record(k, v) for k, v in records.items())
                self.extension(b"x", b"PaxHeaders/" + name[-80:].replace(b"/", b"_"), body)

            def number(n, width):
                return octal(n if fits(n, width) else 0, width)

        self.out.write(
            self.header(
                name, kind, mode=mode, uid=uid, gid=gid, size=size, mtime=whole,
                link=link, rdev=rdev, magic=magic, number=number,
            )
        )
        self.body(data, size)

    def body(self, data, size):
        written = 0
        for piece in data:
            self.out.write(piece)
            written += len(piece)
        if written != size:
            raise ValueError(f"{written} bytes of {size}")
        self.pad(size)

    def sparse(self, name, extents, size, version="1.0", **kw):
        """A file with holes; `extents` is a list of (offset, bytes). version: 1.0, 0.1, 0.0 or gnu."""
        stored = b"".join(d for _, d in extents)
        pairs = [(o, len(d)) for o, d in extents]
        if not pairs or sum(pairs[-1]) < size:
            pairs.append((size, 0))
        if version == "gnu":
            self.old_gnu_sparse(name, pairs, stored, size, **kw)
            return
        text = [(b"%d" % o, b"%d" % n) for o, n in pairs]
        directory, _, base = name.rpartition(b"/")
        other = (directory + b"/" if directory else b"") + b"GNUSparseFile.0/" + base
        if version == "1.0":
            table = b"%d\n" % len(text) + b"".join(o + b"\n" + n + b"\n" for o, n in text)
            stored = table + b"\0" * (-len(table) % BLOCK) + stored
            records = {
                b"GNU.sparse.major": b"1",
                b"GNU.sparse.minor": b"0",
                b"GNU.sparse.name": name,
                b"GNU.sparse.realsize": b"%d" % size,
            }
        else:
            records = {
                b"GNU.sparse.size": b"%d" % size,
                b"GNU.sparse.numblocks": b"%d" % len(text),
                b"GNU.sparse.name": name,
                b"GNU.sparse.map": b",".join(o + b"," + n for o, n in text),
            }
        self.add(other, FILE, stored, pax=records, **kw)

    def old_gnu_sparse(self, name, pairs, stored, size, *, mode=0o644, uid=0, gid=0, mtime=None):
        h = self.header(
            name, b"S", mode=mode, uid=uid, gid=gid, size=len(stored),
            mtime=(self.mtime if mtime is None else mtime) // 10**9, link=b"", rdev=None,
            magic=b"ustar  \0",
        )
        cells = [any_number(o, 12) + any_number(n, 12) for o, n in pairs]
        h[345:500] = b"\0" * 155
        h[386:482] = b"".join(cells[:4]).ljust(96, b"\0")
        h[482] = len(cells) > 4
        h[483:495] = any_number(size, 12)
        h[148:156] = b" " * 8
        h[148:156] = b"%06o\0 " % sum(h)
        self.out.write(h)
        for i in range(4, len(cells), 21):
            more = b"".join(cells[i : i + 21]).ljust(504, b"\0") + bytes([i + 21 < len(cells)])
            self.out.write(more.ljust(BLOCK, b"\0"))
        self.body((stored,), len(stored))

    def end(self, blocks=2):
        self.out.write(b"\0" * BLOCK * blocks)
