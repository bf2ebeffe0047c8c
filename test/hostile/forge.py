# SPDX-License-Identifier: Apache-2.0
#
# A sealed image taken apart with its key and sealed again with whatever a careless or hostile publisher
# could have put in: every step of proto/FORMAT.md can be overridden, all others stay consistent.

import base64
import copy
import ctypes
import hashlib
import hmac
import json
import os
import struct

BLOCK = 4096
ENTRY_SIZE = 64
TAG_SIZE = 16
DESCRIPTOR_SIZE = 256
AAD = b"cocoon/1 chunk"
DESCRIPTOR = struct.Struct("<8sIIQIIIIQ32s32s32s32s80s")
DESCRIPTOR_FIELDS = (
    "magic version suite image_size n_chunks n_blobs max_chunk_size n_meta_chunks meta_offset salt root_hash "
    "key_commitment blobs_digest reserved"
).split()
ENTRY = struct.Struct("<32sQII16s")
EXTENT = struct.Struct("<IIII32s")
ROOT = struct.Struct("<8sIIIIQQ")
HEADER = struct.Struct("<B3sIII")

_crypto = ctypes.CDLL("libcrypto.so.3")
_zstd = ctypes.CDLL("libzstd.so.1")
for _f in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"):
    getattr(_crypto, _f).restype = ctypes.c_void_p
for _f in ("ZSTD_compress", "ZSTD_decompress", "ZSTD_compressBound"):
    getattr(_zstd, _f).restype = ctypes.c_size_t


# Cryptography ----------------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def expand(prk, label, rest):
    return hmac.digest(prk, label + b"\0" + rest + b"\1", "sha256")


def _gcm(encrypt, key, nonce, data, tag):
    """(output, tag) of the whole message; the tag is checked when decrypting."""
    c = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    init = _crypto.EVP_EncryptInit_ex if encrypt else _crypto.EVP_DecryptInit_ex
    update = _crypto.EVP_EncryptUpdate if encrypt else _crypto.EVP_DecryptUpdate
    final = _crypto.EVP_EncryptFinal_ex if encrypt else _crypto.EVP_DecryptFinal_ex
    out, n = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int()
    tag = ctypes.create_string_buffer(tag, 16)
    try:
        good = init(c, ctypes.c_void_p(_crypto.EVP_aes_256_gcm()), None, key, nonce) == 1
        good = good and update(c, None, ctypes.byref(n), AAD, len(AAD)) == 1
        good = good and update(c, out, ctypes.byref(n), data, len(data)) == 1
        if not encrypt:
            good = good and _crypto.EVP_CIPHER_CTX_ctrl(c, 0x11, 16, tag) == 1
        good = good and final(c, None, ctypes.byref(n)) == 1
        if encrypt:
            good = good and _crypto.EVP_CIPHER_CTX_ctrl(c, 0x10, 16, tag) == 1
    finally:
        _crypto.EVP_CIPHER_CTX_free(c)
    if not good:
        raise ValueError("AES-GCM says no")
    return out.raw[: len(data)], tag.raw


def seal(key, m):
    return b"".join(_gcm(True, key, bytes(12), m, bytes(16)))


def unseal(key, stored):
    return _gcm(False, key, bytes(12), stored[:-TAG_SIZE], stored[-TAG_SIZE:])[0]


# Messages ---------------------------------------------------------------------------------------------------


def compress(data):
    out = ctypes.create_string_buffer(_zstd.ZSTD_compressBound(ctypes.c_size_t(len(data))))
    n = _zstd.ZSTD_compress(out, ctypes.c_size_t(len(out)), data, ctypes.c_size_t(len(data)), 3)
    return out.raw[:n]


def decompress(frame, size):
    out = ctypes.create_string_buffer(size)
    n = _zstd.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame)))
    if n != size:
        raise ValueError("zstd says no")
    return out.raw[:size]


def message(payload, plain_size, codec=1, payload_size=None, padding=b""):
    """§6: header ‖ payload ‖ padding."""
    size = len(payload) if payload_size is None else payload_size
    return HEADER.pack(codec, bytes(3), size, plain_size, 0) + payload + padding


def good_message(plain):
    return message(compress(plain), len(plain))


def message_plain(m):
    codec, _, size, plain_size, _ = HEADER.unpack_from(m)
    payload = m[HEADER.size : HEADER.size + size]
    return decompress(payload, plain_size) if codec else payload


# The image --------------------------------------------------------------------------------------------------


class Served:
    """What a host needs: the public documents and the stored chunks."""

    def __init__(self, manifest, descriptor, index, chunks):
        self.manifest, self.descriptor, self.index, self.chunks = manifest, descriptor, index, chunks
        self.n_meta = struct.unpack_from("<I", descriptor, 36)[0]

    def but(self, **other):
        """The same with other documents, not sealed again."""
        served = copy.copy(self)
        served.__dict__.update(other)
        return served

    @property
    def digest(self):
        return "sha256:" + hashlib.sha256(self.manifest).hexdigest()

    @property
    def identity(self):
        return "sha256:" + hashlib.sha256(self.descriptor).hexdigest()


