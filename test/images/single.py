# SPDX-License-Identifier: Apache-2.0
#
# Images that hold one thing each: nothing, a huge directory, a huge file, huge attributes, several
# platforms.

import random

from layout import to_json
from tarwriter import DIR, FILE, SYMLINK

SECOND = 10**9
MIB = 1 << 20


def empty(layout):
    with layout.tar("gzip") as t:
        pass
    return layout.image([t])


def bigdir(layout):
    n = 100000
    with layout.tar("gzip", level=1) as t:
        t.add(b"./", DIR, mode=0o755)
        t.add(b"big/", DIR, mode=0o755, mtime=1600000000 * SECOND + 1)
        for i in range(n):
            k = i * 48271 % n  # not in order of name; 48271 has no common factor with n
            t.add(b"big/entry-%06d" % k, FILE, b"%d" % k if k % 4 else b"", mtime=(1600000000 + k) * SECOND)
    return layout.image([t])


def busybox(layout):
    """A system of one static program, and 4 MiB that no compression makes smaller."""
    with open("/bin/busybox", "rb") as f:
        program = f.read()
    with layout.tar("gzip") as t:
        t.add(b"./", DIR, mode=0o755)
        for name in (b"bin/", b"proc/", b"sys/", b"dev/", b"etc/", b"tmp/"):
            t.add(name, DIR, mode=0o755)
        t.add(b"bin/busybox", FILE, program, mode=0o755)
        for name in (b"sh", b"cat", b"sha256sum", b"echo", b"ls", b"touch"):
            t.add(b"bin/" + name, SYMLINK, link=b"busybox", mode=0o777)
    with layout.tar("gzip") as data:
        data.add(b"data/", DIR, mode=0o755)
        data.add(b"data/random", FILE, random.Random("busybox").randbytes(4 * MIB))
    return layout.image([t, data])


def xattr_large(layout):
    noise = random.Random("xattr-large").randbytes(65535)
    with layout.tar("zstd") as t:
        t.add(b"./", DIR, mode=0o755)
        for size in (4000, 4096, 16384, 60000, 65535):
            t.add(b"value-%d" % size, FILE, b"%d" % size, xattrs={b"user.large": noise[:size]})
            t.add(b"dir-%d/" % size, DIR, mode=0o755, xattrs={b"trusted.large": noise[:size]})
        t.add(b"three", FILE, b"3", xattrs={b"user.%d" % i: noise[i : i + 40000] for i in range(3)})
        t.add(b"symlink", SYMLINK, link=b"three", mode=0o777, xattrs={b"trusted.large": noise[:30000]})
        # Near the 64 KiB that a list of names may take.
        t.add(b"names", FILE, b"n", xattrs={b"user.%04d" % i + b"x" * 241: b"v" for i in range(250)})
    return layout.image([t])


def numbered_blocks(total):
    """Data that packs to about a tenth, yet no 4 KiB of it is like another: noise of 256 bytes, its
    number, and text."""
    noise = random.Random("big5g").randbytes(256 * 256)
    text = (b"The quick brown fox jumps over the lazy dog. " * 90)[: 4096 - 256 - 16]
    for mib in range(total // MIB):
        yield b"".join(
            b"%016x" % (mib * 256 + i) + noise[i * 256 : i * 256 + 256] + text for i in range(256)
        )


def big5g(layout):
    size = 5 << 30
    with layout.tar("zstd", level=1) as t:
        t.add(b"./", DIR, mode=0o755)
        t.add(b"big", FILE, numbered_blocks(size), size=size, mtime=1600000000 * SECOND + 5)
    return layout.image([t])


def sparse8g(layout):
    rng = random.Random("sparse8g")
    offsets = [0, 4096 * 3, MIB, (1 << 30) - 4096, (2 << 30) - 512, (4 << 30) - 4096, (4 << 30) + 32768, 6 << 30]
    extents = [(o, rng.randbytes(20480 if o % 4096 == 0 and o > 4096 * 3 else 4096)) for o in offsets]
    with layout.tar("gzip") as t:
        t.add(b"./", DIR, mode=0o755)
        t.sparse(b"sparse", extents, 8 << 30)
        t.sparse(b"all-hole", [], (4 << 30) + 1)
    return layout.image([t])


def multiarch(layout):
    manifests = []
    for arch, variant in (("amd64", None), ("arm64", "v8"), ("arm", "v7")):
        with layout.tar("gzip") as t:
            t.add(b"./", DIR, mode=0o755)
            t.add(b"arch", FILE, arch.encode() + b"\n")
            t.add(b"only-" + arch.encode(), FILE, b"")
        platform = {"os": "linux", "architecture": arch}
        if variant:
            platform["variant"] = variant
        manifests.append({**layout.image([t], architecture=arch), "platform": platform})
    kind = "application/vnd.oci.image.index.v1+json"
    body = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
    return layout.add_blob(to_json(body), kind)
