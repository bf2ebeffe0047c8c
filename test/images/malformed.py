# SPDX-License-Identifier: Apache-2.0
#
# Layouts that are not valid images, one for each reason to refuse. Each is a good small image with one
# thing wrong. cases.txt lists them: name, tag, platform to ask for, where the defect is, what it is.
#
# `where` is one of layout, index, manifest, config, blob, tar, tree: what a refusal should point at.

import gzip
import json
import os
import shutil

from layout import OCI, Layout, to_json
from tarwriter import BLK, CHR, DIR, FILE, LINK, SYMLINK, base256, pax_record

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


# The tar


@with_tar("tar-trailing", "bytes that are no tar behind the entries", end=0)
def tar_trailing(t):
    t.out.write(b"trailing garbage " * 100)


@with_tar("tar-cut-in-header", "the tar ends within a header", end=0)
def tar_cut_in_header(t):
    t.out.write(header(t, b"cut")[:300])


@with_tar("tar-cut-in-data", "the tar ends within a file", end=0)
def tar_cut_in_data(t):
    t.out.write(header(t, b"cut", size=100000))
    t.out.write(b"x" * 5120)


@with_tar("tar-cut-in-pax", "the tar ends behind a PAX header", end=0)
def tar_cut_in_pax(t):
    t.extension(b"x", b"PaxHeaders/x", pax_record(b"path", b"x"))


def header(t, name, kind=FILE, **kw):
    fixed = dict(mode=0o644, uid=0, gid=0, size=0, mtime=0, link=b"", rdev=None, magic=b"ustar\x0000")
    return t.header(name, kind, **{**fixed, **kw})


@with_tar("tar-checksum", "a header's checksum is wrong")
def tar_checksum(t):
    h = header(t, b"bad")
    h[100:107] = b"0000600"
    t.out.write(h)


@with_tar("tar-size-negative", "a file of negative size")
def tar_size_negative(t):
    t.out.write(header(t, b"bad", size=-512, number=base256))


@with_tar("tar-size-huge", "a file of 2^62 bytes")
def tar_size_huge(t):
    t.add(b"huge", FILE, [], size=0, pax={b"size": b"%d" % (1 << 62)})


@with_tar("tar-kind", "an entry of unknown type")
def tar_kind(t):
    t.add(b"odd", b"Q", b"")


@with_tar("pax-length", "a PAX record's length runs past its header")
def pax_length(t):
    t.extension(b"x", b"PaxHeaders/x", b"999 path=x\n")
    t.out.write(header(t, b"x"))


@with_tar("pax-number", "a PAX uid that is no number")
def pax_number(t):
    t.add(b"x", FILE, b"", pax={b"uid": b"root"})


@with_tar("pax-mtime", "a PAX mtime that is no number")
def pax_mtime(t):
    t.add(b"x", FILE, b"", pax={b"mtime": b"yesterday"})


@with_tar("uid-too-large", "uid 4294967295, which no inode can have")
def uid_too_large(t):
    t.add(b"x", FILE, b"", uid=4294967295)


@with_tar("sparse-past-end", "a sparse map that runs past the file's size")
def sparse_past_end(t):
    t.sparse(b"x", [(0, b"a" * 4096), (1 << 20, b"b" * 4096)], 8192)


@with_tar("sparse-overlap", "a sparse map whose extents overlap")
def sparse_overlap(t):
    t.sparse(b"x", [(0, b"a" * 4096), (2048, b"b" * 4096)], 8192)


# Names


@with_tar("name-dotdot", "a name with .. that leaves the root")
def name_dotdot(t):
    t.add(b"../outside", FILE, b"")


@with_tar("name-dotdot-inside", "a name with .. that stays in the root")
def name_dotdot_inside(t):
    t.add(b"a/../b", FILE, b"")


@with_tar("name-empty", "an entry without a name")
def name_empty(t):
    t.add(b"", FILE, b"")


@with_tar("name-256", "a name of 256 bytes")
def name_256(t):
    t.add(b"n" * 256, FILE, b"")


@with_tar("name-nul", "a name with a NUL byte")
def name_nul(t):
    t.add(b"x", FILE, b"", pax={b"path": b"nul\0inside"})


@with_tar("name-root-file", "the root is a regular file", "tree")
def name_root_file(t):
    t.add(b"./", FILE, b"no directory")


@with_tar("whiteout-no-name", "a whiteout of nothing: .wh.", "tree")
def whiteout_no_name(t):
    t.add(b".wh.", FILE, mode=0)


@with_tar("whiteout-dotdot", "a whiteout of ..: .wh...", "tree")
def whiteout_dotdot(t):
    t.add(b"dir/.wh...", FILE, mode=0)