def read_key(path):
    with open(path, encoding="ascii") as f:
        return base64.b64decode(f.read().splitlines()[1])


def load_served(layout):
    """Served, of the only image of an OCI layout."""

    def blob(digest):
        with open(os.path.join(layout, "blobs", *digest.split(":")), "rb") as f:
            return f.read()

    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        manifest = blob(json.load(f)["manifests"][0]["digest"])
    blobs = [blob(layer["digest"]) for layer in json.loads(manifest)["layers"]]
    descriptor = blobs[-1][-DESCRIPTOR_SIZE:]
    d = describe(descriptor)
    chunks = []
    for k in range(d["n_chunks"]):
        _, offset, size, of, _ = ENTRY.unpack_from(blobs[-1], k * ENTRY_SIZE)
        chunks.append(blobs[of][offset : offset + size])
    return Served(manifest, descriptor, blobs[-1][: d["meta_offset"]], chunks)


def describe(descriptor):
    return dict(zip(DESCRIPTOR_FIELDS, DESCRIPTOR.unpack(descriptor)))


def n_tree_blocks(n):
    total = 0
    while n > 1:
        n = -(-n // 128)
        total += n
    return total


def hash_tree(table, salt):
    """(root, hash blocks, root level first)."""
    levels, below = [], table
    while True:
        digests = [sha256(salt + below[at : at + BLOCK]) for at in range(0, len(below), BLOCK)]
        if len(digests) == 1:
            return digests[0], b"".join(reversed(levels))
        below = b"".join(digests)
        below += bytes(-len(below) % BLOCK)
        levels.append(below)


class Image:
    """Messages, keys and the map in the open; sealed() makes an image of them again. The functions that a
    caller may give to sealed() change one thing each, after which everything that covers it is made anew."""

    def __init__(self, served, key):
        self.served, self.d, self.key = served, describe(served.descriptor), key
        self.prk = hmac.digest(b"cocoon/1 image", key, "sha256")
        self.chunks = list(served.chunks)
        self.blob_of = [ENTRY.unpack_from(served.index, k * ENTRY_SIZE)[3] for k in range(len(self.chunks))]
        self.n_blobs = self.d["n_blobs"]
        root = message_plain(unseal(self.root_key(served.descriptor), self.chunks[0]))
        _, n_pages, n_config, n_startup, _, self.config_size, self.startup_size = ROOT.unpack_from(root)
        extents = [list(x) for x in EXTENT.iter_unpack(root[ROOT.size :])]
        self.pages = extents[:n_pages]
        self.config = extents[n_pages : n_pages + n_config]
        self.startup = extents[n_pages + n_config :]
        self.n_pages, self.n_config, self.n_startup = n_pages, n_config, n_startup
        self.map = [[list(x) for x in EXTENT.iter_unpack(self.plain(page))] for page in self.pages]

    def copy(self):
        return copy.deepcopy(self)

    def root_key(self, descriptor):
        zeroed = descriptor[:80] + bytes(32) + descriptor[112:]
        return expand(self.prk, b"cocoon/1 root chunk", struct.pack("<I", 1) + sha256(zeroed))

    def message(self, extent):
        return unseal(extent[4], self.chunks[extent[1]])

    def plain(self, extent):
        return message_plain(self.message(extent))

    def extents_of(self, number):
        all_extents = [x for page in self.map for x in page] + self.pages + self.config + self.startup
        return [x for x in all_extents if x[1] == number]

    def put(self, number, m, stored=None):
        """Chunk `number` becomes message m under a new key, wherever it stands in the map."""
        key = os.urandom(32)
        self.chunks[number] = seal(key, m) if stored is None else stored(key, m)
        for x in self.extents_of(number):
            x[4] = key

    def put_plain(self, number, plain):
        self.put(number, good_message(plain))

    def patch(self, offset, data):
        """Other bytes of the plaintext image at `offset`; data may span chunks."""
        for page in self.map:
            for x in page:
                start = x[0] * BLOCK
                low, high = max(start, offset), min(start + x[2], offset + len(data))
                if low < high:
                    plain = bytearray(self.plain(x))
                    plain[low - start : high - start] = data[low - offset : high - offset]
                    self.put_plain(x[1], bytes(plain))

    def read(self, offset, size):
        out = b""
        for page in self.map:
            for x in page:
                start = x[0] * BLOCK
                low, high = max(start, offset), min(start + x[2], offset + size)
                if low < high:
                    out += self.plain(x)[low - start : high - start]
        return out

    def recut(self, size, n_extents):
        """Metadata in chunks of `size` bytes of plaintext, the map in pages of `n_extents`."""
        extents, kept = [], []
        metadata, old_meta = [b""], self.d["n_meta_chunks"]

        def meta(first_block, plain):
            key = os.urandom(32)
            metadata.append(seal(key, good_message(plain)))
            return [first_block, len(metadata) - 1, len(plain), 0, key]

        def known(x):
            if x[1] >= old_meta:  # numbered anew when the number of metadata chunks is known
                kept.append(x)
                return [x]
            plain = self.plain(x)
            parts = [plain[at : at + size] for at in range(0, len(plain), size)]
            return [meta(x[0] + k * size // BLOCK, part) for k, part in enumerate(parts)]

        for page in self.map:
            for x in page:
                extents += known(x)
        config = [meta(0, self.plain(x)) for x in self.config]
        n_pages = -(-len(extents) // n_extents)
        shift = len(metadata) + n_pages - old_meta
        for x in kept:
            x[1] += shift
        self.map = [extents[k : k + n_extents] for k in range(0, len(extents), n_extents)]
        self.pages = [meta(page[0][0], bytes(EXTENT.size * len(page))) for page in self.map]
        self.config, self.startup, self.startup_size = config, [], 0
        self.n_pages, self.n_config, self.n_startup = n_pages, len(config), 0
        self.chunks = metadata + self.chunks[old_meta:]
        self.blob_of = [self.n_blobs - 1] * len(metadata) + self.blob_of[old_meta:]
        self.d["n_meta_chunks"] = len(metadata)

    def root(self):
        head = ROOT.pack(
            b"COCOONR1",
            self.n_pages,
            self.n_config,
            self.n_startup,
            0,
            self.config_size,
            self.startup_size,
        )
        return head + b"".join(EXTENT.pack(*x) for x in self.pages + self.config + self.startup)

    def sealed(self, root=None, descriptor=None, table=None, tree=None, manifest=None, page=None):
        """Served. root(bytes) -> bytes, descriptor(dict), table(list of entries), tree(bytes) -> bytes,
        manifest(dict), page(number, bytes) -> bytes."""
        for k, x in enumerate(self.pages):
            plain = b"".join(EXTENT.pack(*extent) for extent in self.map[k])
            plain = page(k, plain) if page else plain
            x[2] = len(plain)
            self.put_plain(x[1], plain)
        plain = self.root()
        m_root = good_message(root(plain) if root else plain)
        sizes = [len(m_root) + TAG_SIZE] + [len(c) for c in self.chunks[1:]]
        n = len(self.chunks)
        n_table = -(-n // 64)
        places = [0] * self.n_blobs
        places[-1] = (n_table + 1 + n_tree_blocks(n_table)) * BLOCK
        entries = []
        for k in range(n):
            entries.append([b"", places[self.blob_of[k]], sizes[k], self.blob_of[k], bytes(16)])
            places[self.blob_of[k]] += sizes[k]
        digests = []
        for b in range(self.n_blobs - 1):
            digests.append(sha256(b"".join(c for c, of in zip(self.chunks, self.blob_of) if of == b)))
        d = dict(self.d, n_chunks=n, n_blobs=self.n_blobs, salt=os.urandom(32), root_hash=bytes(32))
        d.update(meta_offset=(n_table + 1 + n_tree_blocks(n_table)) * BLOCK, blobs_digest=sha256(b"".join(digests)))
        if descriptor:
            descriptor(d)
        raw = DESCRIPTOR.pack(*(d[f] for f in DESCRIPTOR_FIELDS))
        self.chunks[0] = seal(self.root_key(raw), m_root)
        for e, chunk in zip(entries, self.chunks):
            e[0] = sha256(chunk)
        if table:
            table(entries)
        raw_table = b"".join(ENTRY.pack(*e) for e in entries)
        raw_table += bytes(-len(raw_table) % BLOCK)
        d["root_hash"], hashes = hash_tree(raw_table, d["salt"])
        if d.get("wrong_root"):
            d["root_hash"] = d["wrong_root"]
        raw = DESCRIPTOR.pack(*(d[f] for f in DESCRIPTOR_FIELDS))
        if tree:
            hashes = tree(hashes)
        index = raw_table + self.superblock(d, len(raw_table)) + hashes
        document = json.loads(self.served.manifest)
        for layer, digest, size in zip(document["layers"], digests, places):
            layer["digest"], layer["size"] = "sha256:" + digest.hex(), size
        last = document["layers"][-1]
        last["size"] = places[-1] + DESCRIPTOR_SIZE
        last["digest"] = "sha256:" + sha256(index + raw).hex()
        last["annotations"]["dev.cocoon.descriptor"] = "sha256:" + sha256(raw).hex()
        if manifest:
            manifest(document)
        return Served(json.dumps(document).encode(), raw, index, list(self.chunks))

    @staticmethod
    def superblock(d, table_size):
        head = b"verity\0\0" + struct.pack("<II", 1, 1) + sha256(d["salt"])[:16] + b"sha256".ljust(32, b"\0")
        head += struct.pack("<IIQH6x", BLOCK, BLOCK, table_size // BLOCK, 32) + d["salt"]
        return head.ljust(BLOCK, b"\0")
