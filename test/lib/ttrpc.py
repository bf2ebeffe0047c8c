# SPDX-License-Identifier: Apache-2.0
"""ttrpc for tests: a client as Kata's agent is one, a server as the Confidential Data Hub is one. Written from
containerd/ttrpc's PROTOCOL.md, on its own, so that both ends of what is tested are not ours."""

import socket
import struct
import threading

REQUEST, RESPONSE, DATA = 1, 2, 3


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """{number: last value}; varints and bytes only."""
    found, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        found[key >> 3] = value
    return found


def read(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(min(n - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return data


def receive(sock):
    size, stream, kind, flags = struct.unpack(">IIBB", read(sock, 10))
    return stream, kind, flags, read(sock, size)


def send(sock, stream, kind, payload, flags=0):
    sock.sendall(struct.pack(">IIBB", len(payload), stream, kind, flags) + payload)


class Failure(Exception):
    def __init__(self, code, words):
        super().__init__(f"{code}: {words}")
        self.code, self.words = code, words


class Client:
    """Calls of many threads over one connection, as in the agent."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.lock = threading.Lock()
        self.next = 1
        self.waiting = {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while True:
                stream, kind, _, payload = receive(self.sock)
                with self.lock:
                    event, answer = self.waiting.pop(stream)
                answer.append((kind, payload))
                event.set()
        except (EOFError, OSError):
            with self.lock:
                for event, _ in self.waiting.values():
                    event.set()

    def call(self, service, method, payload, timeout=30.0, metadata=b""):
        request = field(1, service) + field(2, method) + field(3, payload) + field(4, int(timeout * 1e9)) + metadata
        event, answer = threading.Event(), []
        with self.lock:
            stream = self.next
            self.next += 2
            self.waiting[stream] = event, answer
            send(self.sock, stream, REQUEST, request)
        if not event.wait(timeout):
            raise TimeoutError
        if not answer:
            raise ConnectionError("the connection ended")
        response = fields(answer[0][1])
        status = fields(response.get(1, b""))
        if status.get(1, 0):
            raise Failure(status[1], status.get(2, b"").decode())
        return response.get(2, b"")

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Server:
    """handler(service, method, payload) -> payload, or raises Failure. Calls run side by side."""

    def __init__(self, path, handler):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(path)
        self.sock.listen(16)
        self.handler = handler
        self.seen = []  # the requests, byte for byte
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                connection, _ = self.sock.accept()
                self.connections.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
        except OSError:
            pass

    def serve(self, connection):
        lock = threading.Lock()
        try:
            while True:
                stream, _, flags, raw = receive(connection)
                self.seen.append((stream, flags, raw))
                threading.Thread(target=self.one, args=(connection, lock, stream, raw), daemon=True).start()
        except (EOFError, OSError):
            pass

    def one(self, connection, lock, stream, raw):
        request = fields(raw)
        try:
            response = field(2, self.handler(request[1].decode(), request[2].decode(), request.get(3, b"")))
        except Failure as failure:
            response = field(1, field(1, failure.code) + field(2, failure.words))
        with lock:
            try:
                send(connection, stream, RESPONSE, response)
            except OSError:
                pass

    def close(self):
        """As if the process had been killed."""
        for sock in [self.sock, *self.connections]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
