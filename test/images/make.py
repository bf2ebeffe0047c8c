#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Builds the test images, as OCI layouts with the same bytes at each run. One line of IMAGES for each;
# the modules beside this file say what is in them.
"""make.py [--tag TAG] [--keep] [--seed N] [--canary TEXT] NAME DIR
make.py --list

--tag     name in the layout's index (default: latest)
--keep    leave DIR as it is when the same sources and arguments made it already
--seed    for layers60 (default 60); the seed is printed
--canary  for the debian images: planted in a file's content, a file's name, an environment variable
          and a label
"""

import argparse
import glob
import hashlib
import json
import os
import sys

import debian
import layers60
import malformed
import single
import torture
import workloads
from layout import Layout

IMAGES = {
    "torture": (torture.build, "every case a tree can hold, six layers, OCI media types"),
    "torture-docker": (torture.build_docker, "the same layers with Docker schema 2 media types"),
    "sparse-gnu": (torture.build_sparse_gnu, "sparse files in the old GNU form, which umoci refuses"),
    "layers60": (layers60.build, "60 layers of seeded random changes with whiteouts of all kinds"),
    "empty": (single.empty, "one layer that is an empty tar"),
    "busybox": (single.busybox, "a static busybox and 4 MiB of noise, two layers (package busybox-static)"),
    "bigdir": (single.bigdir, "a directory of 100,000 entries"),
    "xattr-large": (single.xattr_large, "attribute values up to 65535 bytes (unpack on tmpfs or xfs)"),
    "big5g": (single.big5g, "one file of 5 GiB"),
    "sparse8g": (single.sparse8g, "one file of 8 GiB, nearly all holes"),
    "multiarch": (single.multiarch, "an index with amd64, arm64 and arm/v7 images"),
    "debian": (debian.build, "Debian 12 + python3 + numpy, three gzip layers (network)"),
    "debian-updated": (debian.build_updated, "the same with bookworm-updates and -security (network)"),
    **workloads.IMAGES,
    "malformed": (malformed.build, "a folder of layouts that must be refused, and cases.txt"),
}


def stamp(opt):
    """Changes when the image would."""
    h = hashlib.sha256()
    here = os.path.dirname(os.path.abspath(__file__))
    for pattern in ("layout.py", "tarwriter.py", IMAGES[opt.name][0].__module__ + "*.py"):
        for path in sorted(glob.glob(os.path.join(here, pattern))):
            with open(path, "rb") as f:
                h.update(f.read())
    h.update(json.dumps([opt.name, opt.tag, opt.seed, opt.canary]).encode())
    return h.hexdigest() + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tag", default="latest")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--seed", type=int, default=60)
    parser.add_argument("--canary")
    parser.add_argument("name", nargs="?", choices=IMAGES)
    parser.add_argument("dir", nargs="?")
    opt = parser.parse_args()
    if opt.list:
        for name, (_, text) in IMAGES.items():
            print(f"{name:16} {text}")
        return 0
    if not opt.dir:
        parser.error("NAME and DIR are needed")
    made = os.path.join(opt.dir, ".made")
    if opt.keep and os.path.exists(made):
        with open(made, encoding="ascii") as f:
            if f.read() == stamp(opt):
                return 0
    build = IMAGES[opt.name][0]
    if opt.name == "malformed":
        build(opt.dir)
    else:
        layout = Layout(opt.dir)
        more = {}
        if opt.name == "layers60":
            print(f"layers60: seed {opt.seed}")
            more["seed"] = opt.seed
        if opt.name.startswith("debian"):
            more["canary"] = opt.canary
        layout.index({opt.tag: build(layout, **more)})
    with open(made, "w", encoding="ascii") as f:
        f.write(stamp(opt))
    return 0


if __name__ == "__main__":
    sys.exit(main())
