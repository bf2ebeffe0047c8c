# SPDX-License-Identifier: Apache-2.0
#
# Hosts that come and go, guests that are killed, many readers at once, and what must never happen whatever the
# host does: wait without end, write without end, grow without end.

import concurrent.futures
import errno
import os
import random
import signal
import struct
import threading
import time

import guest
import liar
import source
from case import OWN, case, require
from guest import failure
from liar import SILENCE, Status


@case("life-cached-data-needs-no-host", "R", "the host is gone: what the daemon has verified is read at once")
def cached_data(context):
    with context.mount(cache="32M") as (g, h):
        require(g.read(source.big(4)), "not readable")
        names = g.directories()["many"]
        require(set(os.listdir(g.path("many"))) == names, "a listing")
        h.lies = {"answers": lambda c, kind, a: []}
        start = time.monotonic()
        require(g.read(source.big(4)), "not readable from memory")
        require(set(os.listdir(g.path("many"))) == names, "a listing from memory")
        require(time.monotonic() - start < 1, "it waits for the host")
        h.lies = {}


@case("life-back-after-seconds", "C", "the host is away for longer than the deadline, its readers get EIO; new readers wait and go on when it is back")
def back_after_seconds(context):
    with context.mount(timeout=4) as (g, h):
        h.away()
        timer = threading.Timer(2.5, h.listen)
        timer.start()
        require(g.read(source.big(6)), "a reader within its deadline fails")
        timer.join()
        g.all_right()


@case("life-other-version-after-restart", "E", "the host restarts with another version, and later with ours again")
def other_version(context):
    with context.mount() as (g, h):
        h.away()
        h.lies = {"hello": lambda: b"COCOONW1" + struct.pack("<II", 2, 64)}
        h.listen()
        require(not g.read(source.big(6)), "readable")
        require(h.asked == [], "chunks were asked for")
        h.drop()
        h.lies = {}
        g.recovers()
        g.all_right()


@case("life-guest-killed-while-reading", "E", "the daemon is killed in the middle of a read: EIO or ENOTCONN; a new mount checks everything again")
def guest_killed(context):
    with context.host(chunk=lambda n, data: SILENCE if n >= context.image.n_meta else data) as h:
        g = guest.Guest(context.setup, h, context.front, timeout=20)
        context.guests.append(g)
        require(g.mounted(), "not mounted")
        fd = os.open(g.path(source.big(1)), os.O_RDONLY)
        timer = threading.Timer(0.5, lambda: os.kill(g.process.pid, signal.SIGKILL))
        timer.start()
        code = failure(os.pread, fd, 4096, 0)
        failure(os.close, fd)  # of a filesystem that nobody serves: it may say so
        timer.join()
        g.abandon()
        require(code in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED), f"the reader sees {os.strerror(code)}")
        h.lies = {"chunk": lambda n, data: data[:-1] + bytes([data[-1] ^ 1]) if n >= h.image.n_meta else data}
        with context.guest(h) as again:
            require(again.mounted(), "not mounted again")
            require(not again.read(source.big(1)), "not checked again")
            h.lies = {}
            again.all_right()


@case("life-unmount-while-waiting", "R", "the mount is ended while readers wait for a silent host")
def ended_while_waiting(context):
    with context.host() as h:
        g = guest.Guest(context.setup, h, context.front, timeout=60)
        context.guests.append(g)
        require(g.mounted(), "not mounted")
        h.lies = {"chunk": lambda n, data: SILENCE}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            paths = [g.path(source.big(k)) for k in range(4)]
            jobs = [pool.submit(failure, lambda p: open(p, "rb").read(), p) for p in paths]
            time.sleep(0.5)
            os.kill(g.process.pid, signal.SIGTERM)
            codes = [job.result() for job in jobs]
        require(g.ended(10) and g.status == 0, f"exit code {g.status}")
        require(all(codes), "a reader got something")
        g.check_log()


def mixed(seed):
    """Lies of every kind about every answer, more often than not the truth; the same for the same seed."""
    r = random.Random(seed)

    def lie(c, a):
        raw = a.raw()
        kind = r.randrange(30)
        if kind == 0:
            c.sock.close()
            raise liar.Hangup
        if kind == 1:
            c.send(raw[: r.randrange(len(raw))])
            c.sock.close()
            raise liar.Hangup
        if kind == 2:
            at = r.randrange(min(len(raw), 64))
            return raw[:at] + bytes([raw[at] ^ 1 << r.randrange(8)]) + raw[at + 1 :]
        if kind == 3:
            return raw + r.randbytes(r.randrange(1, 100))
        if kind == 4:
            return raw + raw
        if kind == 5:
            at = r.randrange(len(raw))
            return raw[:at] + bytes([raw[at] ^ 1 << r.randrange(8)]) + raw[at + 1 :]
        if kind == 6 and a.kind == liar.CHUNKS:
            return liar.frame(a.kind, r.randrange(8), a.number, a.payload[:4] + b"no")
        return raw

    return lie


