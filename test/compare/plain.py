#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Rewrites an image as OCI with plain tar layers, for umoci 0.4, which knows neither zstd nor Docker's
# media types nor PAX global headers. Those in front of a layer are left out; all else in the tars is
# copied byte for byte.
"""plain.py LAYOUT[:TAG] DIR     writes DIR with the tag "plain" """

import hashlib
import json
import os
import sys

from ocilayout import Image


def without_global_headers(tar):
    """The stream's first block behind global headers; what follows is left in the stream."""
    block = tar.read(512)
    while block[156:157] == b"g":
        size = int(block[124:135], 8)
        tar.read(-(-size // 512) * 512)
        block = tar.read(512)
    return block


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    image, out = Image(sys.argv[1]), sys.argv[2]
    blobs = os.path.join(out, "blobs", "sha256")
    os.makedirs(blobs)

    def blob(value, kind):
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as f:
            f.write(data)
        return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}

    layers = []
    for i in range(len(image.layers)):
        path, h = os.path.join(blobs, "writing"), hashlib.sha256()
        with image.open_layer(i) as tar, open(path, "wb") as f:
            data = without_global_headers(tar)
            while data:
                h.update(data)
                f.write(data)
                data = tar.read(1 << 20)
        os.rename(path, os.path.join(blobs, h.hexdigest()))
        layers.append(
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": "sha256:" + h.hexdigest(),
                "size": os.path.getsize(os.path.join(blobs, h.hexdigest())),
            }
        )
    image.config["rootfs"]["diff_ids"] = [layer["digest"] for layer in layers]
    config = blob(image.config, "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = blob({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}, kind)
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "plain"}
    with open(os.path.join(out, "index.json"), "w", encoding="ascii") as f:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
    with open(os.path.join(out, "oci-layout"), "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
