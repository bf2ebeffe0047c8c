# SPDX-License-Identifier: Apache-2.0
"""What of a file the kernel has in its page cache."""

import ctypes
import mmap
import os

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def resident(fd, size):
    """Numbers of the pages that are in the page cache. Python's own mmap does not tell its address."""
    pages = -(-size // PAGE)
    vector = (ctypes.c_ubyte * pages)()
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    failed = libc.mincore(address, size, vector)
    libc.munmap(address, size)
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return [i for i in range(pages) if vector[i] & 1]
