# SPDX-License-Identifier: Apache-2.0
#
# What can be wrong within a layer: the tar's form, names, inodes, and how entries fit together.

from malformed_case import case, good_tar, with_tar
from tarwriter import BLK, CHR, DIR, FILE, LINK, SYMLINK, base256, pax_record

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
