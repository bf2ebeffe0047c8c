# SPDX-License-Identifier: Apache-2.0
#
# Lies about names: a chunk of metadata, a page of the map, a block of the hash tree that a host does not give or
# gives wrong. "Not found" is never ENOENT, no listing is partial, no failed lookup is remembered.

import contextlib
import errno
import mmap
import os

import source
from case import case, require
from guest import READ_LIMIT, failure, timed
from liar import DENIED, NOT_FOUND, SILENCE, Status

KNOWN = f"many/entry-{source.CANARY}-0003"
FINE = (4096, 24)  # bytes of a chunk of metadata, extents of a page of the map


def fine_image(context):
    """The same image with many small chunks of metadata and a map of many pages; made once."""
    if not hasattr(context.setup, "fine"):
        image = context.setup.image.copy()
        image.recut(*FINE)
        context.setup.fine = (image, image.sealed())
    return context.setup.fine


def flip(data):
    return bytes([data[0] ^ 1]) + data[1:]


LIES = {
    "not-found": ("is not found", lambda data: Status(NOT_FOUND)),
    "denied": ("is denied", lambda data: Status(DENIED)),
    "flipped": ("has a bit flipped", flip),
    "zeros": ("is zeros", lambda data: bytes(len(data))),
    "short": ("is a byte short", lambda data: data[:-1]),
}


def eio(what, call, *args):
    """EIO and nothing else; True when it was."""
    code = failure(call, *args)
    require(code in (0, errno.EIO), f"{what}: {os.strerror(code)}")
    return code == errno.EIO


def look(g):
    """Names that nobody has asked for yet. Returns how many of the questions were EIO."""
    n = eio("stat of a name", os.lstat, g.path(KNOWN))
    n += eio("stat of a deep name", os.lstat, g.path("deep/er/file"))
    n += eio("readlink", os.readlink, g.path("links/link-2"))
    n += eio("access", os.lstat, g.path("gone/new"))
    for directory, names in g.directories().items():
        try:
            require(set(os.listdir(g.path(directory))) == names, f"a partial listing of {directory}")
        except OSError as e:
            require(e.errno == errno.EIO, f"listing of {directory}: {e.strerror}")
            n += 1
    return n


def names_again(g):
    """A lookup after a failed one: a name that is there, one that is not."""
    os.lstat(g.path(KNOWN))
    os.lstat(g.path("deep/er/file"))
    require(failure(os.lstat, g.path("many/none")) == errno.ENOENT, "a name that is not there is there")
    g.all_right()


for _name, (_words, _lie) in LIES.items():

    def _register(name, words, lie):
        @case("metadata-all-" + name, "E", f"from the mount on all metadata {words}")
        def run(context):
            with context.mount(fine_image(context)[1], cache="1") as (g, h):
                with h.lying(chunk=lambda n, data: lie(data) if n < h.image.n_meta else data):
                    require(look(g) >= 4, "the lie shows nowhere")
                names_again(g)

    _register(_name, _words, _lie)


@case("metadata-each-chunk", "E/M", "every second chunk of metadata in turn is flipped from the beginning: refused or EIO; then it is right, and so is everything")
def each_chunk(context):
    image, served = fine_image(context)
    refused = noticed = 0
    for k in range(1, served.n_meta, 2):
        with context.host(served) as h:
            with h.lying(chunk=lambda n, data, k=k: flip(data) if n == k else data):
                with contextlib.ExitStack() as stack:
                    g = stack.enter_context(context.guest(h))
                    if not g.mounted():
                        require(g.status == 32 and os.listdir(g.dir) == [], "half refused")
                        g.status = 0  # a good end of this guest
                        refused += 1
                        continue
                    noticed += g.survey() > 0
                    h.lies = {}
                    g.all_right()
    require(refused > 0 and noticed > 0, f"{refused} refused, {noticed} noticed of {served.n_meta}")


@case("metadata-first-half-of-a-directory", "E", "a directory's first blocks are right, the others flipped: a listing fails, and is never short")
def half_a_directory(context):
    image, served = fine_image(context)
    with context.mount(served) as (g, h):
        require(len(os.listdir(g.path("many"))) == source.MANY, "an honest listing")
    for keep in range(1, served.n_meta, 4):
        with context.mount(served, cache="1") as (g, h):
            with h.lying(chunk=lambda n, data, keep=keep: flip(data) if keep < n < h.image.n_meta else data):
                look(g)
            names_again(g)


