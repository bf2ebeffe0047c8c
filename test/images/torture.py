# SPDX-License-Identifier: Apache-2.0
#
# One image that holds every case a container image can hold and a merged tree has to keep. Six layers;
# the comments say what each group of entries is there for.
#
# Left out on purpose: character device 0:0 (overlayfs takes it for a whiteout) and user.* attributes
# on anything but files and directories (the kernel refuses them).

import random
import struct

from layout import DOCKER, OCI
from tarwriter import BLK, CHR, DIR, FIFO, FILE, LINK, SYMLINK

SECOND = 10**9
LONG = b"n" * 255
BIG = random.Random("torture").randbytes((1 << 20) + 1)
SHARED = random.Random("shared").randbytes(20000)


def capability(revision=2, rootid=None):
    """CAP_NET_RAW and CAP_SYS_ADMIN, permitted and effective; struct vfs_cap_data."""
    blob = struct.pack("<5I", revision << 24 | 1, 1 << 13, 0, 1 << 21, 0)
    return blob if rootid is None else blob + struct.pack("<I", rootid)


def acl():
    """u::rw- u:1000:r-- g::r-- m::rw- o::r--, as getxattr gives it."""
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, 4, 1000), (4, 4, none), (16, 6, none), (32, 4, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


def whiteout(t, path):
    t.add(path, FILE, b"", mode=0)


def kinds(t):
    t.add(b"kinds/", DIR, mode=0o755)
    t.add(b"kinds/file", FILE, b"a file\n")
    t.add(b"kinds/symlink", SYMLINK, link=b"file", mode=0o777)
    t.add(b"kinds/fifo", FIFO, mode=0o600)
    for name, kind, rdev in (
        (b"null", CHR, (1, 3)),
        (b"chr-largest", CHR, (4095, 1048575)),
        (b"blk-largest", BLK, (4095, 1048575)),
        (b"chr-0-1", CHR, (0, 1)),
        (b"chr-1-0", CHR, (1, 0)),
        (b"chr-255-256", CHR, (255, 256)),
        (b"blk-0-0", BLK, (0, 0)),
        (b"blk-8-1", BLK, (8, 1)),
    ):
        t.add(b"kinds/" + name, kind, rdev=rdev, mode=0o660, gid=6)
    t.add(b"kinds/v7-file", b"\0", b"v7\n", form="v7")
    t.add(b"kinds/gnu-file", FILE, b"gnu\n", form="gnu", uid=4294967294, gid=3000000)
    t.add(b"kinds/gnu-before-1970", FILE, b"", form="gnu", mtime=-5 * SECOND)


def owners_modes_times(t):
    t.add(b"attr/", DIR, mode=0o755, uid=4294967294, gid=100000, mtime=1234567890123456789)
    for mode in (0o0, 0o1, 0o111, 0o222, 0o444, 0o777, 0o1644, 0o2755, 0o4755, 0o6755, 0o7777, 0o7000):
        t.add(b"attr/file-%04o" % mode, FILE, b"x", mode=mode, uid=1000, gid=1000)
        t.add(b"attr/dir-%04o/" % mode, DIR, mode=mode, uid=1000, gid=1000)
    for uid in (65534, 65535, 65536, 100000, 2147483648, 4000000000, 4294967294):
        t.add(b"attr/uid-%d" % uid, FILE, b"", uid=uid, gid=4294967294 - uid)
        t.add(b"attr/link-uid-%d" % uid, SYMLINK, link=b"x", mode=0o777, uid=uid, gid=uid)
    for name, ns in (
        (b"epoch", 0),
        (b"one-ns", 1),
        (b"last-ns", SECOND - 1),
        (b"ns", 1700000000 * SECOND + 123456789),
        (b"minus-one-and-a-half", -SECOND - SECOND // 2),
        (b"minus-one-ns", -1),
        (b"1930", -1262304000 * SECOND),
        (b"after-2038", 2147483648 * SECOND),
        (b"after-2106", 4294967296 * SECOND + 7),
        (b"2200", 7258118400 * SECOND + 999999999),
    ):
        t.add(b"attr/time-" + name, FILE, b"", mtime=ns)
        t.add(b"attr/time-dir-" + name + b"/", DIR, mode=0o755, mtime=ns)
        t.add(b"attr/time-dir-" + name + b"/child", FILE, b"", mtime=ns + 5)
        t.add(b"attr/time-link-" + name, SYMLINK, link=b"x", mode=0o777, mtime=ns)
        t.add(b"attr/time-fifo-" + name, FIFO, mtime=ns)


def xattrs(t):
    t.add(b"xattr/", DIR, mode=0o755, xattrs={b"user.dir": b"on a directory", b"trusted.dir": b"1"})
    t.add(b"xattr/cap-v2", FILE, b"#!", mode=0o755, xattrs={b"security.capability": capability()})
    # Changing the owner clears capabilities and setuid: the order of restoring shows here.
    t.add(
        b"xattr/cap-owned", FILE, b"#!", mode=0o6755, uid=100000, gid=100000,
        xattrs={b"security.capability": capability()},
    )
    t.add(
        b"xattr/cap-v3", FILE, b"#!", mode=0o755,
        xattrs={b"security.capability": capability(3, 100000)},
    )
    t.add(
        b"xattr/many", FILE, b"many",
        xattrs={b"user.%03d" % i: b"%d" % (i * i) for i in range(60)} | {b"trusted.t": b"t"},
    )
    t.add(
        b"xattr/values", FILE, b"values",
        xattrs={
            b"user.empty": b"",
            b"user.zero": b"\0",
            b"user.binary": bytes(range(256)),
            b"user.newline": b"a\nb\n\n",
            b"user.record": b"12 path=other\n",
            b"user.big": BIG[:1500],
            b"user.Name-with.dots:and\xc3\xa4": b"utf-8 name",
            b"user." + b"k" * 250: b"255-byte name",
        },
    )
    t.add(b"xattr/same-1", FILE, b"1", xattrs={b"user.same": b"shared by many inodes" * 9})
    t.add(b"xattr/same-2", FILE, b"2", xattrs={b"user.same": b"shared by many inodes" * 9})
    t.add(b"xattr/same-3", FILE, b"3", xattrs={b"user.same": b"shared by many inodes" * 9})
    t.add(b"xattr/acl", FILE, b"acl", mode=0o664, xattrs={b"system.posix_acl_access": acl()})
    t.add(
        b"xattr/acl-dir/", DIR, mode=0o775,
        xattrs={b"system.posix_acl_default": acl()},
    )
    t.add(b"xattr/symlink", SYMLINK, link=b"x", mode=0o777, xattrs={b"trusted.on.symlink": b"s"})
    t.add(b"xattr/fifo", FIFO, xattrs={b"trusted.on.fifo": b"f"})
    t.add(b"xattr/chr", CHR, rdev=(1, 7), xattrs={b"trusted.on.chr": b"c\0d"})
    # overlayfs' own: must not reach the merged tree.
    t.add(
        b"xattr/overlay-dir/", DIR, mode=0o755,
        xattrs={b"trusted.overlay.opaque": b"y", b"trusted.kept": b"yes"},
    )
    t.add(b"xattr/overlay-dir/child", FILE, b"still here", xattrs={b"trusted.overlay.origin": b"\0\1"})
    # The same attribute in the words of another archiver beside it (base64).
    t.add(
        b"xattr/twice-told", FILE, b"", xattrs={b"user.a": b"abc"}, pax={b"LIBARCHIVE.xattr.user.a": b"YWJj"}
    )
    t.add(b"xattr/removed-above", FILE, b"v1", xattrs={b"user.old": b"1", b"user.both": b"1"})
    t.add(b"xattr/dir-removed-above/", DIR, mode=0o755, xattrs={b"user.old": b"1"})


def names(t):
    t.add(b"names/", DIR, mode=0o755)
    for n in (
        b"!bang", b"#hash", b"+plus", b"-dash", b",comma", b" leading", b"trailing ", b"two  spaces", b" ",
        b"\x01", b"\x7f", b"tab\there", b"new\nline", b"\n", b"cr\r", b"escape\x1b[31m", b"back\\slash",
        b"quote'\"`$(x)", b"*?[a]", b"%2e", b"...", b"..a", b".a", b"..\n", b"~", b"\xff", b"\xff\xfe",
        b"latin-\xe9", b"\xc3\xa9-nfc", b"e\xcc\x81-nfd", b"\xed\xa0\x80-surrogate", b"\xf0\x9f\xa6\x8b",
        b"CON", b"a", b"A", b"a!", b"a.", b"a0", b".wh", b".whx", b"x.wh.y", LONG, b"\xf0" * 255, b"\x01" * 255,
    ):
        t.add(b"names/" + n, FILE, b"named " + n)
    t.add(b"names/pax-binary", FILE, b"", pax={b"hdrcharset": b"BINARY", b"path": b"names/pax-\xfe\xfd"})
    t.add(b"names/gnu-" + b"g" * 251, FILE, b"", form="gnu")
    for n in (b"a-", b"a.b", b"ab"):
        t.add(b"names/" + n + b"/", DIR, mode=0o755)
        t.add(b"names/" + n + b"/x", FILE, n)
    for a in (b"d" * 200, b"\xff" * 201):
        t.add(b"names/" + a + b"/", DIR, mode=0o755)
        t.add(b"names/" + a + b"/" + b"f" * 230, FILE, b"a path of more than 400 bytes")
    path = b"deep/"
    t.add(path, DIR, mode=0o755)
    for i in range(200):
        path += b"l%03d/" % i
        t.add(path, DIR, mode=0o755, mtime=(1600000000 + i) * SECOND + i)
    t.add(path + b"bottom", FILE, b"200 levels down\n")


def symlinks(t):
    t.add(b"sym/", DIR, mode=0o755)
    for name, target in (
        (b"one-byte", b"a"),
        (b"dot", b"."),
        (b"root", b"/"),
        (b"absolute", b"/kinds/file"),
        (b"relative", b"../kinds/file"),
        (b"out", b"../../../../../../etc/passwd"),
        (b"dangling", b"nowhere/at all"),
        (b"self", b"self"),
        (b"loop-a", b"loop-b"),
        (b"loop-b", b"loop-a"),
        (b"slash-end", b"../kinds/"),
        (b"slashes", b"..//kinds///file"),
        (b"binary", b"\xff\xfe\n\x01 \\"),
        (b"99", b"t" * 99),
        (b"100", b"t" * 100),
        (b"101", b"t" * 101),
        (b"59", b"t" * 59),
        (b"60", b"t" * 60),
        (b"4000", b"/".join([b"t" * 199] * 20) + b"/"),
        (b"4032", b"t" * 4032),
        (b"4064", b"t" * 4064),
        (b"4095", b"\xfe" * 4095),
    ):
        t.add(b"sym/" + name, SYMLINK, link=target, mode=0o777)
    t.add(b"sym/gnu-300", SYMLINK, link=b"g" * 300, mode=0o777, form="gnu")


def contents(t):
    t.add(b"data/", DIR, mode=0o755)
    for size in (0, 1, 511, 512, 513, 4031, 4032, 4063, 4064, 4095, 4096, 4097, 8191, 8192, 65537):
        t.add(b"data/%d" % size, FILE, BIG[:size])
    t.add(b"data/1M+1", FILE, BIG)
    t.add(b"data/zeros", FILE, b"\0" * 300000)
    t.add(b"data/zero-runs", FILE, BIG[:5000] + b"\0" * 200000 + BIG[:5000] + b"\0" * 100001)
    t.add(b"data/text", FILE, b"".join(b"line %d of a compressible file\n" % i for i in range(30000)))
    for name in (b"same-1", b"same-2", b"same-3"):
        t.add(b"data/" + name, FILE, SHARED)
    t.add(b"sparse/", DIR, mode=0o755)
    sparse_files(t, b"sparse/v1.0-", "1.0")
    sparse_files(t, b"sparse/v0.1-", "0.1")


def sparse_files(t, p, version):
    a, b, c = BIG[:4096], BIG[4096:12288], BIG[:100]
    t.sparse(p + b"middle", [(0, a), (1 << 20, b)], (1 << 20) + len(b), version)
    t.sparse(p + b"ends-in-hole", [(8192, a)], 1 << 20, version)
    t.sparse(p + b"only-hole", [], 3 << 20, version)
    t.sparse(p + b"unaligned", [(512, a[:512]), (10000, c), (70001, c)], 90001, version)
    t.sparse(p + b"many", [(i * 16384, bytes([i]) * 4096) for i in range(60)], 60 * 16384, version)
    t.sparse(p + b"one-byte-tail", [(0, a)], 65537, version)


def links(t):
    t.add(b"links/", DIR, mode=0o755)
    t.add(b"links/dir/", DIR, mode=0o755)

    def group(first, more, kind=FILE, **kw):
        t.add(first, kind, **kw)
        for name in more:
            t.add(name, LINK, link=first, **{k: kw[k] for k in ("mode", "uid", "gid") if k in kw})

    group(b"links/b", [b"links/a", b"links/dir/z", b"data/c"], data=b"four names", uid=7, mode=0o640)
    group(b"links/empty-1", [b"links/empty-2"], data=b"")
    group(b"links/fifo-1", [b"links/fifo-2"], FIFO)
    group(b"links/sym-1", [b"links/sym-2"], SYMLINK, link=b"links/b", mode=0o777)
    group(b"links/chr-1", [b"links/dir/chr-2"], CHR, rdev=(5, 1))
    group(b"links/cap-1", [b"links/cap-2"], data=b"cap", mode=0o755, xattrs={b"security.capability": capability()})
    group(b"links/" + b"p" * 200, [b"links/" + b"q" * 200], data=b"long names on both sides")
    # A layer above takes names away: the one that carried the data, the last one but one, all.
    group(b"links/lost-first", [b"links/kept-2", b"links/kept-3"], data=b"first name goes")
    group(b"links/alone-1", [b"links/alone-2"], data=b"one is left")
    group(b"links/gone-1", [b"links/gone-2"], data=b"all names go")
    group(b"links/split-1", [b"links/split-2", b"links/split-3"], data=b"one name gets a new file")
    group(b"links/hub", [b"links/hub-%04d" % i for i in range(1000)], data=b"1001 names")
    t.add(b"links/single", FILE, b"an upper layer links to this")
    # Chain: a link to a link.
    t.add(b"links/chain-1", FILE, b"chain")
    t.add(b"links/chain-2", LINK, link=b"links/chain-1")
    t.add(b"links/chain-3", LINK, link=b"./links/chain-2")


def below(t):
    """What the layers above change."""
    for d in (b"", b"lib/", b"wh/", b"wh/dir/", b"wh/dir/sub/", b"opq1/", b"opq1/sub/", b"opq2/", b"opq2/sub/", b"opq3/",
              b"becomes-file/", b"becomes-file/sub/", b"becomes-symlink/", b"again/", b"again/dir/", b"meta/", b"meta/quiet/"):
        t.add(b"up/" + d, DIR, mode=0o755, mtime=1500000000 * SECOND + len(d))
    for f in (b"lib/kept", b"wh/file", b"wh/kept", b"wh/dir/sub/f", b"opq1/old", b"opq1/sub/old", b"opq2/old", b"opq2/sub/old", b"opq3/old",
              b"becomes-file/sub/f", b"becomes-symlink/f", b"again/file", b"again/dir/old", b"meta/child", b"meta/quiet/child",
              b"becomes-dir", b"becomes-fifo", b"changed", b"mode-only"):
        t.add(b"up/" + f, FILE, b"lower " + f)
    t.add(b"up/wh/symlink", SYMLINK, link=b"kept", mode=0o777)
    t.add(b"up/wh/dirlink", SYMLINK, link=b"dir", mode=0o777)
    t.add(b"up/wh/fifo", FIFO)
    t.add(b"up/wh/null", CHR, rdev=(1, 3))
    t.add(b"up/wh/" + b"w" * 251, FILE, b"a whiteout's name has at most 255 bytes")
    t.add(b"up/wh/\xff\n", FILE, b"")
    t.add(b"up/link-becomes-dir", SYMLINK, link=b"lib", mode=0o777)


def upper(t):
    t.add(b"./up/wh/.wh.file", FILE, mode=0)
    for n in (b"symlink", b"dirlink", b"fifo", b"null", b"dir", b"w" * 251, b"\xff\n", b"never-was"):
        whiteout(t, b"up/wh/.wh." + n)
    # An opaque directory: the mark before its new children, after them, and alone.
    t.add(b"up/opq1/", DIR, mode=0o750, mtime=1510000000 * SECOND)
    whiteout(t, b"up/opq1/.wh..wh..opq")
    t.add(b"up/opq1/new", FILE, b"new")
    t.add(b"up/opq1/sub/", DIR, mode=0o755)
    t.add(b"up/opq1/sub/new", FILE, b"new")
    t.add(b"up/opq2/", DIR, mode=0o705, mtime=1510000001 * SECOND)
    t.add(b"up/opq2/new", FILE, b"new")
    t.add(b"up/opq2/sub/", DIR, mode=0o755)
    t.add(b"up/opq2/sub/new", FILE, b"new")
    whiteout(t, b"up/opq2/.wh..wh..opq")
    whiteout(t, b"up/opq3/.wh..wh..opq")
    # One kind becomes another.
    t.add(b"up/becomes-file", FILE, b"was a directory")
    t.add(b"up/becomes-symlink", SYMLINK, link=b"lib", mode=0o777)
    t.add(b"up/becomes-dir/", DIR, mode=0o755)
    t.add(b"up/becomes-dir/f", FILE, b"was a file")
    t.add(b"up/becomes-fifo", FIFO)
    t.add(b"up/link-becomes-dir/", DIR, mode=0o711)
    t.add(b"up/link-becomes-dir/f", FILE, b"was a symlink to a directory")
    # Removed and put back in one layer, in both orders.
    whiteout(t, b"up/again/.wh.file")
    t.add(b"up/again/file", FILE, b"again")
    t.add(b"up/again/dir/", DIR, mode=0o755)
    t.add(b"up/again/dir/new", FILE, b"again")
    whiteout(t, b"up/again/.wh.dir")
    # Only attributes change, of a directory with content and of files.
    t.add(b"up/meta", DIR, mode=0o1777, uid=33, gid=33, mtime=1520000000 * SECOND + 1, xattrs={b"user.new": b"1"})
    t.add(b"up/mode-only", FILE, b"lower mode-only", mode=0o4711)
    t.add(b"up/changed", FILE, b"upper")
    t.add(b"xattr/removed-above", FILE, b"v2", xattrs={b"user.both": b"2"})
    t.add(b"xattr/dir-removed-above/", DIR, mode=0o755)
    # Hard links.
    for n in (b"lost-first", b"alone-1", b"gone-1", b"gone-2"):
        whiteout(t, b"links/.wh." + n)
    t.add(b"links/split-2", FILE, b"a new file under one of three names")
    t.add(b"links/to-single", LINK, link=b"links/single")
    t.add(b"upper-links/", DIR, mode=0o755)
    t.add(b"upper-links/one", FILE, SHARED)
    t.add(b"upper-links/two", LINK, link=b"upper-links/one")
    # A file into a directory that this layer does not list: it keeps its attributes.
    t.add(b"up/meta/quiet/added", FILE, b"no parent entry in this layer")
    # Directories that no layer lists at all.
    t.add(b"implied/by/a/file", FILE, b"orphan")
    t.add(b"implied/link", SYMLINK, link=b"by", mode=0o777)
    # The same name twice: the later entry counts.
    t.add(b"up/twice", FILE, b"first, and longer than the second")
    t.add(b"up/twice", FILE, b"second", mode=0o600)
    t.add(b"up/twice-dir/", DIR, mode=0o700)
    t.add(b"up/twice-dir/f", FILE, b"stays")
    t.add(b"up/twice-dir/", DIR, mode=0o755)
    # Odd but legal spellings.
    t.add(b"./up//spelled", FILE, b"two slashes")
    t.add(b"up/./dotted", FILE, b"dot inside")
    t.add(b"/up/rooted", FILE, b"leading slash")
    # Content that a lower layer has already.
    t.add(b"data/same-4", FILE, SHARED)


def top(t):
    """Names come back after a whiteout in the layer between; the root itself changes."""
    t.add(b".", DIR, mode=0o751, uid=1, gid=2, mtime=1530000000 * SECOND + 999999999, xattrs={b"user.root": b"r"})
    t.add(b"up/wh/file", FILE, b"back")
    t.add(b"up/wh/dir", DIR, mode=0o700)
    t.add(b"up/wh/dir/other", FILE, b"back too")
    t.add(b"up/opq3/fresh", FILE, b"fresh")
    t.add(b"up/becomes-file/", DIR, mode=0o755)
    t.add(b"up/becomes-file/f", FILE, b"a directory once more")
    t.add(b"links/gone-1", FILE, b"a new life")
    whiteout(t, b"up/.wh.becomes-fifo")
    t.add(b"data/same-5", FILE, SHARED)
    t.add(b"many/", DIR, mode=0o755)
    for i in range(3000):
        t.add(b"many/entry-%06d" % (i * 7919 % 3000), FILE, b"%d\n" % i, mtime=(1700000000 + i) * SECOND)


def build(layout, types=OCI):
    tars = []

    def layer(compression, groups, restart=False, end=2):
        with layout.tar(compression, types=types, end=end) as t:
            for g in groups:
                g(t)
                if restart:
                    t.out.restart()
        tars.append(t)

    def root(t):
        t.add(b"./", DIR, mode=0o755, mtime=1400000000 * SECOND + 1)

    def comment(t):
        t.global_pax({b"comment": b"a global header, as git archive writes one"})

    layer("gzip", [root, kinds, owners_modes_times], end=20)
    layer("plain", [comment, xattrs, names, symlinks])
    layer("zstd", [contents, links, below], restart=True)
    layer("plain", [], end=2)
    layer("gzip", [upper, lambda t: t.add(b"late", FILE, b"")], restart=True)
    layer("zstd", [top])
    return layout.image(tars, types=types, config={"Cmd": ["/kinds/file"], "User": "1000:1000"})


def build_docker(layout):
    return build(layout, DOCKER)


def build_sparse_gnu(layout):
    """The oldest form of sparse files, as `tar --format=gnu -S` writes it: Go's programs refuse it."""
    with layout.tar("gzip") as t:
        t.add(b"./", DIR, mode=0o755)
        sparse_files(t, b"", "gnu")
    return layout.image([t])
