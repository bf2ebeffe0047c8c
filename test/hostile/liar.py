# SPDX-License-Identifier: Apache-2.0
#
# A host that speaks proto/WIRE.md: honest as long as nobody tells it to lie. A lie is a set of functions, one
# for each place where a host can say something else; they come and go under living connections.

import contextlib
import os
import socket
import struct
import threading

HEADER = struct.Struct("<IHHQ")
HELLO, OPEN, INDEX, CHUNKS = 1, 2, 3, 4
NOT_FOUND, UNAVAILABLE, DENIED, INVALID, BUSY, INTERNAL, UNSUPPORTED = range(1, 8)
WELCOME = b"COCOONW1" + struct.pack("<II", 1, 64)
MAX_PAYLOAD = 0x120000


class Status:
    """An answer that is none."""

    def __init__(self, status, words=b"the host says no", number=None):
        self.status, self.words, self.number = status, words, number


SILENCE = Status(0)  # no answer at all


class Hangup(Exception):
    pass


def frame(kind, status, number, payload, size=None):
    return HEADER.pack(len(payload) if size is None else size, kind, status, number) + payload


class Answer:
    """A frame that is about to be sent."""

    def __init__(self, kind, status, number, payload):
        self.kind, self.status, self.number, self.payload = kind, status, number, payload

    def raw(self):
        return frame(self.kind, self.status, self.number, self.payload)


class Connection:
    def __init__(self, host, sock):
        self.host, self.sock = host, sock
        self.handles = {}

    def receive(self, n):
        out = bytearray()
        while len(out) < n:
            data = self.sock.recv(n - len(out))
            if not data:
                raise Hangup
            out += data
        return bytes(out)

    def request(self):
        size, kind, _, number = HEADER.unpack(self.receive(HEADER.size))
        return kind, number, self.receive(size)

    def send(self, data):
        self.sock.sendall(data)

    def serve(self):
        take_over = self.host.lies.get("connection")
        if take_over:
            take_over(self)
            return
        while True:
            kind, number, payload = self.request()
            lies = self.host.lies
            answers = list(self.host.answers(self, kind, number, payload, lies))
            if "answers" in lies:
                answers = lies["answers"](self, kind, answers)
            for a in answers:
                if "frame" in lies:
                    self.send(lies["frame"](self, a))
                else:
                    self.send(a.raw())


class Host:
    """A unix socket at `path` that serves `image` (forge.Served) under every name."""

    def __init__(self, path, image):
        self.path, self.image, self.lies = path, image, {}
        self.asked, self.indexes, self.references = [], [], []  # for cases that count
        self.n_connections = 0
        self.lock = threading.Lock()
        self.connections = set()
        self.server = None
        self.listen()

    def listen(self):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(64)
        threading.Thread(target=self.accept, args=(self.server,), daemon=True).start()

    def accept(self, server):
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(sock)
                self.n_connections += 1
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        try:
            Connection(self, sock).serve()
        except (Hangup, OSError):
            pass
        finally:
            with self.lock:
                self.connections.discard(sock)
            sock.close()

    def drop(self):
        """Every connection breaks now."""
        with self.lock:
            for sock in self.connections:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def away(self):
        """Nobody listens any more."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        os.unlink(self.path)
        self.drop()

    def close(self):
        if os.path.exists(self.path):
            self.away()

    def forget(self):
        self.asked, self.indexes, self.references = [], [], []

    @contextlib.contextmanager
    def lying(self, **lies):
        self.lies = lies
        try:
            yield self
        finally:
            self.lies = {}

    def answers(self, connection, kind, number, payload, lies):
        def refuse(s, chunk=0):
            words = struct.pack("<I", chunk if s.number is None else s.number) + s.words
            return Answer(kind, s.status, number, words)

        if kind == HELLO:
            yield Answer(kind, 0, number, lies["hello"]() if "hello" in lies else WELCOME)
        elif kind == OPEN:
            reference = payload[4:].decode()
            self.references.append(reference)
            image = lies["open"](reference) if "open" in lies else self.image
            if image is SILENCE:
                return
            if isinstance(image, Status):
                yield refuse(image)
                return
            handle = len(connection.handles) + 1
            connection.handles[handle] = image
            head = struct.pack("<II", handle, len(image.manifest))
            yield Answer(kind, 0, number, head + image.manifest + image.descriptor)
        elif kind == INDEX:
            handle, length, offset = struct.unpack("<IIQ", payload)
            data = connection.handles[handle].index[offset : offset + length]
            self.indexes.append((offset, length))
            data = lies["index"](offset, data) if "index" in lies else data
            if data is SILENCE:
                return
            yield refuse(data) if isinstance(data, Status) else Answer(kind, 0, number, data)
        elif kind == CHUNKS:
            handle, _, n = struct.unpack_from("<III", payload)
            image = connection.handles[handle]
            for first, count in struct.iter_unpack("<II", payload[12:]):
                for chunk in range(first, first + count):
                    self.asked.append(chunk)
                    data = image.chunks[chunk]
                    data = lies["chunk"](chunk, data) if "chunk" in lies else data
                    if data is SILENCE:
                        continue
                    if isinstance(data, Status):
                        yield refuse(data, chunk)
                    else:
                        yield Answer(kind, 0, number, struct.pack("<I", chunk) + data)


class Times:
    """A lie that is told n times, and never again. `told` counts."""

    def __init__(self, n, lie, honest):
        self.n, self.lie, self.honest, self.told = n, lie, honest, 0
        self.lock = threading.Lock()

    def __call__(self, *args):
        with self.lock:
            mine = self.told < self.n
            self.told += mine
        return self.lie(*args) if mine else self.honest(*args)