for _seed in (1, 2, 3):

    def _register(seed):
        @case(f"life-mixed-lies-{seed}", "E", f"three seconds of eight readers, names and contents, under lies of every kind, seed {seed}")
        def run(context):
            with context.mount(cache="1M") as (g, h):
                h.lies = {"frame": mixed(seed)}
                end = time.monotonic() + 3

                def reader(k):
                    names = [source.big(n) for n in range(k, source.BIG, 8)]
                    while time.monotonic() < end:
                        for name in names:
                            g.read(name)

                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    for job in [pool.submit(reader, k) for k in range(8)]:
                        job.result()
                g.survey()
                h.lies = {}
                h.drop()
                g.recovers()
                g.all_right()

    _register(_seed)


@case("life-readers-32", "R", "32 readers on an honest host that answers slowly and in any order")
def many_readers(context):
    def slowly(c, kind, answers):
        time.sleep(0.002)
        return sorted(answers, key=lambda a: hash(a.payload))

    with context.mount(cache="1M") as (g, h):
        with h.lying(answers=slowly), concurrent.futures.ThreadPoolExecutor(32) as pool:
            jobs = [pool.submit(g.read, source.big(k % source.BIG)) for k in range(96)]
            require(all(job.result() for job in jobs), "not readable")
        g.all_right()


@case("life-readers-32-of-a-liar", "E", "32 readers while one answer of three is a lie of some kind: right, or EIO, and never wrong")
def many_readers_of_a_liar(context):
    count = [0]

    def lie(n, data):
        count[0] += 1
        kinds = [data, data, data, data, data[:-1], bytes(len(data)), Status(1), Status(6), Status(5)]
        return kinds[count[0] * 7 % len(kinds)]

    with context.mount(cache="1M") as (g, h):
        with h.lying(chunk=lie), concurrent.futures.ThreadPoolExecutor(32) as pool:
            for job in [pool.submit(g.read, source.big(k % source.BIG)) for k in range(96)]:
                job.result()
        g.recovers()
        g.all_right()


@case("life-one-request-at-a-time", "R", "a host that allows one open request")
def one_request(context):
    with context.host(hello=lambda: b"COCOONW1" + struct.pack("<II", 1, 1)) as h, context.guest(h, cache="1M") as g:
        require(g.mounted(), "not mounted")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            jobs = [pool.submit(g.read, source.big(k)) for k in range(32)]
            require(all(job.result() for job in jobs), "not readable")
        g.all_right()


@case("life-host-does-not-read", "E", "a host that takes connections and reads nothing: requests end in time", live=OWN)
def does_not_read(context):
    g, h = context.live

    def deaf(connection):
        connection.request()
        connection.send(liar.Answer(liar.HELLO, 0, 1, liar.WELCOME).raw())
        time.sleep(8)

    with h.lying(connection=deaf):
        h.drop()
        require(not g.read(source.TINY), "readable")
    h.drop()


@case("life-log-is-bounded", "E", "a thousand failing reads write at most some hundred lines", live=OWN)
def log_is_bounded(context):
    g, h = context.live
    with h.lying(chunk=lambda n, data: data[:-1] + bytes([data[-1] ^ 1]) if n >= h.image.n_meta else data):
        for k in range(1000):
            fd = os.open(g.path(source.big(k % 8)), os.O_RDONLY)
            require(failure(os.pread, fd, 4096, (k // 8) * 4096 % 131072) == errno.EIO, "readable")
            os.close(fd)
    lines = g.log().count(b"\n")
    require(lines < 400, f"{lines} lines")


@case("life-memory-is-bounded", "R", "every file read by eight readers, with a cache of 1 MiB")
def memory_is_bounded(context):
    with context.mount(cache="1M") as (g, h):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(g.read, source.big(k % source.BIG)) for k in range(3 * source.BIG)]
            require(all(job.result() for job in jobs), "not readable")
        require(g.peak_now() < context.setup.idle_peak + (160 << 20), f"{g.peak_now() >> 20} MiB")


@case("life-writes", "R", "every write is EROFS, whatever the host does", live=OWN)
def writes(context):
    g, h = context.live
    with h.lying(chunk=lambda n, data: Status(1)):
        for call, args in (
            (os.mkdir, (g.path("new"),)),
            (os.unlink, (g.path("replaced"),)),
            (os.rename, (g.path("replaced"), g.path("other"))),
            (os.truncate, (g.path("replaced"), 0)),
            (os.symlink, ("x", g.path("new"))),
            (os.chmod, (g.path("replaced"), 0o777)),
            (os.setxattr, (g.path("replaced"), "user.x", b"y")),
            (os.open, (g.path("replaced"), os.O_RDWR)),
            (os.open, (g.path("new"), os.O_CREAT | os.O_WRONLY)),
        ):
            code = failure(call, *args)
            require(code in (errno.EROFS, errno.EIO), f"{call.__name__}: {os.strerror(code)}")


@case("life-read-past-the-end", "R", "reads behind the end, and of offset and length that overflow", live=OWN)
def past_the_end(context):
    g, h = context.live
    fd = os.open(g.path(source.TINY), os.O_RDONLY)
    size = len(context.setup.tree[source.TINY][1])
    try:
        require(os.pread(fd, 4096, size) == b"", "bytes at the end")
        require(os.pread(fd, 4096, size + (1 << 40)) == b"", "bytes far behind it")
        require(len(os.pread(fd, 1 << 20, size - 5)) == 5, "not 5 bytes")
        require(failure(os.pread, fd, 4096, 2**63 - 10) in (0, errno.EINVAL, errno.EOVERFLOW), "another error")
    finally:
        os.close(fd)
