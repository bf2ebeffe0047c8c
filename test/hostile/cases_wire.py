# SPDX-License-Identifier: Apache-2.0
#
# Lies about frames, told to a living mount: the connection is dropped and made again, and what is asked for
# once more is right. Told for ever, they are EIO at the deadline.

import concurrent.futures
import os
import struct
import threading
import time

import liar
import source
from case import OWN, SHARED, case, require
from liar import CHUNKS, HEADER, HELLO, INDEX, OPEN, Status, Times, WELCOME, frame

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TLS = bytes.fromhex("16030300310200002d0303") + bytes(range(38)) + bytes.fromhex("15030300020228")
VICTIM = source.big(11)


def honest(connection, a):
    return a.raw()


def number_of(a):
    return struct.unpack_from("<I", a.payload)[0]


def framing(name, words, lie, told=2):
    """lie(answer) is sent instead of the frame of a chunk."""

    @case("frame-" + name, "C", words, live=SHARED)
    def run(context):
        g, h = context.live
        before = h.n_connections
        lies = Times(told, lambda c, a: lie(a), honest)
        with h.lying(frame=lambda c, a: lies(c, a) if a.kind == CHUNKS else a.raw()):
            require(g.read(VICTIM), "not readable")
        require(lies.told > 0, "nothing was asked for")
        require(h.n_connections > before, "on the same connection")


def resized(size):
    return lambda a: HEADER.pack(size, a.kind, a.status, a.number) + a.payload


def header(**other):
    def lie(a):
        for field, value in other.items():
            setattr(a, field, value(a) if callable(value) else value)
        return a.raw()

    return lie


framing("size-0", "the header says 0 bytes", resized(0))
framing("size-1", "the header says 1 byte", resized(1))
framing("size-3", "the header says 3 bytes, less than a chunk's number", resized(3))
framing("size-2-to-31", "2^31 − 1 bytes", resized(2**31 - 1))
framing("size-2-to-32", "2^32 − 1 bytes", resized(2**32 - 1))
framing("size-over-the-cap", "one byte over the cap", resized(liar.MAX_PAYLOAD + 1))
framing("size-at-the-cap", "as many bytes as the wire allows, more than the request does", resized(liar.MAX_PAYLOAD))
framing("size-63-bits", "the header shifted: what is size, type and id is 2^63", lambda a: struct.pack("<QQ", 1 << 63, 1 << 63))
framing("longer", "64 KiB more than asked for, and a header that says so", header(payload=lambda a: a.payload + bytes(65536)))
framing("trailing", "20 bytes behind the frame", lambda a: a.raw() + bytes(20))
framing("type-0", "type 0", header(kind=0))
framing("type-5", "type 5", header(kind=5))
framing("type-65535", "type 65535", header(kind=0xFFFF))
framing("type-other", "the type of another request", header(kind=INDEX))
framing("type-hello", "a second hello", lambda a: frame(HELLO, 0, 1, WELCOME))
framing("status-8", "an unknown status", header(status=8))
framing("status-65535", "status 65535", header(status=0xFFFF))
framing("id-0", "id 0", header(number=0))
framing("id-next", "the id of a request to come", header(number=lambda a: a.number + 1000))
framing("id-last", "the id of a finished request", header(number=lambda a: 2))
framing("id-hello", "the id of hello", header(number=1))
framing("id-64-bits", "id 2^64 − 1", header(number=2**64 - 1))
framing("twice", "the answer twice: the second one is nobody's", lambda a: a.raw() * 2)
framing("unasked-before", "an answer that nobody asked for, before the good one", lambda a: frame(INDEX, 0, 77, bytes(100)) + a.raw())
framing("unasked-behind", "an answer that nobody asked for, behind the good one", lambda a: a.raw() + frame(CHUNKS, 0, 99, bytes(100)))
framing("random", "4096 random bytes", lambda a: os.urandom(4096))
framing("zeros", "a megabyte of zeros", lambda a: bytes(1 << 20))
framing("http", "an HTTP answer", lambda a: HTTP)
framing("tls", "a TLS hello", lambda a: TLS)
framing("request", "the guest's own request back", lambda a: frame(CHUNKS, 0, a.number, struct.pack("<IIIII", 1, 0, 1, 9, 1)))
framing("words-short", "a refusal of 2 bytes", lambda a: frame(CHUNKS, 3, a.number, b"no"))
framing("words-long", "a refusal of 4000 bytes", lambda a: frame(CHUNKS, 3, a.number, a.payload[:4] + b"x" * 4000))


