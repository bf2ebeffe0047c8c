#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sizes of sealed chunks tell an observer without a key, measured on images that are sealed here.

sizes.py [--files N] [--secrets N] COCOON IMAGE WORK
  COCOON   the directory of the programs
  IMAGE    an OCI layout with tag latest: the known, public image (test/images/make.py debian)
  WORK     a directory for sealed images, which is made

Prints a table for each padding: how many lengths are unique, their entropy, and what an observer recognises
who has every file of the image and the publisher's source, but not the domain secret. He tries every way in
which a file can be cut: chunks of 64 to 512 KiB at block borders, compressed as the publisher does. A control
is the same file with its blocks in another order, which is in no image.
"""

import argparse
import collections
import ctypes
import glob
import gzip
import io
import json
import math
import os
import random
import struct
import subprocess
import tarfile

BLOCK = 4096
MIN, MAX = 16, 128  # blocks of a chunk
OVERHEAD = 16 + 16  # header and tag
ENTRY = struct.Struct("<32sQII16x")

zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_compress.restype = ctypes.c_size_t
zstd.ZSTD_compressBound.restype = ctypes.c_size_t
zstd.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
zstd.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
SCRATCH = ctypes.create_string_buffer(zstd.ZSTD_compressBound(MAX * BLOCK))


def padme(n):
    exponent = n.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (n + mask) & ~mask


def stored_size(plain, padding):
    packed = zstd.ZSTD_compress(SCRATCH, len(SCRATCH), plain, len(plain), 3)
    if packed > len(plain) - len(plain) // 32:
        packed = len(plain)
    used = 16 + packed
    return (padme(used) if padding == "padme" else used) + 16


class Sealed:
    def __init__(self, layout):
        def blob(digest):
            return os.path.join(layout, "blobs", "sha256", digest.removeprefix("sha256:"))

        with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
            entry = json.load(f)["manifests"][0]
        with open(blob(entry["digest"]), encoding="utf-8") as f:
            self.layers = json.load(f)["layers"]
        with open(blob(self.layers[-1]["digest"]), "rb") as f:
            index = f.read()
        n_chunks, _, _, self.n_meta = struct.unpack_from("<IIII", index, len(index) - 256 + 24)
        table = [ENTRY.unpack_from(index, 64 * i) for i in range(n_chunks)]
        self.ids = {id for id, _, _, _ in table[self.n_meta :]}
        self.lengths = [size for _, _, size, _ in table[self.n_meta :]]
        self.bytes = sum(layer["size"] for layer in self.layers)


def seal(cocoon, image, work, padding, secret):
    keys = os.path.join(work, "keys")
    os.makedirs(keys, mode=0o700, exist_ok=True)
    domain, recipient = os.path.join(keys, f"domain-{secret}"), os.path.join(keys, "guest.pem")
    for kind, path in (("domain", domain), ("recipient", recipient)):
        if not os.path.exists(path):
            subprocess.run([f"{cocoon}/cocoon", "keygen", kind, path], check=True, stdout=subprocess.DEVNULL)
    out = os.path.join(work, f"sealed-{os.path.basename(image)}-{padding}-{secret}")
    subprocess.run(
        [f"{cocoon}/cocoon", "convert", "--quiet", "--domain", domain, "--recipient", recipient + ".pub",
         "--pad", padding, f"oci:{image}:latest", f"oci:{out}:latest"], check=True,
    )
    return Sealed(out)


def entropy(lengths):
    n = len(lengths)
    return -sum(c / n * math.log2(c / n) for c in collections.Counter(lengths).values())


def alike(lengths):
    """To how many chunks of the image a chunk's length points, for the median chunk."""
    count = collections.Counter(lengths)
    return sorted(count[length] for length in lengths)[len(lengths) // 2]


def layer_files(image):
    """Contents of the regular files of the image's layers."""
    def blob(digest):
        return os.path.join(image, "blobs", "sha256", digest.removeprefix("sha256:"))

    with open(os.path.join(image, "index.json"), encoding="utf-8") as f:
        entry = json.load(f)["manifests"][0]
    with open(blob(entry["digest"]), encoding="utf-8") as f:
        layers = json.load(f)["layers"]
    for layer in layers:
        with gzip.open(blob(layer["digest"])) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if member.isreg():
                    yield member.name, member.size, tar.extractfile(member)


def known_files(image, n, least, most):
    picked = [(name, f.read()) for name, size, f in layer_files(image) if least <= size < most]
    random.Random(1).shuffle(picked)
    return picked[:n]


class KnownFile:
    def __init__(self, content, padding):
        self.content = content + bytes(-len(content) % BLOCK)
        self.n_blocks = len(self.content) // BLOCK
        self.padding = padding
        self.ways = {}

    def from_position(self, p):
        """Stored length -> block numbers where a chunk of that length that begins at p may end."""
        if p not in self.ways:
            self.ways[p] = collections.defaultdict(list)
            left = self.n_blocks - p
            for k in range(1, min(MAX, left) + 1):
                if k >= MIN or k == left:
                    self.ways[p][stored_size(self.content[p * BLOCK : (p + k) * BLOCK], self.padding)].append(p + k)
        return self.ways[p]

    def found_at(self, lengths):
        """In how many places of the table the file can be."""
        found = 0
        for start in range(len(lengths)):
            at = {0}
            for length in lengths[start:]:
                at = {end for p in at for end in self.from_position(p).get(length, ())}
                if self.n_blocks in at:
                    found += 1
                    break
                if not at:
                    break
        return found


def shuffled(content):
    blocks = [content[i : i + BLOCK] for i in range(0, len(content), BLOCK)]
    random.Random(2).shuffle(blocks)
    return b"".join(blocks)


def synthetic(work):
    """Layouts of images of one kind of content each."""
    rng = random.Random(3)
    words = [bytes(rng.randrange(97, 123) for _ in range(rng.randrange(2, 10))) for _ in range(3000)]

    def text(n):
        return b" ".join(rng.choices(words, k=n // 5))[:n]

    kinds = {
        "small texts": [text(int(rng.lognormvariate(8, 1.2))) for _ in range(6000)],
        "large texts": [text(rng.randrange(200000, 3000000)) for _ in range(20)],
        "noise": [rng.randbytes(rng.randrange(1000, 2000000)) for _ in range(40)],
    }
    for kind, files in kinds.items():
        layout = os.path.join(work, kind.replace(" ", "-"))
        tar = os.path.join(work, "layer.tar")
        with tarfile.open(tar, "w") as t:
            for i, content in enumerate(files):
                member = tarfile.TarInfo(f"file-{i}")
                member.size = len(content)
                t.addfile(member, io.BytesIO(content))
        for command in (["init", "--layout", layout], ["new", "--image", layout + ":latest"],
                        ["raw", "add-layer", "--image", layout + ":latest", tar]):
            subprocess.run(["umoci", *command], check=True, stderr=subprocess.DEVNULL)
        yield kind, layout


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--secrets", type=int, default=3)
    parser.add_argument("cocoon")
    parser.add_argument("image")
    parser.add_argument("work")
    o = parser.parse_args()
    os.makedirs(o.work)
    images = [("Debian, python3, numpy", o.image), *synthetic(o.work)]
    row("image", "padding", "data chunks", "unique lengths", "entropy, bits", "chunks of the median's length", "bytes", "cost")
    row(*["---"] * 8)
    debian = {}
    for name, image in images:
        for padding in ("none", "padme"):
            s = seal(o.cocoon, image, o.work, padding, 0)
            count = collections.Counter(s.lengths)
            unique = sum(1 for length in s.lengths if count[length] == 1)
            if padding == "none":
                base = s.bytes
            if image == o.image:
                debian[padding] = s
            row(name, padding, len(s.lengths), f"{100 * unique / len(s.lengths):.0f} %",
                f"{entropy(s.lengths):.1f} of {math.log2(len(s.lengths)):.1f}", alike(s.lengths), s.bytes,
                f"{100 * (s.bytes - base) / base:.2f} %")
    print()
    row("known file", "padding", "files tried", "found in one place only", "places found (mean)", "places of a control (mean)")
    row(*["---"] * 6)
    for least, most in ((128 << 10, 256 << 10), (256 << 10, 512 << 10)):
        files = known_files(o.image, o.files, least, most)
        for padding in ("none", "padme"):
            found = [KnownFile(content, padding).found_at(debian[padding].lengths) for _, content in files]
            control = [KnownFile(shuffled(content), padding).found_at(debian[padding].lengths) for _, content in files]
            row(f"{least >> 10} to {most >> 10} KiB", padding, len(files), found.count(1),
                f"{sum(found) / len(found):.1f}", f"{sum(control) / len(control):.1f}")
    print()
    sealed = [seal(o.cocoon, o.image, o.work, "padme", secret) for secret in range(o.secrets)]
    for i in range(len(sealed[0].layers) - 1):
        sizes = [s.layers[i]["size"] for s in sealed]
        print(f"layer {i} under {len(sizes)} domain secrets: {min(sizes)} to {max(sizes)} bytes, "
              f"{100 * (max(sizes) - min(sizes)) / min(sizes):.2f} % apart; "
              f"chunks in common: {len(sealed[0].ids & sealed[-1].ids)}")


if __name__ == "__main__":
    main()
