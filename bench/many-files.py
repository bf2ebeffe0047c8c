#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An image of many small files, as an OCI layout: what a guest needs memory for when names and attributes,
not bytes, are what there is.

many-files.py N DIR"""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "images"))

from layout import Layout  # noqa: E402
from tarwriter import DIR, FILE  # noqa: E402

PER_DIRECTORY = 250
NOISE = random.Random("many-files").randbytes(1 << 16)


def content(i):
    """Up to 700 bytes, half of which do not compress; no two files are alike."""
    start = i * 251 % (len(NOISE) - 400)
    return b"%d\n" % i + NOISE[start : start + i % 351] + b"text " * (i % 71)


def build(layout, n):
    with layout.tar("zstd", level=1) as t:
        t.add(b"./", DIR, mode=0o755)
        for i in range(n):
            top, sub = i // PER_DIRECTORY // 100, i // PER_DIRECTORY % 100
            if i % (100 * PER_DIRECTORY) == 0:
                t.add(b"%03d/" % top, DIR, mode=0o755)
            if i % PER_DIRECTORY == 0:
                t.add(b"%03d/package-%02d/" % (top, sub), DIR, mode=0o755)
            t.add(b"%03d/package-%02d/module-%07d.txt" % (top, sub, i), FILE, content(i))
    return layout.image([t])


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    layout = Layout(sys.argv[2])
    layout.index({"latest": build(layout, int(sys.argv[1]))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
