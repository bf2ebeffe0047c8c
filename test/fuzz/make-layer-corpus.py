#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the samples of the decompressor and of the layer reader into test/fuzz/corpus/. Of the reader: the layers of the malformed test images,
one for each defect, and good ones of every form. The first byte says how the rest is compressed: 0 not, 1 gzip, 2 zstd; 3: not, and the checksums of
headers are to be made right.
The outputs are committed; running this again with the same zlib and zstd gives the same bytes."""
import gzip
import json
import os
import pathlib
import sys
import tempfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "images"))

import malformed_tar  # noqa: E402, F401 (adds its cases)
import malformed_oci  # noqa: E402, F401
import torture  # noqa: E402
from layout import Layout  # noqa: E402
from malformed_case import CASES  # noqa: E402
from tarwriter import DIR, FILE, LINK, SYMLINK  # noqa: E402

FOLDER = HERE / "corpus" / "layer_reader"
LARGEST = 100000


def save(name, layout, descriptor):
    """The last layer of the image that `descriptor` names."""
    with open(layout.blob_path(descriptor["digest"]), "rb") as f:
        layer = json.load(f)["layers"][-1]
    kind = 1 if "gzip" in layer["mediaType"] else 2 if "zstd" in layer["mediaType"] else 0
    try:
        with open(layout.blob_path(layer["digest"]), "rb") as f:
            data = f.read(LARGEST)
    except FileNotFoundError:
        return
    if name.startswith("good-") and not kind:
        kind = 3
    (FOLDER / name).write_bytes(bytes([kind]) + data)


def merge(t):
    """Entries that change what the same layer, applied before, has left."""
    t.add(b"lib", SYMLINK, link=b"usr/lib")
    t.add(b"lib/x", FILE, b"through a symlink")
    t.add(b"gone/.wh..wh..opq", FILE)
    t.add(b"gone/new", FILE, b"new")
    t.add(b".wh.later", FILE)
    t.add(b"later", FILE, b"again")
    t.add(b"link", LINK, link=b"later")
    t.add(b"etc/passwd", FILE, b"root:x:0:0::/:/bin/sh\n")
    t.add(b"loop", SYMLINK, link=b"loop/loop")
    t.add(b"deep" + b"/d" * 300 + b"/", DIR)


def attributes(t):
    acl = b"user::rw-,user:1000:r--,group::r--,mask::rw-,other::r--"
    xattrs = {b"user.a": b"\0\1", b"trusted.overlay.opaque": b"y", b"security.capability": torture.capability()}
    t.add(b"f", FILE, b"f", xattrs=xattrs, mtime=-1, pax={b"SCHILY.acl.access": acl, b"LIBARCHIVE.xattr.user.%41": b"YQ"})


GOOD = {
    "kinds": torture.kinds,
    "sparse-1.0": lambda t: t.sparse(b"f", [(i * 16384, b"x") for i in range(40)], 1 << 20, "1.0"),
    "sparse-0.1": lambda t: t.sparse(b"f", [(i * 16384, b"x") for i in range(40)], 1 << 20, "0.1"),
    "sparse-gnu": lambda t: t.sparse(b"f", [(i * 16384, b"x") for i in range(40)], 1 << 20, "gnu"),
    "long-names": lambda t: [t.add(b"n" * 200, FILE, b"", form=f) for f in ("gnu", "pax")],
    "merge": merge,
    "attributes": attributes,
}


def streams():
    """For the decompressor alone: kind, size of the pieces, stream."""
    data = b"some text, some text, and some more of it"
    member = gzip.compress(data, mtime=0)
    fixed, rest = member[:10], member[10:]
    parts = fixed[:3] + b"\x1e" + fixed[4:] + b"\x05\x00extra" + b"name\0" + b"comment\0"
    checksum = (zlib.crc32(parts) & 0xFFFF).to_bytes(2, "little")
    flipped = bytes([member[-8] ^ 1])
    return {
        "good": member,
        "good-all-header-parts": parts + checksum + rest,
        "good-empty-extra": fixed[:3] + b"\x04" + fixed[4:] + b"\0\0" + rest,
        "good-two-members": member + member,
        "magic": b"\x1e" + member[1:],
        "method": member[:2] + b"\x07" + member[3:],
        "reserved-flag": fixed[:3] + b"\x20" + fixed[4:] + rest,
        "header-checksum": parts + bytes([checksum[0] ^ 1, checksum[1]]) + rest,
        "header-cut-off": parts,
        "checksum": member[:-8] + flipped + member[-7:],
        "length": member[:-1] + b"\1",
        "block-type": fixed + b"\x07" + rest[1:],
        "no-trailer": member[:-8],
        "behind-it": member + b"x",
    }


def main():
    folder = HERE / "corpus" / "decompress"
    folder.mkdir(parents=True, exist_ok=True)
    for name, stream in streams().items():
        (folder / name).write_bytes(b"\0\2" + stream)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name, add in GOOD.items():
            for compression in ("plain", "gzip", "zstd") if name != "kinds" else ("gzip",):
                layout = Layout(os.path.join(work, name + compression))
                with layout.tar(compression) as t:
                    add(t)
                save(f"good-{name}-{compression}", layout, layout.image([t]))
        for name, _, where, _, function in CASES:
            if where in ("tar", "tree", "blob"):
                layout = Layout(os.path.join(work, "malformed-" + name))
                descriptor = function(layout)
                if descriptor is not None:
                    save(name, layout, descriptor)


if __name__ == "__main__":
    main()
