# SPDX-License-Identifier: Apache-2.0
#
# What can be wrong with a layout before its tars are read: index, manifest, config, blobs.

import gzip
import os

from layout import OCI, to_json
from malformed_case import ABSENT, case, good, good_tar, with_blob, with_config, with_manifest

# The layout and its index


@case("no-layout-file", "layout", "oci-layout is missing")
def no_layout_file(layout):
    desc = good(layout)
    os.unlink(os.path.join(layout.dir, "oci-layout"))
    return desc


@case("layout-version", "layout", "imageLayoutVersion is 2.0.0")
def layout_version(layout):
    layout.write_file("oci-layout", b'{"imageLayoutVersion":"2.0.0"}')
    return good(layout)


@case("no-index", "layout", "index.json is missing")
def no_index(layout):
    good(layout)
    return None


@case("index-not-json", "index", "index.json is not JSON")
def index_not_json(layout):
    good(layout)
    layout.write_file("index.json", b'{"schemaVersion":2,"manifests":[')


@case("no-such-tag", "index", "the index has another tag only")
def no_such_tag(layout):
    layout.index({"other": good(layout)})


@case("tag-twice", "index", "two manifests carry the tag")
def tag_twice(layout):
    a, b = good(layout), layout.image([good_tar(layout)], labels={"b": "b"})
    names = {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    layout.write_file("index.json", to_json({"schemaVersion": 2, "manifests": [{**a, **names}, {**b, **names}]}))


def nested(layout, depth, desc):
    for _ in range(depth):
        entry = {**desc, "platform": {"os": "linux", "architecture": "amd64"}}
        body = {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": [entry]}
        desc = layout.add_blob(to_json(body), OCI["index"])
    return desc


@case("nested-index", "index", "indexes nested 40 deep")
def nested_index(layout):
    return nested(layout, 40, good(layout))


@case("unknown-platform", "index", "no manifest for the platform asked for", platform="linux/s390x")
def unknown_platform(layout):
    return nested(layout, 1, good(layout))


@case("empty-index", "index", "an index without manifests")
def empty_index(layout):
    body = {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": []}
    return layout.add_blob(to_json(body), OCI["index"])


@case("manifest-media-type", "index", "a manifest's descriptor has an unknown media type")
def manifest_media_type(layout):
    return {**good(layout), "mediaType": "application/vnd.docker.distribution.manifest.v1+json"}


@case("manifest-missing", "manifest", "the manifest's blob is missing")
def manifest_missing(layout):
    desc = good(layout)
    os.unlink(layout.blob_path(desc["digest"]))
    return desc


@case("manifest-digest", "manifest", "the manifest's bytes have another digest")
def manifest_digest(layout):
    desc, other = good(layout), layout.image([good_tar(layout)], labels={"other": ""})
    os.rename(layout.blob_path(other["digest"]), layout.blob_path(desc["digest"]))
    return {**desc, "size": other["size"]}


@case("manifest-size", "manifest", "the descriptor's size is one too small")
def manifest_size(layout):
    desc = good(layout)
    return {**desc, "size": desc["size"] - 1}


@case("digest-path", "index", "a digest that walks out of the layout")
def digest_path(layout):
    return {**good(layout), "digest": "sha256:../../index.json"}


@case("digest-algorithm", "index", "a digest of an unknown algorithm")
def digest_algorithm(layout):
    desc = good(layout)
    return {**desc, "digest": "md5:d41d8cd98f00b204e9800998ecf8427e"}


@case("digest-upper-case", "index", "a digest in upper case")
def digest_upper_case(layout):
    desc = good(layout)
    return {**desc, "digest": "sha256:" + desc["digest"][7:].upper()}


# The manifest


@with_manifest("manifest-not-json", "the manifest is not JSON")
def manifest_not_json(m, layout):
    return b"this is no JSON"


@with_manifest("manifest-empty", "the manifest has no bytes")
def manifest_empty(m, layout):
    return b" "


@with_manifest("manifest-not-object", "the manifest is a JSON array")
def manifest_not_object(m, layout):
    return b"[]"


@with_manifest("manifest-nul", "a NUL byte behind the manifest's JSON")
def manifest_nul(m, layout):
    return to_json(m) + b"\0"


@with_manifest("manifest-trailing", "a second JSON value behind the manifest")
def manifest_trailing(m, layout):
    return to_json(m) + b"{}"


@with_manifest("manifest-duplicate-key", "the manifest has two keys `layers`")
def manifest_duplicate_key(m, layout):
    return to_json(m)[:-1] + b',"layers":[]}'


@with_manifest("manifest-deep", "JSON nested 100,000 deep")
def manifest_deep(m, layout):
    return to_json(m)[:-1] + b',"x":' + b"[" * 100000 + b"]" * 100000 + b"}"


@with_manifest("schema-version", "schemaVersion is 1")
def schema_version(m, layout):
    m["schemaVersion"] = 1


@with_manifest("schema-version-missing", "schemaVersion is missing")
def schema_version_missing(m, layout):
    del m["schemaVersion"]


@with_manifest("manifest-and-index", "a manifest that is an index as well")
def manifest_and_index(m, layout):
    m["manifests"] = [good(layout)]


@with_manifest("media-type-differs", "the manifest's own mediaType is an index's")
def media_type_differs(m, layout):
    m["mediaType"] = OCI["index"]


@with_manifest("no-layers", "the list of layers is empty")
def no_layers(m, layout):
    m["layers"] = []


@with_manifest("layers-missing", "`layers` is missing")
def layers_missing(m, layout):
    del m["layers"]


@with_manifest("layers-not-array", "`layers` is an object")
def layers_not_array(m, layout):
    m["layers"] = m["layers"][0]


@with_manifest("config-missing", "`config` is missing")
def config_missing(m, layout):
    del m["config"]


@with_manifest("config-media-type", "the config is some other artifact's")
def config_media_type(m, layout):
    m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"


@with_manifest("layer-media-type", "a layer of unknown media type")
def layer_media_type(m, layout):
    m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+bzip2"


@with_manifest("layer-encrypted", "a layer encrypted by ocicrypt")
def layer_encrypted(m, layout):
    m["layers"][0]["mediaType"] += "+encrypted"


@with_manifest("layer-size-negative", "a layer of negative size")
def layer_size_negative(m, layout):
    m["layers"][0]["size"] = -1


@with_manifest("layer-size-huge", "a layer's size is 2^63")
def layer_size_huge(m, layout):
    m["layers"][0]["size"] = 1 << 63


@with_manifest("layer-size-text", "a layer's size is a string")
def layer_size_text(m, layout):
    m["layers"][0]["size"] = str(m["layers"][0]["size"])


# Blobs


@with_manifest("config-blob-missing", "the config's blob is missing", "config")
def config_blob_missing(m, layout):
    m["config"]["digest"] = ABSENT


@with_manifest("layer-missing", "a layer's blob is missing", "blob")
def layer_missing(m, layout):
    m["layers"][0]["digest"] = ABSENT


@with_manifest("layer-size", "a layer's size is one too large", "blob")
def layer_size(m, layout):
    m["layers"][0]["size"] += 1


@case("layer-digest", "blob", "one byte of a layer is flipped")
def layer_digest(layout):
    t = good_tar(layout, "plain")
    desc = layout.image([t])
    with open(layout.blob_path(t.descriptor["digest"]), "r+b") as f:
        f.seek(1536)
        f.write(b"G")
    return desc


@with_blob("gzip-truncated", "a gzip layer ends early")
def gzip_truncated(data):
    return data[: len(data) // 2]


@with_blob("gzip-no-trailer", "a gzip layer without its checksum")
def gzip_no_trailer(data):
    return data[:-8]


@with_blob("gzip-checksum", "a gzip layer's checksum is wrong")
def gzip_checksum(data):
    return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


@with_blob("gzip-header", "a gzip layer's header has a flag that no version knows")
def gzip_header(data):
    return data[:3] + bytes([data[3] | 0x20]) + data[4:]


@with_blob("gzip-trailing", "bytes that are no gzip behind a gzip layer")
def gzip_trailing(data):
    return data + b"garbage behind the last member"


@with_blob("gzip-is-plain", "a layer that says gzip and is plain tar")
def gzip_is_plain(data):
    return gzip.decompress(data)


@with_blob("plain-is-gzip", "a layer that says plain tar and is gzip", "plain")
def plain_is_gzip(data):
    return gzip.compress(data, mtime=0)


@with_blob("zstd-truncated", "a zstd layer ends early", "zstd")
def zstd_truncated(data):
    return data[:-5]


@with_blob("zstd-corrupt", "a zstd layer's content checksum is wrong", "zstd")
def zstd_corrupt(data):
    return data[:-1] + bytes([data[-1] ^ 1])


# The config


@with_config("config-not-json", "the config is not JSON")
def config_not_json(c):
    return b"{]"


@with_config("config-duplicate-key", "the config has two keys `rootfs`")
def config_duplicate_key(c):
    return to_json(c)[:-1] + b',"rootfs":{"type":"layers","diff_ids":[]}}'


@with_config("config-no-rootfs", "`rootfs` is missing")
def config_no_rootfs(c):
    del c["rootfs"]


@with_config("config-rootfs-type", "rootfs.type is not `layers`")
def config_rootfs_type(c):
    c["rootfs"]["type"] = "snapshots"


@with_config("diff-ids-more", "one diff_id more than layers")
def diff_ids_more(c):
    c["rootfs"]["diff_ids"].append(ABSENT)


@with_config("diff-ids-fewer", "no diff_id for the layer")
def diff_ids_fewer(c):
    c["rootfs"]["diff_ids"] = []


@with_config("diff-id-wrong", "the layer's tar has another digest than its diff_id")
def diff_id_wrong(c):
    c["rootfs"]["diff_ids"] = [ABSENT]


@with_config("diff-id-form", "a diff_id that is no digest")
def diff_id_form(c):
    c["rootfs"]["diff_ids"] = ["sha256:1234"]


@with_config("config-env", "Env is an object instead of an array")
def config_env(c):
    c["config"]["Env"] = {"PATH": "/bin"}
