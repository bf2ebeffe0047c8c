# SPDX-License-Identifier: Apache-2.0
#
# Images with the right key, sealed as they have to be, whose contents are a lie: what a careless publisher, or
# one whose tools are broken, may have made. What is met while mounting is refused, all else is EIO.

import struct

import erofs
import forge
import source
from case import case, require
from forge import ENTRY, EXTENT, message

VICTIM, NEIGHBOUR = source.big(30), source.big(31)
LARGE_SIZE = 10 << 30


def victim_of(image, name=VICTIM):
    """The first extent of a file that has chunks of its own."""
    fs = erofs.Erofs(image.read(0, 1 << 20))
    inode = fs.inode(name)
    block = inode.start
    if inode.layout == erofs.CHUNKED:
        block = struct.unpack_from("<I", fs.data, (inode.end + 3) & ~3)[0]
    return next(x for page in image.map for x in page if x[0] <= block < x[0] + x[2] // 4096)


# A chunk -----------------------------------------------------------------------------------------------------


def chunk(name, words, make, outcome="E"):
    """make(plaintext) is the message that is sealed instead; or (message, function that seals)."""

    @case("publisher-chunk-" + name, outcome, words)
    def run(context):
        image = context.setup.image.copy()
        x = victim_of(image)
        made = make(image.plain(x))
        image.put(x[1], *(made if isinstance(made, tuple) else (made,)))
        with context.mount(image.sealed()) as (g, _):
            g.forget_peak()
            peak = g.peak_now()
            require(g.read(VICTIM) == (outcome == "R"), "readable, or not")
            require(g.read(NEIGHBOUR), "another file fails")
            require(g.peak_now() < peak + (32 << 20), f"{(g.peak_now() - peak) >> 20} MiB more")


def frame(blocks, size=None, window=None, dictionary=None, checksum=False):
    """A zstd frame: magic ‖ descriptor ‖ window ‖ dictionary ‖ content size ‖ blocks."""
    flags = (4 if checksum else 0) | (1 if dictionary is not None else 0) | (0xC0 if size is not None else 0)
    out = struct.pack("<IB", 0xFD2FB528, flags) + bytes([0xA8 if window is None else window])
    out += bytes([dictionary]) if dictionary is not None else b""
    return out + (struct.pack("<Q", size) if size is not None else b"") + blocks


def raw_blocks(plain, last=True):
    """Blocks of at most 128 KiB as they are."""
    out = b""
    for at in range(0, len(plain), 1 << 17):
        part = plain[at : at + (1 << 17)]
        end = last and at + len(part) == len(plain)
        out += struct.pack("<I", len(part) << 3 | end)[:3] + part
    return out


def rle_blocks(size):
    n = size >> 17
    return (struct.pack("<I", 1 << 20 | 2)[:3] + b"x") * (n - 1) + struct.pack("<I", 1 << 20 | 3)[:3] + b"x"


SKIPPABLE = struct.pack("<II", 0x184D2A50, 8) + bytes(8)


def packed(make_frame):
    return lambda plain: message(make_frame(plain), len(plain))


def header(codec=1, reserved=bytes(3), payload=None, size=None, end=0):
    def make(plain):
        frame_ = forge.compress(plain)
        return forge.HEADER.pack(codec, reserved, len(frame_) if payload is None else payload, len(plain) if size is None else size, end) + frame_

    return make


chunk("good", "nothing, for comparison", forge.good_message, "R")
chunk("good-raw", "not compressed, which is allowed", lambda p: message(p, len(p), codec=0), "R")
chunk("good-own-frame", "a frame made here, for comparison", packed(lambda p: frame(raw_blocks(p), len(p))), "R")
chunk("bomb-said", "a frame that says 10 GiB", packed(lambda p: frame(rle_blocks(LARGE_SIZE), LARGE_SIZE)))
chunk("bomb-unsaid", "a frame that says nothing and has 10 GiB", packed(lambda p: frame(rle_blocks(LARGE_SIZE))))
chunk("bomb-hidden", "a frame that says the right size and has 10 GiB", packed(lambda p: frame(rle_blocks(LARGE_SIZE), len(p))))
chunk("bomb-header", "10 GiB, and a header with the largest size there is", lambda p: message(frame(rle_blocks(LARGE_SIZE)), 0xFFFFFFFF))
chunk("window-2-gib", "a window of 2 GiB: not used where all is decompressed at once", packed(lambda p: frame(raw_blocks(p), len(p), window=0xA8 | 7)), "R")
chunk("window-largest", "the largest window there is", packed(lambda p: frame(raw_blocks(p), len(p), window=0xFF)))
chunk("two-frames", "two frames", packed(lambda p: forge.compress(p[:5000]) + forge.compress(p[5000:])))
chunk("frame-behind", "an empty frame behind the right one", packed(lambda p: forge.compress(p) + forge.compress(b"")))
chunk("skippable-before", "a skippable frame in front", packed(lambda p: SKIPPABLE + forge.compress(p)))
chunk("skippable-behind", "a skippable frame behind", packed(lambda p: forge.compress(p) + SKIPPABLE))
chunk("skippable-only", "only a skippable frame", packed(lambda p: SKIPPABLE))
chunk("dictionary", "a frame that wants a dictionary", packed(lambda p: frame(raw_blocks(p), len(p), dictionary=7)))
chunk("checksum-wrong", "a frame with a wrong checksum", packed(lambda p: frame(raw_blocks(p), len(p), checksum=True) + b"abcd"))
chunk("block-reserved", "a block of the reserved type", packed(lambda p: frame(b"\x07\0\0", len(p))))
chunk("block-unfinished", "no last block", packed(lambda p: frame(raw_blocks(p, last=False), len(p))))
chunk("magic-old", "a frame of an old version of zstd", packed(lambda p: struct.pack("<I", 0xFD2FB527) + forge.compress(p)[4:]))
chunk("gzip", "gzip instead of zstd", packed(lambda p: b"\x1f\x8b\x08\0\0\0\0\0\0\0" + bytes(100)))
chunk("byte-short", "a byte less than said", lambda p: message(forge.compress(p[:-1]), len(p)))
chunk("byte-long", "a byte more than said", lambda p: message(forge.compress(p + b"x"), len(p)))
chunk("smaller", "consistent, but smaller than the map says", lambda p: forge.good_message(p[:4096]))
chunk("larger", "consistent, but larger than the map says", lambda p: forge.good_message(p + bytes(4096)))
chunk("codec-2", "an unknown codec", header(codec=2))
chunk("codec-255", "codec 255", header(codec=255))
chunk("raw-of-another-size", "raw, with a payload of another size", lambda p: message(p, len(p), codec=0, payload_size=len(p) - 1))
chunk("reserved", "a reserved byte", header(reserved=b"\0\1\0"))
chunk("reserved-end", "a reserved byte at the header's end", header(end=1 << 31))
chunk("payload-0", "no payload", header(payload=0))
chunk("payload-1", "a payload of a byte", header(payload=1))
chunk("payload-past-the-end", "a payload past the end", header(payload=1 << 20))
chunk("payload-2-to-32", "a payload of 2^32 − 1", header(payload=0xFFFFFFFF))
chunk("size-0", "0 bytes of plaintext", header(size=0))
chunk("size-2-to-32", "2^32 − 1 bytes of plaintext", header(size=0xFFFFFFFF))
chunk("padding", "padding that is not zero", lambda p: message(forge.compress(p), len(p), padding=bytes(9) + b"\1"))
chunk("header-cut", "17 bytes", lambda p: forge.good_message(p)[:17])
chunk("tag", "the tag wrong, the id right", lambda p: (forge.good_message(p), lambda k, m: forge.seal(k, m)[:-1] + b"\0"))
chunk("another-key", "sealed under another key than the map's", lambda p: (forge.good_message(p), lambda k, m: forge.seal(bytes(32), m)))
chunk("short-tag", "12 bytes of tag and zeros", lambda p: (forge.good_message(p), lambda k, m: forge.seal(k, m)[:-4] + bytes(4)))


# The table ----------------------------------------------------------------------------------------------------


def table(name, words, change, of_metadata=False):
    """change(entry) spoils the entry of the victim, or of a chunk of metadata."""

    @case("publisher-table-" + name, "M" if of_metadata else "E", words)
    def run(context):
        image = context.setup.image.copy()
        number = image.map[0][0][1] if of_metadata else victim_of(image)[1]
        served = image.sealed(table=lambda entries: change(entries[number]))
        if of_metadata:
            context.refused(served)
            return
        with context.mount(served) as (g, _):
            require(not g.read(VICTIM), "readable")
            require(g.read(NEIGHBOUR), "another file fails")


def entry(**fields):
    names = ("id", "offset", "size", "blob", "reserved")

    def change(e):
        for k, v in fields.items():
            e[names.index(k)] = v(e[names.index(k)]) if callable(v) else v

    return change


table("id", "another id", entry(id=bytes(32)))
table("size-0", "a stored size of 0", entry(size=0))
table("size-32", "a stored size of 32", entry(size=32))
table("size-more", "a stored size of one more", entry(size=lambda n: n + 1))
table("size-less", "a stored size of one less", entry(size=lambda n: n - 1))
table("size-over-the-cap", "a stored size of one over the cap", entry(size=1114113))
table("size-2-to-31", "a stored size of 2^31", entry(size=1 << 31))
table("offset-2-to-64", "an offset that overflows", entry(offset=2**64 - 1))
table("offset-2-to-63", "an offset of 2^63", entry(offset=2**63))
table("offset-past-the-end", "an offset past the blob's end", entry(offset=1 << 40))
table("blob-past-the-last", "blob 3 of 3", entry(blob=3))
table("blob-2-to-32", "blob 2^32 − 1", entry(blob=0xFFFFFFFF))
table("data-in-the-index", "data in the index blob", entry(blob=2))
table("reserved", "a reserved byte", entry(reserved=b"\1" + bytes(15)))
table("metadata-in-a-data-blob", "metadata in a data blob", entry(blob=0, offset=0), of_metadata=True)
table("metadata-in-the-table", "metadata inside the table", entry(offset=0), of_metadata=True)
table("metadata-in-the-descriptor", "metadata inside the descriptor", entry(offset=lambda n: n + (1 << 20)), of_metadata=True)
table("metadata-id", "another id of metadata", entry(id=bytes(32)), of_metadata=True)


@case("publisher-table-same-place-twice", "E", "two chunks at one place")
def same_place(context):
    image = context.setup.image.copy()
    a, b = victim_of(image)[1], victim_of(image, NEIGHBOUR)[1]

    def change(entries):
        entries[a][:] = entries[b]

    served = image.sealed(table=change)
    served.chunks[a] = served.chunks[b]
    with context.mount(served) as (g, _):
        require(not g.read(VICTIM), "readable")
        require(g.read(NEIGHBOUR), "another file fails")


# The descriptor ------------------------------------------------------------------------------------------------


def refused(name, words, **changes):
    """Changes as Image.sealed() takes them, of a fresh copy; `image` changes that."""
    spoil = changes.pop("image", None)

    @case("publisher-" + name, "M", words, fronts=("tree",))
    def run(context):
        image = context.setup.image.copy()
        if spoil:
            spoil(image)
        context.refused(image.sealed(**changes))


def descriptor(name, words, **fields):
    refused("descriptor-" + name, words, descriptor=lambda d: d.update({k: v(d[k]) if callable(v) else v for k, v in fields.items()}))


descriptor("magic", "another magic", magic=b"COCOOND2")
descriptor("version-2", "version 2", version=2)
descriptor("suite-0", "no suite", suite=0)
descriptor("suite-2", "another suite", suite=2)
descriptor("size-0", "an image of no bytes", image_size=0)
descriptor("size-4095", "a size that is not in blocks", image_size=4095)
descriptor("size-more", "a block more than the map has", image_size=lambda n: n + 4096)
descriptor("size-less", "a block less than the map has", image_size=lambda n: n - 4096)
descriptor("size-2-to-44", "2^44 bytes", image_size=1 << 44)
descriptor("size-2-to-63", "2^63 bytes", image_size=1 << 63)
descriptor("chunks-1", "one chunk", n_chunks=1)
descriptor("chunks-more", "a chunk more than the table", n_chunks=lambda n: n + 200)
descriptor("chunks-less", "half of the chunks", n_chunks=lambda n: n // 2 - 1)
descriptor("chunks-2-to-30", "2^30 chunks, with the tree's size that belongs to them", n_chunks=1 << 30, meta_offset=(2**24 + 1 + forge.n_tree_blocks(2**24)) * 4096)
descriptor("chunks-2-to-32", "2^32 − 1 chunks", n_chunks=0xFFFFFFFF)
descriptor("blobs-more", "a blob more than the manifest", n_blobs=lambda n: n + 1)
descriptor("blobs-1", "one blob", n_blobs=1)
descriptor("blobs-2-to-32", "2^32 − 1 blobs", n_blobs=0xFFFFFFFF)
descriptor("chunk-size-0", "chunks of no bytes", max_chunk_size=0)
descriptor("chunk-size-odd", "a chunk size that is no power of two", max_chunk_size=(1 << 19) + 4096)
descriptor("chunk-size-2-mib", "chunks of 2 MiB", max_chunk_size=1 << 21)
descriptor("chunk-size-2-gib", "chunks of 2 GiB", max_chunk_size=1 << 31)
descriptor("chunk-size-small", "chunks of a block, but larger ones are there", max_chunk_size=4096)
descriptor("meta-chunks-0", "no metadata", n_meta_chunks=0)
descriptor("meta-chunks-more", "more metadata than chunks", n_meta_chunks=1 << 20)
descriptor("meta-chunks-less", "one chunk of metadata", n_meta_chunks=1)
descriptor("meta-offset-0", "metadata over the table", meta_offset=0)
descriptor("meta-offset-in-the-tree", "metadata over the hash tree", meta_offset=lambda n: n - 4096)
descriptor("meta-offset-more", "a gap before the metadata", meta_offset=lambda n: n + 4096)
descriptor("meta-offset-2-to-64", "metadata at 2^64 − 1", meta_offset=2**64 - 1)
descriptor("commitment", "another commitment", key_commitment=bytes(32))
descriptor("blobs-digest", "another digest of the blobs", blobs_digest=bytes(32))
descriptor("reserved", "a reserved byte", reserved=bytes(79) + b"\1")
refused("tree-root", "another root hash", descriptor=lambda d: d.update(wrong_root=bytes(32)))


# The root chunk ------------------------------------------------------------------------------------------------


def root(name, words, change):
    refused("root-" + name, words, root=change)


def root_field(at, form, value):
    return lambda r: r[:at] + struct.pack(form, value) + r[at + struct.calcsize(form) :]


root("magic", "another magic", root_field(0, "<8s", b"COCOONR2"))
root("pages-0", "no map", root_field(8, "<I", 0))
root("pages-more", "a page more", root_field(8, "<I", 2))
root("pages-2-to-32", "2^32 − 1 pages", root_field(8, "<I", 0xFFFFFFFF))
root("config-0", "no config", root_field(12, "<I", 0))
root("config-2-to-32", "2^32 − 1 chunks of config", root_field(12, "<I", 0xFFFFFFFF))
root("startup-2-to-32", "2^32 − 1 chunks of a start-up list", root_field(16, "<I", 0xFFFFFFFF))
root("counts-overflow", "counts whose sum is right modulo 2^32", lambda r: r[:8] + struct.pack("<III", 0x80000001, 0x80000001, 1) + r[20:])
root("reserved", "a reserved byte", root_field(20, "<I", 1))
root("config-size-0", "a config of no bytes", root_field(24, "<Q", 0))
root("config-size-17-mib", "a config of 17 MiB", root_field(24, "<Q", 17 << 20))
root("config-size-2-to-64", "a config of 2^64 − 1 bytes", root_field(24, "<Q", 2**64 - 1))
root("startup-size-3", "a start-up list of 3 bytes", root_field(32, "<Q", 3))
root("startup-size-2-to-63", "a start-up list of 2^63 bytes", root_field(32, "<Q", 1 << 63))
root("empty", "nothing but a byte", lambda r: b"C")
root("cut", "a byte short", lambda r: r[:-1])
root("trailing", "a byte long", lambda r: r + b"\0")
root("page-first-block", "a map page that begins later", root_field(40, "<I", 1))
root("page-is-the-root", "the root as a map page", root_field(44, "<I", 0))
root("page-past-the-last", "a map page past the last chunk", root_field(44, "<I", 1 << 20))
root("page-size-0", "a map page of no bytes", root_field(48, "<I", 0))
root("page-size-2-to-32", "a map page of 2^32 − 1 bytes", root_field(48, "<I", 0xFFFFFFFF))
root("page-reserved", "a reserved byte of an extent", root_field(52, "<I", 1))
root("page-key-0", "a key of zeros", root_field(56, "<32s", bytes(32)))
root("rows-swapped", "the rows of map page and config exchanged", lambda r: r[:40] + r[88:136] + r[40:88] + r[136:])


# The map -------------------------------------------------------------------------------------------------------


def page(name, words, change):
    """change(list of extents)"""

    def spoiled(_, plain):
        extents = [list(x) for x in EXTENT.iter_unpack(plain)]
        extents = change(extents) or extents
        return extents if isinstance(extents, bytes) else b"".join(EXTENT.pack(*x) for x in extents)

    refused("map-" + name, words, page=spoiled)


def put(k, field, value):
    def change(extents):
        extents[k][field] = value(extents[k][field]) if callable(value) else value

    return change


page("gap", "a gap", put(5, 0, lambda n: n + 1))
page("overlap", "an overlap", put(5, 0, lambda n: n - 1))
page("begins-late", "the first extent not at block 0", put(0, 0, 1))
page("ends-early", "the last extent missing", lambda x: x[:-1])
page("ends-late", "an extent behind the last", lambda x: x + [[x[-1][0] + x[-1][2] // 4096, x[-1][1], 4096, 0, x[-1][4]]])
page("rows-swapped", "two rows exchanged", lambda x: x[:3] + [x[4], x[3]] + x[5:])
page("row-twice", "a row twice", lambda x: x[:4] + x[3:])
page("size-odd", "a size that is not in blocks", put(5, 2, lambda n: n - 1))
page("size-0", "an extent of no bytes", put(5, 2, 0))
page("size-2-to-32", "an extent of 2^32 − 4096 bytes", put(5, 2, 2**32 - 4096))
page("chunk-is-the-root", "the root as data", put(5, 1, 0))
page("chunk-past-the-last", "a chunk past the last", put(5, 1, 1 << 20))
page("reserved", "a reserved byte", put(5, 3, 1))
page("byte-long", "a byte behind it", lambda x: b"".join(EXTENT.pack(*y) for y in x) + b"\0")
page("row-cut", "half a row at the end", lambda x: b"".join(EXTENT.pack(*y) for y in x)[:-24])


def rows(name, words, change):
    """change(extent of the victim, of its neighbour): a map that is well-formed and wrong."""

    @case("publisher-map-" + name, "E", words)
    def run(context):
        image = context.setup.image.copy()
        change(victim_of(image), victim_of(image, NEIGHBOUR))
        with context.mount(image.sealed()) as (g, _):
            require(not g.read(VICTIM), "readable")
            require(g.read(source.big(33)), "another file fails")


def swap(field):
    def change(a, b):
        a[field], b[field] = b[field], a[field]

    return change


def one_chunk_two_keys(a, b):
    a[1] = b[1]


rows("keys-swapped", "the keys of two rows exchanged", swap(4))
rows("chunks-swapped", "the chunks of two rows exchanged", swap(1))
rows("two-keys", "one chunk under two keys", one_chunk_two_keys)
rows("key-0", "a key of zeros", lambda a, b: a.__setitem__(4, bytes(32)))


def startup(name, outcome, words, numbers):
    @case("publisher-startup-" + name, outcome, words)
    def run(context):
        image = context.setup.image.copy()
        listed = numbers(image.d)
        plain = struct.pack(f"<{len(listed)}I", *listed)
        image.startup_size = image.startup[0][2] = len(plain)
        image.put_plain(image.startup[0][1], plain)
        if outcome == "M":
            context.refused(image.sealed())
            return
        with context.mount(image.sealed(), cache="32M") as (g, _):
            g.all_right()


startup("past-the-last", "M", "a start-up list with a chunk past the last", lambda d: [d["n_chunks"]])
startup("2-to-32", "M", "a start-up list with chunk 2^32 − 1", lambda d: [0xFFFFFFFF] * 3)
startup("repeated", "R", "a start-up list of one chunk, again and again: advice", lambda d: [d["n_chunks"] - 1] * d["n_chunks"])
startup("metadata", "R", "a start-up list of metadata", lambda d: [1, 2, 3])


# The filesystem ------------------------------------------------------------------------------------------------


def filesystem(name, words, change, outcome="E", gone=()):
    """change(Erofs, patch(offset, bytes)). E: what is spoiled is EIO, everything else is right. Only where this
    program reads the filesystem: in the other front the kernel does."""

    @case("publisher-fs-" + name, outcome, words, fronts=("tree",))
    def run(context):
        image = context.setup.image.copy()
        fs = erofs.Erofs(bytearray(image.read(0, 1 << 20)))

        def patch(at, data):
            fs.data[at : at + len(data)] = data
            image.patch(at, data)

        change(fs, patch)
        super_block = bytes(fs.data[erofs.SUPER : 4096])
        if name not in ("checksum", "magic"):
            patch(erofs.SUPER + 4, struct.pack("<I", erofs.crc32c(super_block[:4] + bytes(4) + super_block[8:])))
        served = image.sealed()
        if outcome == "M":
            context.refused(served)
            return
        with context.mount(served) as (g, _):
            require(g.survey() > 0, "not noticed")
            require(g.read(NEIGHBOUR), "another file fails")


def super_field(at, form, value):
    return lambda fs, patch: patch(erofs.SUPER + at, struct.pack(form, value))


def entry_nid(path, nid):
    return lambda fs, patch: patch(fs.entry(path).at, struct.pack("<Q", nid(fs) if callable(nid) else nid))


def entry_name(path, new):
    def change(fs, patch):
        e = fs.entry(path)
        patch(e.name_at, new if isinstance(new, bytes) else new(e.name.encode()))

    return change


def inode_field(path, at, form, value):
    def change(fs, patch):
        x = fs.inode(path)
        patch(at(x), struct.pack(form, value(x) if callable(value) else value))

    return change


def _entry(k):
    return f"many/entry-{source.CANARY}-{k:04}"


filesystem("magic", "no EROFS", super_field(0, "<I", 0), "M")
filesystem("checksum", "a wrong checksum", super_field(4, "<I", 1), "M")
filesystem("block-bits", "blocks of 512 bytes", super_field(12, "<B", 9), "M")
filesystem("features", "an unknown feature", super_field(80, "<I", 1 << 30), "M")
filesystem("blocks", "more blocks than the image has", super_field(36, "<I", 0xFFFFFFFF), "M")
filesystem("inodes-outside", "inodes past the end", super_field(40, "<I", 0xFFFFFF), "M")
filesystem("root-nid", "a root that is not there", super_field(14, "<H", 0xFFFF), "M")
filesystem("root-is-a-file", "a root that is a file", inode_field("", lambda x: x.offset + 4, "<H", 0o100644), "M")
filesystem("name-slash", "a name with a slash", entry_name("deep/er", b"e/"))
filesystem("name-nul", "a name with a zero byte", entry_name(_entry(70), lambda n: n[:7] + b"\0" + n[8:]))
filesystem("name-dots", "a second ..", entry_name("deep/er", b".."))
filesystem("name-twice", "a name twice in one directory", entry_name(_entry(20), lambda n: n[:-4] + b"0019"))
filesystem("names-unsorted", "names out of order", entry_name(_entry(20), lambda n: b"a" + n[1:]))
filesystem("name-offset", "a name outside its block", lambda fs, patch: patch(fs.entry(_entry(30)).at + 8, struct.pack("<H", 0xFFFF)))
filesystem("name-empty", "an empty name", lambda fs, patch: patch(fs.entry(_entry(31)).at + 8, bytes(fs.data[fs.entry(_entry(30)).at + 8 :][:2])))
filesystem("first-offset", "a block that says it has no entries", lambda fs, patch: patch(fs.entry("deep/.").at + 8, b"\0\0"))
filesystem("nid-2-to-63", "an inode number of 2^63", entry_nid("replaced", 1 << 63))
filesystem("nid-outside", "an inode past the end", entry_nid("replaced", 1 << 40))
filesystem("nid-0", "inode 0, which is the superblock's place", entry_nid("replaced", lambda fs: (erofs.SUPER - fs.meta) // 32 if fs.meta < erofs.SUPER else 0))
filesystem("directory-linked-twice", "a directory under two names", entry_nid("deep/er", lambda fs: fs.entry("links").nid))
filesystem("directory-cycle", "a directory inside itself", entry_nid("deep/er", lambda fs: fs.entry("deep").nid))
filesystem("directory-is-the-root", "the root inside itself", entry_nid("deep/er", lambda fs: fs.root))
filesystem("type", "a file where the entry says directory", entry_nid("deep/er", lambda fs: fs.entry("replaced").nid))
filesystem("mode", "no known type", inode_field("replaced", lambda x: x.offset + 4, "<H", 0))
filesystem("no-links", "a file with no link", inode_field("replaced", lambda x: x.nlink_at, "<H", 0))
filesystem("layout", "a compressed file", inode_field("replaced", lambda x: x.offset, "<H", 1 << 1))
filesystem("xattrs", "an attribute area of one word", inode_field(_entry(5), lambda x: x.offset + 2, "<H", 1))
filesystem("link-empty", "a symbolic link of no bytes", inode_field("links/link-0", lambda x: x.size_at, "<I", 0))
filesystem("link-4096", "a symbolic link of 4096 bytes", inode_field("links/link-0", lambda x: x.size_at, "<I", 4096))
filesystem("link-nul", "a zero byte in a symbolic link", lambda fs, patch: patch(fs.pieces(fs.inode("links/link-1"))[0][0] + 3, b"\0"))
filesystem("directory-empty", "a directory of no bytes", inode_field("deep", lambda x: x.size_at, "<I", 0))
filesystem("directory-huge", "a directory of 4 GiB", inode_field("deep", lambda x: x.size_at, "<I", 0xFFFFFFFF))
filesystem("data-outside", "data past the end", inode_field(_entry(6), lambda x: x.size_at, "<I", 0x7FFFFFFF))
filesystem("inline-crosses", "inline data that crosses a block", inode_field("deep", lambda x: x.size_at, "<I", 4090))