def always(name, words, lie):
    """The same for as long as it is asked: EIO in time, and nothing else fails for long."""

    @case("frame-always-" + name, "E", words + ", always", live=OWN)
    def run(context):
        g, h = context.live
        with h.lying(frame=lambda c, a: lie(a) if a.kind == CHUNKS else a.raw()):
            require(not g.read(source.TINY), "readable")


always("random", "random bytes", lambda a: os.urandom(100))
always("size-2-to-32", "2^32 − 1 bytes", resized(2**32 - 1))
always("id-next", "the id of a request to come", header(number=lambda a: a.number + 1000))


@case("frame-two-ids-swapped", "C", "the answers of two open requests under each other's ids", live=SHARED)
def ids_swapped(context):
    g, h = context.live
    files = [source.big(20), source.big(21)]
    for name in files:
        g.forget(name)
    held = []

    def hold(connection, answers):
        held.append(answers)
        if len(held) < 2:
            return []
        held[0][0].number, held[1][0].number = held[1][0].number, held[0][0].number
        return held[0] + held[1]

    data = context.image.n_meta
    lies = Times(2, hold, lambda c, answers: answers)
    with h.lying(answers=lambda c, kind, a: lies(c, a) if kind == CHUNKS and number_of(a[0]) >= data else a):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            require(all(pool.map(lambda name: g.read(name, forget=False), files)), "not readable")
    require(len(held) == 2, "not told")


@case("frame-out-of-order", "R", "the answers of a request in the opposite order", live=SHARED)
def out_of_order(context):
    g, h = context.live
    with h.lying(answers=lambda c, kind, a: a[::-1]):
        require(g.read(source.LARGE), "not readable")


@case("frame-one-missing", "E", "all answers of a request but the last", live=OWN)
def one_missing(context):
    g, h = context.live
    with h.lying(answers=lambda c, kind, a: a[:-1] if kind == CHUNKS else a):
        require(not g.read(source.TINY), "readable")


@case("frame-cut-at-every-byte", "C", "the connection ends behind each byte of an answer, from none to all but one", live=SHARED)
def cut_everywhere(context):
    g, h = context.live
    size = len(context.image.chunks[min(g.chunks_of(source.TINY))]) + 20
    for at in range(size):
        def lie(c, a, at=at):
            c.send(a.raw()[:at])
            c.sock.close()
            raise liar.Hangup

        once = Times(1, lie, honest)
        with h.lying(frame=lambda c, a: once(c, a) if a.kind == CHUNKS else a.raw()):
            require(g.read(source.TINY), f"not readable, cut at {at}")
        require(once.told == 1, f"not asked for at {at}")


@case("frame-cut-always", "E", "the connection always ends inside an answer", live=OWN)
def cut_always(context):
    g, h = context.live

    def lie(c, a):
        if a.kind != CHUNKS:
            return a.raw()
        c.send(a.raw()[:30])
        c.sock.close()
        raise liar.Hangup

    with h.lying(frame=lie):
        require(not g.read(source.TINY), "readable")


def drip(connection, data, pause):
    for k in range(len(data)):
        connection.send(data[k : k + 1])
        time.sleep(pause)
    return b""


@case("frame-drips", "R", "byte by byte, a millisecond between them", live=SHARED)
def drips(context):
    g, h = context.live
    with h.lying(frame=lambda c, a: drip(c, a.raw(), 0.001) if len(a.payload) < 300 else a.raw()):
        require(g.read(source.TINY), "not readable")


def stalling(name, words, lie, victim=source.TINY):
    @case("stall-" + name, "E", words, live=OWN)
    def run(context):
        g, h = context.live
        with h.lying(frame=lambda c, a: lie(c, a) if a.kind == CHUNKS else a.raw()):
            require(not g.read(victim), "readable")


