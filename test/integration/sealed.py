#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# What anybody can read of a sealed image (proto/FORMAT.md §3-§5), from the storage of a docker-registry.
"""sealed.py verity STORAGE MANIFEST       prints: file of the index blob, root hash, offset of the tree
sealed.py numbers STORAGE MANIFEST      prints: chunks, metadata chunks, bytes of the table, meta_offset, max_chunk_size
sealed.py chunk STORAGE MANIFEST N      prints: id in hex, stored size, file of its blob, offset there
sealed.py shared STORAGE BASE MANIFEST  how many chunks and bytes of MANIFEST are in BASE, as JSON

STORAGE is the registry's root directory, MANIFEST the digest of a sealed image's manifest.
"""

import json
import os
import struct
import sys

ENTRY = 64
TABLE_BLOCK = 4096


class Sealed:
    def __init__(self, storage, manifest):
        def blob(digest):
            digest = digest.removeprefix("sha256:")
            return os.path.join(storage, "docker/registry/v2/blobs/sha256", digest[:2], digest, "data")

        with open(blob(manifest), "rb") as f:
            self.manifest = json.load(f)
        self.blobs = [blob(layer["digest"]) for layer in self.manifest["layers"]]
        self.index = self.blobs[-1]
        with open(self.index, "rb") as f:
            f.seek(-256, os.SEEK_END)
            d = f.read(256)
            assert d[:8] == b"COCOOND1"
            self.n_chunks, _, self.max_chunk_size, self.n_meta_chunks, self.meta_offset = struct.unpack_from(
                "<IIIIQ", d, 24
            )
            self.root_hash = d[80:112].hex()
            self.table_size = -(-self.n_chunks * ENTRY // TABLE_BLOCK) * TABLE_BLOCK
            f.seek(0)
            self.table = [struct.unpack("<32sQII16x", f.read(ENTRY)) for _ in range(self.n_chunks)]
        # id -> stored size, of data chunks
        self.chunks = {chunk: size for chunk, _, size, _ in self.table[self.n_meta_chunks :]}


def shared(base, image):
    common = base.chunks.keys() & image.chunks.keys()
    layers = [{layer["digest"]: layer["size"] for layer in i.manifest["layers"]} for i in (base, image)]
    common_blobs = layers[0].keys() & layers[1].keys()
    return {
        "chunks": len(image.chunks),
        "chunks_shared": len(common),
        "bytes": sum(image.chunks.values()),
        "bytes_shared": sum(image.chunks[c] for c in common),
        "blobs": len(layers[1]),
        "blobs_shared": len(common_blobs),
        "blob_bytes_shared": sum(layers[1][b] for b in common_blobs),
    }


def main():
    command, args = sys.argv[1:2], sys.argv[2:]
    if command == ["verity"] and len(args) == 2:
        image = Sealed(*args)
        print(image.index, image.root_hash, image.table_size)
    elif command == ["numbers"] and len(args) == 2:
        image = Sealed(*args)
        print(image.n_chunks, image.n_meta_chunks, image.table_size, image.meta_offset, image.max_chunk_size)
    elif command == ["chunk"] and len(args) == 3:
        image = Sealed(*args[:2])
        chunk, offset, size, blob = image.table[int(args[2])]
        print(chunk.hex(), size, image.blobs[blob], offset)
    elif command == ["shared"] and len(args) == 3:
        print(json.dumps(shared(Sealed(args[0], args[1]), Sealed(args[0], args[2]))))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
