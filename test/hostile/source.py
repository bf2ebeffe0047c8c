# SPDX-License-Identifier: Apache-2.0
#
# The image that the liar serves: two layers made here, sealed by the real publisher, and what a right mount of
# it shows. Nothing that is secret in it may ever be found in a log: names, contents, environment have canaries.

import os
import random
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "images"))

from layout import Layout  # noqa: E402
from tarwriter import DIR, FILE, SYMLINK  # noqa: E402

CANARY = "canary-5d0c7be19a"
BIG = 48  # files with chunks of their own
MANY = 160  # small files in one directory of several blocks
LARGE = "data/large"
TINY = "data/tiny"  # 140,000 bytes in a chunk of less than a hundred


def content(name, size):
    """Packs well, yet no 4 KiB of it is like another, here or in another file."""
    r = random.Random(name)
    out = bytearray()
    while len(out) < size:
        out += r.randbytes(96) + (f"{name} {len(out)} {CANARY} ".encode() * 128)[: 4096 - 96]
    return bytes(out[:size])


def big(k):
    return f"data/big-{k:02}"


def layers():
    """[[(name, kind, data, …)]] of both layers, and the merged tree {name: (mode, data)}."""
    first = [("data/", DIR, b""), ("many/", DIR, b""), ("gone/", DIR, b""), ("gone/behind", FILE, b"opaque")]
    first += [("replaced", FILE, b"first"), ("deleted", FILE, b"deleted")]
    first += [(big(k), FILE, content(big(k), 140000 + 1000 * k)) for k in range(BIG)]
    first += [(LARGE, FILE, content(LARGE, 1500000)), (TINY, FILE, bytes(140000).replace(b"\0", b"x"))]
    first += [(f"many/entry-{CANARY}-{k:04}", FILE, f"{k} {CANARY}\n".encode()) for k in range(MANY)]
    first += [("links/", DIR, b"")]
    first += [(f"links/link-{k}", SYMLINK, f"../many/entry-{CANARY}-{k:04}".encode()) for k in range(8)]
    second = [("gone/", DIR, b""), ("gone/.wh..wh..opq", FILE, b""), (".wh.deleted", FILE, b"")]
    second += [("gone/new", FILE, b"new"), ("replaced", FILE, content("replaced", 150000))]
    second += [("empty", FILE, b""), ("deep/", DIR, b""), ("deep/er/", DIR, b""), ("deep/er/file", FILE, b"deep")]
    merged = {}
    for name, kind, data in first + second:
        if ".wh." not in name:
            mode = {DIR: stat.S_IFDIR | 0o755, FILE: stat.S_IFREG | 0o644, SYMLINK: stat.S_IFLNK | 0o777}[kind]
            merged[name.rstrip("/")] = (mode, data)
    del merged["gone/behind"], merged["deleted"]
    return [first, second], merged


def make(directory, cocoon):
    """Below `directory`: the source, it sealed, it sealed once more for another tenant, and key files. Returns
    what a mount shows."""
    both, merged = layers()
    source = Layout(os.path.join(directory, "source"))
    tars = []
    for entries in both:
        with source.tar("plain") as t:
            for name, kind, data in entries:
                link = data if kind == SYMLINK else b""
                body = data if kind == FILE else b""
                mode = 0o755 if kind == DIR else 0o777 if kind == SYMLINK else 0o644
                t.add(name.encode(), kind, body, link=link, mode=mode)
        tars.append(t)
    config = {"Env": [f"SECRET={CANARY}"]}
    source.index({"t": source.image(tars, config=config)})
    key = os.path.join(directory, "image.key")
    startup = os.path.join(directory, "startup")
    with open(startup, "w", encoding="ascii") as f:
        f.write(f"/{big(0)}\n/{big(1)}\n")
    oci = f"oci:{source.dir}:t"
    convert = ["convert", "--quiet", "--recipient", f"{directory}/guest.pem.pub", "--startup", startup]
    for command in (
        ["keygen", "image", key],
        ["keygen", "image", f"{directory}/other.key"],
        ["keygen", "recipient", f"{directory}/guest.pem"],
        ["keygen", "recipient", f"{directory}/stranger.pem"],
        ["keygen", "domain", f"{directory}/domain.secret"],
        ["keygen", "domain", f"{directory}/tenant.secret"],
        [*convert, "--image-key", key, "--domain", f"{directory}/domain.secret", oci, f"oci:{directory}/sealed:t"],
        [*convert, "--domain", f"{directory}/tenant.secret", oci, f"oci:{directory}/tenant:t"],
    ):
        subprocess.run([cocoon, *command], check=True, stdout=subprocess.DEVNULL)
    return merged