stalling("one-byte-a-second", "one byte a second", lambda c, a: drip(c, a.raw(), 1))
stalling("after-the-header", "the header, then nothing", lambda c, a: a.raw()[: HEADER.size])
stalling("inside-the-header", "half a header, then nothing", lambda c, a: a.raw()[:7])
stalling("after-100-bytes", "512 KiB declared, 100 bytes sent, then nothing", lambda c, a: a.raw()[:100], source.big(12))
stalling("at-the-last-byte", "all but the last byte, then nothing", lambda c, a: a.raw()[:-1])
stalling("silent", "nothing at all", lambda c, a: b"")


def status(name, words, code, told=None):
    outcome = "E" if told is None else "C"

    @case(f"status-{name}" + ("-passing" if told else ""), outcome, words, live=SHARED if told else OWN)
    def run(context):
        g, h = context.live
        lies = Times(told or 1 << 30, lambda n, data: Status(code), lambda n, data: data)
        with h.lying(chunk=lies):
            readable = g.read(source.TINY)
        require(readable == (told is not None), "readable" if readable else "not readable")


for _code, _name in ((2, "unavailable"), (5, "busy"), (6, "internal")):
    status(_name, f"status {_code}, always", _code)
    status(_name, f"status {_code} three times, then the bytes", _code, told=3)

WORDS = {
    "newline": b"fine\nerror cocoon-guestfs: root\r\n",
    "escape": b"\x1b[2J\x1b]0;x\x07",
    "nul": b"a\0b",
    "not-utf-8": b"\xff\xfe\xc0\x80",
    "format": b"%s%n%n%99999d",
}
for _name, _words in WORDS.items():

    def _register(name, words):
        @case("words-" + name, "E", f"words for the log: {words!r}", live=SHARED)
        def run(context):
            g, h = context.live
            with h.lying(chunk=lambda n, data: Status(3, words)):
                require(not g.read(source.TINY), "readable")

    _register(_name, _words)


# A new connection -------------------------------------------------------------------------------------------


def hello(name, words, lie, outcome="C"):
    """What stands where hello's answer should: twice, then the truth."""

    @case("hello-" + name, outcome, words, live=SHARED)
    def run(context):
        g, h = context.live
        lies = Times(2, lambda c, a: lie(a), honest)
        with h.lying(frame=lambda c, a: lies(c, a) if a.kind == HELLO else a.raw()):
            h.drop()
            readable = g.read(source.TINY)
        require(readable or outcome == "E", "not readable")
        require(lies.told > 0, "no hello was asked for")


def welcome(magic=b"COCOONW1", version=1, most=64, more=b""):
    return header(payload=magic + struct.pack("<II", version, most) + more)


hello("version-2", "another version: EIO at once, and no talk of what else", welcome(version=2), "E")
hello("version-0", "version 0", welcome(version=0), "E")
hello("version-2-to-31", "version 2^31", welcome(version=1 << 31), "E")
hello("unsupported", "the status of another version", header(status=7, payload=bytes(4)), "E")
hello("magic", "another magic", welcome(magic=b"COCOONW2"))
hello("no-requests", "no open request is allowed", welcome(most=0))
hello("too-many-requests", "65537 open requests are allowed", welcome(most=65537))
hello("2-to-32-requests", "2^32 − 1 open requests are allowed", welcome(most=2**32 - 1))
hello("short", "a byte short", header(payload=WELCOME[:-1]))
hello("long", "a weaker suite offered behind it", welcome(more=struct.pack("<I", 0)))
hello("empty", "nothing in it", header(payload=b""))
hello("id-2", "another id", header(number=2))
hello("busy", "busy", header(status=5, payload=bytes(4)))
hello("open-first", "the answer to OPEN instead", lambda a: frame(OPEN, 0, 2, bytes(300)))
hello("twice", "twice", lambda a: a.raw() * 2)
hello("random", "random bytes", lambda a: os.urandom(64))
hello("http", "an HTTP answer", lambda a: HTTP)
hello("tls", "a TLS hello", lambda a: TLS)
hello("huge", "2^32 − 1 bytes", resized(2**32 - 1))


