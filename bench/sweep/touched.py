#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which blocks of an EROFS image are in the page cache of its mount, counted from the image's end: with
readahead off (blockdev --setra 0) those that a workload has touched since the mount.

touched.py DIRECTORY IMAGE"""

import fcntl
import os
import stat
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from page_cache import PAGE, resident  # noqa: E402

FS_IOC_FIEMAP = 0xC020660B


def address(fd, page):
    """Of a page of the file in the image; None in a hole."""
    request = bytearray(struct.pack("=QQLLLL", page * PAGE, PAGE, 0, 0, 1, 0) + bytes(56))
    fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    if struct.unpack_from("=L", request, 20)[0] == 0:
        return None
    logical, physical = struct.unpack_from("=QQ", request, 32)
    return (physical + page * PAGE - logical) // PAGE


def main():
    end = os.stat(sys.argv[2]).st_size // PAGE
    blocks = set()
    for folder, _, names in os.walk(sys.argv[1]):
        for name in names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            if not stat.S_ISREG(st.st_mode) or not st.st_size:
                continue
            fd = os.open(path, os.O_RDONLY)
            blocks.update(address(fd, page) for page in resident(fd, st.st_size))
            os.close(fd)
    blocks.discard(None)
    for block in sorted(blocks):
        print(end - block)


if __name__ == "__main__":
    main()
