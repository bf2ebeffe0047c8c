# SPDX-License-Identifier: Apache-2.0
#
# Lies about the stored bytes of a chunk, told to a living mount.

import os
import struct

import forge
import liar
import source
from case import OWN, SHARED, case, require


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def lie_about(context, name, victim, lie):
    """The chunks of file `victim` are lied about: it is EIO, its neighbours are right, nothing else fails."""
    g, h = context.live
    chunks = g.chunks_of(victim)
    with h.lying(chunk=lambda n, data: lie(n, data) if n in chunks else data):
        good = g.read(victim)
        require(not good, f"{victim} is readable")
        require(g.read(source.big(40)), "another file fails")
    return chunks


def register(name, lie_words, lie, victim=source.big(7), live=SHARED):
    @case(name, "E", lie_words, live=live)
    def run(context):
        lie_about(context, name, victim, lambda n, data: lie(context, n, data))


def other_chunk(served, n, size):
    """A stored chunk that is not chunk n, of at most as many bytes (a longer one breaks the wire's rules)."""
    for k in range(served.n_meta, len(served.chunks)):
        if k != n and len(served.chunks[k]) == size:
            return served.chunks[k]
    return next(c for k, c in enumerate(served.chunks) if k != n and len(c) <= size)


def fitted(data, size):
    return data[:size].ljust(size, b"\0")


for part, at in (("first byte", 0), ("second byte", 1), ("middle", 777), ("last byte before the tag", -17)):
    register(f"chunk-flip-{part.replace(' ', '-')}", f"one bit of the {part} flipped", lambda c, n, d, at=at: flipped(d, at))
for k in (1, 8, 16):
    register(f"chunk-flip-tag-{k}", f"one bit of the tag flipped, byte {16 - k}", lambda c, n, d, k=k: flipped(d, -k))
for name, words, keep in (
    ("by-1", "one byte short", lambda n: n - 1),
    ("by-16", "no tag at all", lambda n: n - 16),
    ("half", "half of it", lambda n: n // 2),
    ("to-33", "33 bytes", lambda n: 33),
    ("to-16", "16 bytes, a tag of nothing", lambda n: 16),
    ("to-1", "1 byte", lambda n: 1),
    ("empty", "nothing", lambda n: 0),
):
    broken = keep(1000) < 33  # no chunk is as short: that breaks the connection, and is asked for again
    register(f"chunk-cut-{name}", words, lambda c, n, d, keep=keep: d[: keep(len(d))], source.TINY, OWN if broken else SHARED)
for k in (4, 8, 12):
    register(f"chunk-tag-of-{k}", f"the tag cut to {k} bytes", lambda c, n, d, k=k: d[: len(d) - 16 + k])
    register(f"chunk-tag-of-{k}-padded", f"the tag cut to {k} bytes and zeros", lambda c, n, d, k=k: d[: len(d) - 16 + k] + bytes(16 - k))
register("chunk-zeros", "zeros of the right length", lambda c, n, d: bytes(len(d)))
register("chunk-random", "random bytes of the right length", lambda c, n, d: os.urandom(len(d)))
register("chunk-of-another-place", "another good chunk of the same layer", lambda c, n, d: other_chunk(c.image, n, len(d)))
register("chunk-of-another-layer", "the last chunk of the other layer", lambda c, n, d: fitted(c.image.chunks[-1], len(d)))
register("chunk-of-metadata", "a chunk of metadata", lambda c, n, d: fitted(c.image.chunks[1], len(d)))
register("chunk-of-another-tenant", "the same file as another tenant has it", lambda c, n, d: fitted(c.setup.tenant.chunks[n % len(c.setup.tenant.chunks)], len(d)))
register("chunk-of-another-tag", "the tag of another chunk", lambda c, n, d: d[:-16] + other_chunk(c.image, n, len(d))[-16:])
register("chunk-neighbours-tag", "the ciphertext of another chunk under this one's tag", lambda c, n, d: fitted(other_chunk(c.image, n, len(d)), len(d) - 16) + d[-16:])
register("chunk-sealed-by-host", "a message of the host's own under a key of the host's own", lambda c, n, d: fitted(forge.seal(bytes(32), forge.good_message(bytes(4096))), len(d)))
register("chunk-plaintext", "the plaintext instead of the ciphertext", lambda c, n, d: fitted(c.setup.image.message(c.setup.image.extents_of(n)[0]), len(d)))

for status, word in ((liar.NOT_FOUND, "not-found"), (liar.DENIED, "denied"), (liar.INVALID, "invalid"), (liar.UNSUPPORTED, "unsupported")):
    register(f"chunk-{word}", f"status {status} for a chunk of an existing file: never ENOENT", lambda c, n, d, s=status: liar.Status(s))


@case("chunk-one-more-byte", "E", "one byte more than the table says, for as long as it is asked", live=SHARED)
def one_more(context):
    lie_about(context, "", source.TINY, lambda n, data: data + b"\0")


@case("chunk-two-swapped", "E", "two chunks of one request under each other's numbers", live=SHARED)
def two_swapped(context):
    g, h = context.live
    chunks = sorted(g.chunks_of(source.LARGE))
    swap = dict(zip(chunks, chunks[1:] + chunks[:1]))
    stored = context.image.chunks
    with h.lying(chunk=lambda n, data: fitted(stored[swap[n]], len(data)) if n in swap else data):
        require(not g.read(source.LARGE), "it is readable")


@case("chunk-second-answer-differs", "E", "good once, then flipped: what is fetched again is checked again", live=SHARED)
def second_differs(context):
    g, h = context.live
    require(g.read(source.big(9)), "not readable")
    lie_about(context, "", source.big(9), lambda n, data: flipped(data, 40))
    require(g.read(source.big(9)), "not readable again")


@case("chunk-number-of-nobody", "E", "the right bytes under a number that was not asked for", live=OWN)
def number_of_nobody(context):
    g, h = context.live

    def answers(connection, kind, all_answers):
        if kind == liar.CHUNKS:
            for a in all_answers:
                a.payload = struct.pack("<I", 0xFFFFFFFF) + a.payload[4:]
        return all_answers

    with h.lying(answers=answers):
        require(not g.read(source.TINY), "it is readable")


@case("chunks-of-metadata-replayed", "R", "an old good answer is sent again for the same chunk", live=SHARED)
def replayed(context):
    g, h = context.live
    with h.lying(chunk=lambda n, data: bytes(context.image.chunks[n])):
        require(g.read(source.big(3)), "not readable")


@case("chunk-every-file-at-once", "E", "every data chunk flipped at once: all files with data are EIO, names and attributes stay", live=SHARED)
def every_file(context):
    g, h = context.live
    with h.lying(chunk=lambda n, data: flipped(data, n) if n >= context.image.n_meta else data):
        bad = g.survey()
        require(bad >= source.BIG, f"only {bad} fail")
