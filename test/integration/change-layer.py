#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# An image rebuilt after a change in one layer: a copy of an OCI layout, with one more file in that layer
# and all other layers as they are.
"""change-layer.py LAYOUT[:TAG] N OUT      N counts from 0"""

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compare"))
from ocilayout import Image, split_ref


def changed(stream):
    """The tar with one more entry behind its last one, where its two empty blocks are."""
    tar = stream.read()
    more = io.BytesIO()
    with tarfile.open(fileobj=more, mode="w", format=tarfile.PAX_FORMAT) as t:
        content = b"this layer was changed\n"
        info = tarfile.TarInfo("changed-by-a-rebuild")
        info.size = len(content)
        t.addfile(info, io.BytesIO(content))
    return tar.rstrip(b"\0").ljust(-(-len(tar.rstrip(b"\0")) // 512) * 512, b"\0") + more.getvalue()


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    source, n, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    shutil.copytree(split_ref(source)[0], out)
    image = Image(source)
    with image.open_layer(n) as stream:
        tar = changed(stream)

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(out, "blobs", "sha256", digest), "wb") as f:
            f.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    kind = "application/vnd.oci.image."
    image.layers[n] = {"mediaType": kind + "layer.v1.tar", **blob(tar)}
    image.config["rootfs"]["diff_ids"][n] = image.layers[n]["digest"]
    image.manifest["config"].update(blob(json.dumps(image.config).encode()))
    manifest = {"mediaType": kind + "manifest.v1+json", **blob(json.dumps(image.manifest).encode())}
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    with open(os.path.join(out, "index.json"), "w", encoding="ascii") as f:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
    return 0


if __name__ == "__main__":
    sys.exit(main())
