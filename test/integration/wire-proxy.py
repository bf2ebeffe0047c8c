#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A host that lies. Sits on the chunk socket between guest and daemon, understands the frames of
# proto/WIRE.md, and damages what the host answers as the file of rules says. The file is read again
# whenever it has changed, so damage comes and goes under a living mount.
"""wire-proxy.py LISTEN TARGET RULES

LISTEN and TARGET are unix sockets. RULES has a rule a line:
  chunk N flip K         the lowest bit of byte K of stored chunk N (K < 0 counts from its end)
  chunk N cut K          chunk N without its last K bytes
  chunk N grow K         chunk N with K bytes of zero behind it
  chunk N swap M         the bytes of chunk M under the number N
  chunk N status S       no bytes, but status S of WIRE.md
  index flip K           byte K of the public part of the index
  manifest flip K        byte K of the manifest
  descriptor flip K      byte K of the descriptor
A rule is printed when it is applied for the first time.
"""

import os
import socket
import struct
import sys
import threading
import traceback

HEADER = struct.Struct("<IHHQ")
HELLO, OPEN, INDEX, CHUNKS = 1, 2, 3, 4
DESCRIPTOR_SIZE = 256


def receive(sock, n):
    """Exactly n bytes, or None when the stream has ended."""
    out = bytearray()
    while len(out) < n:
        data = sock.recv(n - len(out))
        if not data:
            return None
        out += data
    return bytes(out)


def receive_frame(sock):
    raw = receive(sock, HEADER.size)
    if raw is None:
        return None
    size, kind, status, number = HEADER.unpack(raw)
    payload = receive(sock, size)
    return None if payload is None else (kind, status, number, payload)


def send_frame(sock, kind, status, number, payload):
    sock.sendall(HEADER.pack(len(payload), kind, status, number) + payload)


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class Rules:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.seen = None
        self.rules = []
        self.told = set()

    def about(self, *words):
        """What stands behind these words in the rules that begin with them: [(verb, value)]."""
        words = [str(w) for w in words]
        with self.lock:
            st = os.stat(self.path)
            stamp = (st.st_ino, st.st_mtime_ns, st.st_size)
            if stamp != self.seen:
                with open(self.path, encoding="ascii") as f:
                    self.rules = [line.split() for line in f if line.strip()]
                self.seen = stamp
                self.told.clear()
            return [(r[-2], int(r[-1])) for r in self.rules if r[:-2] == words]

    def tell(self, rule):
        with self.lock:
            if rule not in self.told:
                self.told.add(rule)
                print("applied:", rule, flush=True)

    def flip(self, what, data, base=0):
        """`data` as it is after the rules `WHAT flip K`; its first byte is byte `base` of WHAT."""
        for verb, at in self.about(what):
            assert verb == "flip"
            if base <= at < base + len(data):
                data = flipped(data, at - base)
                self.tell(f"{what} flip {at}")
        return data


class Connection:
    def __init__(self, guest, target, rules):
        self.guest, self.target, self.rules = guest, target, rules
        self.host = connect(target)
        self.lock = threading.Lock()
        self.reference = None  # the payload of the last OPEN
        self.index_offsets = {}  # id of an open INDEX request -> offset

    def start(self):
        for run in (self.requests, self.answers):
            threading.Thread(target=self.pump, args=(run,), daemon=True).start()

    def pump(self, run):
        try:
            run()
        except OSError:
            pass
        except Exception:
            traceback.print_exc()
        # Whatever ended one direction ends the connection.
        for sock in (self.guest, self.host):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def requests(self):
        while frame := receive_frame(self.guest):
            kind, _, number, payload = frame
            with self.lock:
                if kind == OPEN:
                    self.reference = payload
                elif kind == INDEX:
                    self.index_offsets[number] = struct.unpack("<IIQ", payload)[2]
            send_frame(self.host, *frame)

    def answers(self):
        while frame := receive_frame(self.host):
            kind, status, number, payload = frame
            if status == 0 and kind == CHUNKS:
                status, payload = self.chunk(payload)
            elif status == 0 and kind == INDEX:
                payload = self.index(number, payload)
            elif status == 0 and kind == OPEN:
                payload = self.opened(payload)
            send_frame(self.guest, kind, status, number, payload)

    def chunk(self, payload):
        stored, status = payload[4:], 0
        (number,) = struct.unpack("<I", payload[:4])
        for verb, value in self.rules.about("chunk", number):
            if verb == "flip":
                stored = flipped(stored, value)
            elif verb == "cut":
                stored = stored[:-value]
            elif verb == "grow":
                stored += bytes(value)
            elif verb == "swap":
                stored = self.fetch(value)
            elif verb == "status":
                status, stored = value, b"the proxy says so"
            else:
                raise SystemExit(f"no such rule: {verb}")
            self.rules.tell(f"chunk {number} {verb} {value}")
        return status, payload[:4] + stored

    def index(self, number, payload):
        with self.lock:
            offset = self.index_offsets.pop(number)
        return self.rules.flip("index", payload, offset)

    def opened(self, payload):
        head, manifest, descriptor = payload[:8], payload[8:-DESCRIPTOR_SIZE], payload[-DESCRIPTOR_SIZE:]
        return head + self.rules.flip("manifest", manifest) + self.rules.flip("descriptor", descriptor)

    def fetch(self, number):
        """Chunk `number` of the same image, asked for on a connection of its own."""
        with connect(self.target) as sock:

            def ask(request, kind, payload):
                send_frame(sock, kind, 0, request, payload)
                return receive_frame(sock)[3]

            ask(1, HELLO, b"COCOONW1" + struct.pack("<II", 1, 0))
            handle = ask(2, OPEN, self.reference)[:4]
            return ask(3, CHUNKS, handle + struct.pack("<IIII", 0, 1, number, 1))[4:]


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    listen, target, rules = sys.argv[1], sys.argv[2], Rules(sys.argv[3])
    server = socket.socket(socket.AF_UNIX)
    server.bind(listen)
    server.listen(128)
    while True:
        guest, _ = server.accept()
        try:
            Connection(guest, target, rules).start()
        except OSError as e:
            print(f"{target}: {e}", file=sys.stderr, flush=True)
            guest.close()


if __name__ == "__main__":
    sys.exit(main())
