# SPDX-License-Identifier: Apache-2.0
#
# Writes an OCI layout directory. Layers are streamed: digest of the plain tar and compression happen
# on the way, so an image may be larger than memory. Nothing in it depends on the clock.

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import zlib

from tarwriter import TarWriter

OCI = {
    "index": "application/vnd.oci.image.index.v1+json",
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "plain": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
DOCKER = {
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "plain": "application/vnd.docker.image.rootfs.diff.tar",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
}
CREATED = "2023-11-14T22:13:20Z"
REF_NAME = "org.opencontainers.image.ref.name"


def to_json(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class Plain:
    def __init__(self, f):
        self.f = f

    def write(self, data):
        self.f.write(data)

    def restart(self):
        pass

    def finish(self):
        pass


class Gzip(Plain):
    """A restart begins a new member, which is still one valid gzip file."""

    def __init__(self, f, level):
        super().__init__(f)
        self.level = level
        self.member = None

    def write(self, data):
        if self.member is None:
            self.member = zlib.compressobj(self.level, zlib.DEFLATED, 31)
        self.f.write(self.member.compress(data))

    def restart(self):
        if self.member is not None:
            self.f.write(self.member.flush())
            self.member = None

    finish = restart


class Zstd(Plain):
    """A restart begins a new frame behind a skippable one, as zstd:chunked and others write."""

    def __init__(self, f, level):
        super().__init__(f)
        self.level = level
        self.tool = None

    def write(self, data):
        if self.tool is None:
            self.f.flush()
            self.tool = subprocess.Popen(
                ["zstd", "-qc", f"-{self.level}", "-T2"], stdin=subprocess.PIPE, stdout=self.f
            )
        self.tool.stdin.write(data)

    def finish(self):
        if self.tool is not None:
            self.tool.stdin.close()
            if self.tool.wait():
                raise RuntimeError("zstd failed")
            self.tool = None
            self.f.seek(0, os.SEEK_END)

    def restart(self):
        self.finish()
        self.f.write(b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip")


COMPRESSORS = {"plain": lambda f, level: Plain(f), "gzip": Gzip, "zstd": Zstd}


class LayerOut:
    """What a TarWriter writes to."""

    def __init__(self, compressor):
        self.compressor = compressor
        self.digest = hashlib.sha256()

    def write(self, data):
        self.digest.update(data)
        self.compressor.write(data)

    def restart(self):
        self.compressor.restart()


class Layout:
    def __init__(self, directory):
        self.dir = directory
        if os.path.lexists(directory):
            if os.listdir(directory) and not os.path.exists(os.path.join(directory, "oci-layout")):
                raise FileExistsError(f"{directory} is there and is not an OCI layout")
            shutil.rmtree(directory)
        os.makedirs(os.path.join(directory, "blobs", "sha256"))
        self.write_file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def write_file(self, name, data):
        with open(os.path.join(self.dir, name), "wb") as f:
            f.write(data)

    def blob_path(self, digest):
        return os.path.join(self.dir, "blobs", *digest.split(":"))

    def add_blob(self, data, media_type):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(self.blob_path(digest), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    @contextlib.contextmanager
    def tar(self, compression="gzip", level=None, types=OCI, end=2):
        """Yields a TarWriter; afterwards its `descriptor` and `diff_id` are set."""
        temporary = os.path.join(self.dir, "blobs", "writing")
        with open(temporary, "w+b") as f:
            out = LayerOut(COMPRESSORS[compression](f, level or {"gzip": 6, "zstd": 3}.get(compression)))
            tar = TarWriter(out)
            yield tar
            tar.end(end)
            out.compressor.finish()
            f.flush()
            f.seek(0)
            digest = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
            size = f.seek(0, os.SEEK_END)
        os.rename(temporary, self.blob_path(digest))
        tar.descriptor = {"mediaType": types[compression], "digest": digest, "size": size}
        tar.diff_id = "sha256:" + out.digest.hexdigest()

    def image(self, tars, *, types=OCI, architecture="amd64", config=None, labels=None):
        """Config and manifest over finished tars; returns the manifest's descriptor."""
        body = {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [t.diff_id for t in tars]},
            "history": [{"created": CREATED, "created_by": f"layer {i}"} for i in range(len(tars))],
        }
        if labels:
            body["config"]["Labels"] = labels
        return self.manifest(
            self.add_blob(to_json(body), types["config"]), [t.descriptor for t in tars], types
        )

    def manifest(self, config, layers, types=OCI):
        body = {"schemaVersion": 2, "mediaType": types["manifest"], "config": config, "layers": layers}
        return self.add_blob(to_json(body), types["manifest"])

    def index(self, named):
        """Ends the layout: {tag: descriptor}."""
        manifests = [{**d, "annotations": {REF_NAME: tag}} for tag, d in named.items()]
        self.write_file("index.json", to_json({"schemaVersion": 2, "manifests": manifests}))