@case("hello-never", "E", "connections are taken and nothing is said on them", live=OWN)
def hello_never(context):
    g, h = context.live
    with h.lying(answers=lambda c, kind, a: []):
        h.drop()
        require(not g.read(source.TINY), "readable")


@case("connection-closed-at-once", "E", "every connection is closed as soon as it is made", live=OWN)
def closed_at_once(context):
    g, h = context.live

    def closing(connection):
        raise liar.Hangup

    with h.lying(connection=closing):
        h.drop()
        require(not g.read(source.TINY), "readable")


@case("connection-flooded", "C", "64 MiB that nobody asked for, as fast as they go", live=OWN)
def flooded(context):
    g, h = context.live

    def flood(connection):
        connection.request()
        block = frame(HELLO, 0, 1, WELCOME) + frame(CHUNKS, 0, 3, bytes(1 << 20)) * 64
        connection.send(block)

    lies = Times(2, flood, lambda c: c.host.lies.clear() or c.serve())
    with h.lying(connection=lies):
        h.drop()
        require(g.read(source.TINY), "not readable")


def reopened(name, words, image, live=SHARED):
    """image(context): what the host has under the name of what it gave first."""

    @case("reopen-" + name, "E", words, live=live)
    def run(context):
        g, h = context.live
        other = image(context)
        h.forget()
        with h.lying(open=lambda reference: other):
            h.drop()
            require(not g.read(VICTIM), "readable")
        require(h.asked == [], "chunks were asked for")
        require(h.references[0].endswith(context.image.digest), f"opened by name first: {h.references}")


reopened("another-image", "another image of the same tree: what was opened first is what stays mounted", lambda c: c.setup.tenant)
reopened("sealed-again", "the same image sealed again with the same key", lambda c: c.setup.image.copy().sealed())
reopened("another-descriptor", "the same manifest with another descriptor", lambda c: c.image.but(descriptor=c.setup.tenant.descriptor))
reopened("not-found", "not found", lambda c: Status(1))
reopened("denied", "denied", lambda c: Status(3))
reopened("empty-manifest", "no manifest at all", lambda c: c.image.but(manifest=b""), OWN)


@case("reopen-another-manifest", "R", "the same descriptor under a manifest with a blank more: the descriptor is what names the image", live=SHARED)
def another_manifest(context):
    g, h = context.live
    with h.lying(open=lambda reference: context.image.but(manifest=context.image.manifest + b" ")):
        h.drop()
        require(g.read(VICTIM), "not readable")


@case("reopen-handle-of-another", "E", "a good answer to OPEN, then chunks of another image under its handle", live=SHARED)
def handle_of_another(context):
    g, h = context.live
    other = context.setup.tenant.chunks
    with h.lying(chunk=lambda n, data: other[min(n, len(other) - 1)][: len(data)].ljust(len(data), b"\0")):
        h.drop()
        require(not g.read(VICTIM), "readable")


@case("connection-lost-all-the-time", "R", "the connection breaks every 30 ms under eight readers", live=OWN)
def lost_all_the_time(context):
    g, h = context.live
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(g.read, source.big(k)) for k in range(24)]
        while not all(job.done() for job in jobs):
            h.drop()
            time.sleep(0.03)
        require(all(job.result() for job in jobs), "not readable")


@case("host-refuses-for-a-while", "E", "nobody listens for longer than the deadline; then the same mount goes on", live=OWN)
def refuses_for_a_while(context):
    g, h = context.live
    h.away()
    try:
        require(not g.read(source.TINY), "readable")
        require(not g.read(source.big(2)), "readable")
    finally:
        h.listen()


@case("host-restarts", "C", "nobody listens for half a second", live=OWN)
def restarts(context):
    g, h = context.live
    h.away()
    timer = threading.Timer(0.5, h.listen)
    timer.start()
    try:
        require(g.read(source.TINY), "not readable")
    finally:
        timer.join()