@with_tar("whiteout-dot", "a whiteout of its own directory: .wh..", "tree")
def whiteout_dot(t):
    t.add(b"dir/.wh..", FILE, mode=0)


# Inodes


@with_tar("symlink-empty", "a symlink with an empty target")
def symlink_empty(t):
    t.add(b"link", SYMLINK, mode=0o777)


@with_tar("symlink-4096", "a symlink's target of 4096 bytes")
def symlink_4096(t):
    t.add(b"link", SYMLINK, link=b"t" * 4096, mode=0o777)


@with_tar("symlink-nul", "a symlink's target with a NUL byte")
def symlink_nul(t):
    t.add(b"link", SYMLINK, link=b"x", mode=0o777, pax={b"linkpath": b"a\0b"})


@with_tar("device-major", "a device's major number does not fit in 12 bits")
def device_major(t):
    t.add(b"dev", CHR, rdev=(4096, 0))


@with_tar("device-minor", "a device's minor number does not fit in 20 bits")
def device_minor(t):
    t.add(b"dev", BLK, rdev=(1, 1 << 20))


@with_tar("xattr-70000", "an attribute value of 70,000 bytes")
def xattr_70000(t):
    t.add(b"x", FILE, b"", xattrs={b"user.big": b"v" * 70000})


@with_tar("xattr-65536", "an attribute value of 65,536 bytes, one more than EROFS holds")
def xattr_65536(t):
    t.add(b"x", FILE, b"", xattrs={b"user.big": b"v" * 65536})


@with_tar("xattr-list", "attribute names that do not fit in the kernel's 64 KiB list")
def xattr_list(t):
    t.add(b"x", FILE, b"", xattrs={b"user.%04d" % i + b"x" * 241: b"" for i in range(300)})


@with_tar("xattr-name-256", "an attribute's name of 256 bytes")
def xattr_name_256(t):
    t.add(b"x", FILE, b"", xattrs={b"user." + b"n" * 251: b"v"})


@with_tar("link-missing", "a hard link to a name that is not there", "tree")
def link_missing(t):
    t.add(b"link", LINK, link=b"nowhere")


@with_tar("link-later", "a hard link to a name that comes after it", "tree")
def link_later(t):
    t.add(b"link", LINK, link=b"later")
    t.add(b"later", FILE, b"")


@with_tar("link-to-dir", "a hard link to a directory", "tree")
def link_to_dir(t):
    t.add(b"dir/", DIR, mode=0o755)
    t.add(b"link", LINK, link=b"dir")


@with_tar("link-dotdot", "a hard link to a name outside the root", "tree")
def link_dotdot(t):
    t.add(b"link", LINK, link=b"../../etc/passwd")


@with_tar("parent-is-file", "an entry below a regular file", "tree")
def parent_is_file(t):
    t.add(b"file/below", FILE, b"")


@with_tar("parent-is-symlink", "an entry below a symlink", "tree")
def parent_is_symlink(t):
    t.add(b"link", SYMLINK, link=b"/tmp", mode=0o777)
    t.add(b"link/below", FILE, b"")


@case("parent-is-symlink-below", "tree", "an entry below a symlink of a lower layer")
def parent_is_symlink_below(layout):
    with layout.tar("gzip") as lower:
        lower.add(b"link", SYMLINK, link=b"../../tmp", mode=0o777)
    with layout.tar("gzip") as upper:
        upper.add(b"link/below", FILE, b"")
    return layout.image([lower, upper])


@case("link-to-whiteout", "tree", "a hard link to a name that a layer below took away")
def link_to_whiteout(layout):
    with layout.tar("gzip") as middle:
        middle.add(b".wh.file", FILE, mode=0)
    with layout.tar("gzip") as upper:
        upper.add(b"link", LINK, link=b"file")
    return layout.image([good_tar(layout), middle, upper])


def build(directory):
    """DIRECTORY/NAME is a layout for each case; DIRECTORY/cases.txt lists them, tab-separated."""
    if os.path.lexists(directory):
        if os.listdir(directory) and not os.path.exists(os.path.join(directory, "cases.txt")):
            raise FileExistsError(f"{directory} is there and was not made here")
        shutil.rmtree(directory)
    os.makedirs(directory)
    with open(os.path.join(directory, "cases.txt"), "w", encoding="ascii") as f:
        for name, platform, where, what, function in CASES:
            layout = Layout(os.path.join(directory, name))
            desc = function(layout)
            if desc is not None:
                layout.index({"latest": desc})
            f.write("\t".join((name, "latest", platform, where, what)) + "\n")