@case("metadata-comes-and-goes", "E", "every other answer about metadata is not found")
def comes_and_goes(context):
    count = [0]

    def lie(n, data):
        count[0] += 1
        return Status(NOT_FOUND) if count[0] % 2 else data

    with context.mount(fine_image(context)[1], cache="1") as (g, h):
        with h.lying(chunk=lambda n, data: lie(n, data) if n < h.image.n_meta else data):
            for _ in range(4):
                look(g)
        names_again(g)


# The hash tree -------------------------------------------------------------------------------------------------


def tree(name, words, change, outcome):
    """change(index) spoils the public index. It is asked for at the mount, so the lie is told there."""

    @case("index-" + name, outcome, words)
    def run(context):
        spoiled = change(bytearray(context.image.index))
        lie = lambda offset, data: bytes(spoiled[offset : offset + len(data)])  # noqa: E731
        if outcome == "M":
            context.refused(lies={"index": lie}, chunks=0)
            return
        with context.host(index=lie) as h, context.guest(h) as g:
            require(g.mounted(), f"not mounted: {g.words()}")
            require((g.survey() > 0) == (outcome == "E"), "noticed, or not")
            h.lies = {}
            g.recovers()
            g.all_right()


def flipped_at(at):
    def change(index):
        index[at] ^= 1
        return index

    return change


def block_swap(a, b):
    def change(index):
        index[a * 4096 : a * 4096 + 4096], index[b * 4096 : b * 4096 + 4096] = (
            index[b * 4096 : b * 4096 + 4096],
            index[a * 4096 : a * 4096 + 4096],
        )
        return index

    return change


def block_copy(a, b):
    def change(index):
        index[b * 4096 : b * 4096 + 4096] = index[a * 4096 : a * 4096 + 4096]
        return index

    return change


# This image: table blocks 0 and 1, the superblock 2, one hash block 3.
tree("table-block-0", "a bit of the table block with the root chunk's row", flipped_at(70), "M")
tree("table-block-1", "a bit of the other table block: EIO for what it covers", flipped_at(4096 + 70), "E")
tree("table-padding", "a bit behind the table's last row", flipped_at(2 * 4096 - 1), "E")
tree("superblock", "a superblock of the host's own: nothing is taken from it", flipped_at(2 * 4096 + 9), "R")
tree("hash-block", "a bit of the hash block", flipped_at(3 * 4096 + 1), "M")
tree("hash-padding", "a bit of an unused digest", flipped_at(4 * 4096 - 1), "M")
tree("blocks-swapped", "two table blocks exchanged", block_swap(0, 1), "M")
tree("block-repeated", "the first table block twice", block_copy(0, 1), "E")
tree("hash-block-as-table", "the hash block for a table block", block_copy(3, 1), "E")


@case("index-second-answer-differs", "E", "what is read again of the index is wrong again and again, then right")
def index_again(context):
    with context.host(index=lambda offset, data: data[:4096] + bytes(4096) + data[8192:]) as h, context.guest(h) as g:
        require(g.mounted(), f"not mounted: {g.words()}")
        h.lies = {"index": lambda offset, data: bytes(b ^ 0x55 for b in data)}
        require(g.survey() > 0, "not noticed")
        h.lies = {}
        g.recovers()
        g.all_right()


@case("index-goes-silent", "E", "a table block is wrong at the mount, then INDEX is not answered: each read ends in time")
def index_silent(context):
    with context.host(index=lambda offset, data: data[:4096] + bytes(4096) + data[8192:]) as h, context.guest(h) as g:
        require(g.mounted(), f"not mounted: {g.words()}")
        h.lies = {"index": lambda offset, data: SILENCE}
        require(not g.read("replaced"), "readable")
        h.lies = {}
        g.recovers()
        g.all_right()


@case("index-goes-silent-under-a-large-read", "E", "the same, for one read of many chunks: it does not wait for each of them", fronts=("tree",))
def index_silent_large(context):
    with context.host(index=lambda offset, data: data[:4096] + bytes(4096) + data[8192:]) as h, context.guest(h) as g:
        require(g.mounted(), f"not mounted: {g.words()}")
        h.lies = {"index": lambda offset, data: SILENCE}
        fd = os.open(g.path(source.LARGE), os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, 1 << 20)
        try:
            code = timed(READ_LIMIT, failure, os.preadv, fd, [buffer], 0)
        finally:
            os.close(fd)
        require(code == errno.EIO, f"the reader sees {os.strerror(code)}")
        h.lies = {}
        g.recovers()
        g.all_right()
