#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which blocks of an EROFS image the kernel has read, after a program ran from it with readahead switched off: those
that are in the page cache, of the files and of the metadata. Prints JSON: bytes, and how many they are compressed as
one zstd stream of level 3, files in the order of their inodes. Directories, whose pages cannot be asked for, are
counted by what the device has read beside the rest, and taken as incompressible.

touched.py MOUNTPOINT LOOP-DEVICE SECTORS    that the device had read before; nothing else has looked at the mount
"""

import json
import os
import stat
import subprocess
import sys

from page_cache import PAGE, resident


def regular_files(top):
    """(inode, path, size), each inode once."""
    found = {}
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size and status.st_ino not in found:
                found[status.st_ino] = (status.st_ino, path, status.st_size)
    return sorted(found.values())


def main():
    mountpoint, device, before = sys.argv[1:]
    with open(f"/sys/block/{os.path.basename(device)}/stat", encoding="ascii") as f:
        read = (int(f.read().split()[2]) - int(before)) * 512
    compressor = subprocess.Popen(["zstd", "-q", "-3", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    plain = bytearray()
    fd = os.open(device, os.O_RDONLY)
    size = os.lseek(fd, 0, os.SEEK_END)
    for page in resident(fd, size):
        plain += os.pread(fd, PAGE, page * PAGE)
    metadata = len(plain)
    os.close(fd)
    for _, path, length in regular_files(mountpoint):
        fd = os.open(path, os.O_RDONLY)
        for page in resident(fd, length):
            plain += os.pread(fd, PAGE, page * PAGE).ljust(PAGE, b"\0")
        os.close(fd)
    compressed = len(compressor.communicate(bytes(plain))[0])
    directories = max(read - len(plain), 0)
    result = {"bytes": len(plain) + directories, "compressed": compressed + directories}
    result |= {"metadata": metadata, "directories": directories, "device_read": read, "image_bytes": size}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
