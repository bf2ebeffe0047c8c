# SPDX-License-Identifier: Apache-2.0
#
# How a malformed layout is told: a good small image, and decorators for the one thing that is wrong
# with it, in the manifest, the config, the layer's blob or its tar. Each use adds a case to CASES.

import json

from layout import OCI, to_json
from tarwriter import DIR, FILE

CASES = []  # (name, platform, where, what, function)
ABSENT = "sha256:" + "0" * 64


def case(name, where, what, platform="linux/amd64"):
    def register(function):
        CASES.append((name, platform, where, what, function))
        return function

    return register


def good_tar(layout, compression="gzip"):
    with layout.tar(compression) as t:
        t.add(b"./", DIR, mode=0o755)
        t.add(b"file", FILE, b"good\n")
    return t


def good(layout):
    return layout.image([good_tar(layout)])


def read_json(layout, desc):
    with open(layout.blob_path(desc["digest"]), "rb") as f:
        return json.load(f)


def with_manifest(name, what, where="manifest"):
    """The decorated function changes a good manifest (a dict); it may return bytes instead."""

    def register(change):
        @case(name, where, what)
        def build(layout):
            manifest = read_json(layout, good(layout))
            data = change(manifest, layout) or to_json(manifest)
            return layout.add_blob(data, OCI["manifest"])

        return build

    return register


def with_config(name, what):
    def register(change):
        @case(name, "config", what)
        def build(layout):
            manifest = read_json(layout, good(layout))
            config = read_json(layout, manifest["config"])
            data = change(config) or to_json(config)
            return layout.manifest(layout.add_blob(data, OCI["config"]), manifest["layers"])

        return build

    return register


def with_tar(name, what, where="tar", **kw):
    """The decorated function adds entries to the only layer, behind a good one."""

    def register(add):
        @case(name, where, what)
        def build(layout):
            with layout.tar("plain", **kw) as t:
                t.add(b"./", DIR, mode=0o755)
                t.add(b"file", FILE, b"good\n")
                add(t)
            return layout.image([t])

        return build

    return register


def with_blob(name, what, compression="gzip"):
    """The decorated function turns a good layer's blob into bytes that are named correctly."""

    def register(change):
        @case(name, "blob", what)
        def build(layout):
            t = good_tar(layout, compression)
            with open(layout.blob_path(t.descriptor["digest"]), "rb") as f:
                data = change(f.read())
            t.descriptor = layout.add_blob(data, t.descriptor["mediaType"])
            return layout.image([t])

        return build

    return register
