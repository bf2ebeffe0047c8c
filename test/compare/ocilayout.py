# SPDX-License-Identifier: Apache-2.0
#
# Reads an image out of an OCI layout directory, for the oracles: finds the manifest, checks every
# digest and size, and gives each layer as a stream of plain tar.

import contextlib
import hashlib
import json
import os
import subprocess

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class BadImage(Exception):
    pass


def split_ref(ref):
    """DIR[:TAG], with or without a leading oci: -> (DIR, TAG)"""
    ref = ref.removeprefix("oci:")
    layout, colon, tag = ref.rpartition(":")
    return (layout, tag) if colon and "/" not in tag else (ref, "latest")


class Image:
    def __init__(self, ref, platform="linux/amd64"):
        self.dir, tag = split_ref(ref)
        with open(os.path.join(self.dir, "index.json"), "rb") as f:
            index = json.load(f)
        found = [
            d
            for d in index["manifests"]
            if d.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag
        ]
        if len(found) != 1:
            raise BadImage(f"{self.dir}: {len(found)} manifests named {tag}")
        desc = found[0]
        while desc["mediaType"] in INDEX_TYPES:
            arch = platform.split("/")
            found = [
                d
                for d in self.json(desc)["manifests"]
                if [d["platform"]["os"], d["platform"]["architecture"]] == arch[:2]
            ]
            if not found:
                raise BadImage(f"{ref}: nothing for {platform}")
            desc = found[0]
        self.manifest = self.json(desc)
        self.config = self.json(self.manifest["config"])
        self.layers = self.manifest["layers"]
        self.diff_ids = self.config["rootfs"]["diff_ids"]
        if len(self.layers) != len(self.diff_ids):
            raise BadImage(f"{ref}: {len(self.layers)} layers, {len(self.diff_ids)} diff_ids")

    def blob_path(self, digest):
        algorithm, _, hexa = digest.partition(":")
        return os.path.join(self.dir, "blobs", algorithm, hexa)

    def json(self, desc):
        with open(self.blob_path(desc["digest"]), "rb") as f:
            data = f.read()
        if len(data) != desc["size"] or "sha256:" + hashlib.sha256(data).hexdigest() != desc["digest"]:
            raise BadImage(f"{desc['digest']}: size or digest differs")
        return json.loads(data)

    @contextlib.contextmanager
    def open_layer(self, i):
        """Yields a stream of plain tar; when it was read to its end, the diff_id is checked."""
        desc = self.layers[i]
        path = self.blob_path(desc["digest"])
        kind = desc["mediaType"]
        tool = "gzip" if kind.endswith("gzip") else "zstd" if kind.endswith("zstd") else None
        if os.path.getsize(path) != desc["size"]:
            raise BadImage(f"{desc['digest']}: size differs")
        with open(path, "rb") as blob:
            if "sha256:" + hashlib.file_digest(blob, "sha256").hexdigest() != desc["digest"]:
                raise BadImage(f"{desc['digest']}: digest differs")
            blob.seek(0)
            if tool is None:
                stream = Hashed(blob)
                yield stream
            else:
                p = subprocess.Popen([tool, "-dcq"], stdin=blob, stdout=subprocess.PIPE, bufsize=1 << 20)
                stream = Hashed(p.stdout)
                try:
                    yield stream
                    stream.drain()
                finally:
                    p.stdout.close()
                    if p.wait():
                        raise BadImage(f"{desc['digest']}: {tool} failed")
            stream.drain()
            if "sha256:" + stream.digest.hexdigest() != self.diff_ids[i]:
                raise BadImage(f"layer {i}: diff_id differs")


class Hashed:
    def __init__(self, f):
        self.f = f
        self.digest = hashlib.sha256()

    def read(self, n=-1):
        data = self.f.read(n)
        self.digest.update(data)
        return data

    def drain(self):
        while not self.f.closed and self.read(1 << 20):
            pass
