#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What guests asked a host for, from the records of test/lib/record.py.

traffic.py requests PREFIX       a line for each request, in the order of each connection (PREFIX.<n>.up)
traffic.py same PREFIX…          is what they sent the same, byte for byte? 0 or 1, and the first request that is not
traffic.py different PREFIX…     does every two of them differ in the set of chunks asked for? 0 or 1
"""

import glob
import itertools
import struct
import sys

HEADER = struct.Struct("<IHHQ")
HELLO, OPEN, INDEX, CHUNKS = 1, 2, 3, 4


def frames(data):
    at = 0
    while at < len(data):
        size, kind, _, _ = HEADER.unpack_from(data, at)
        payload = data[at + HEADER.size : at + HEADER.size + size]
        at += HEADER.size + size
        if at > len(data):
            raise ValueError("the record ends inside a frame")
        yield kind, payload


def runs(payload):
    flags, n = struct.unpack_from("<II", payload, 4)
    return flags, [struct.unpack_from("<II", payload, 12 + 8 * i) for i in range(n)]


def words(kind, payload):
    if kind == INDEX:
        length, offset = struct.unpack_from("<IQ", payload, 4)
        return f"index {offset}+{length}"
    if kind == CHUNKS:
        flags, ranges = runs(payload)
        return ("ahead" if flags & 1 else "chunks") + "".join(f" {first}+{count}" for first, count in ranges)
    return {HELLO: "hello", OPEN: f"open {payload[4:].decode()}"}[kind]


class Record:
    def __init__(self, prefix):
        self.name = prefix.rsplit("/", 1)[-1]
        self.requests = []
        self.bytes = []
        self.chunks = set()
        self.asked = 0
        paths = glob.glob(glob.escape(prefix) + ".[0-9]*.up")
        for path in sorted(paths, key=lambda p: int(p.split(".")[-2])):
            with open(path, "rb") as file:
                data = file.read()
                self.bytes.append(data)
                for kind, payload in frames(data):
                    self.requests.append(words(kind, payload))
                    if kind == CHUNKS:
                        for first, count in runs(payload)[1]:
                            self.chunks.update(range(first, first + count))
                            self.asked += count
        if not self.chunks:
            raise ValueError(f"{prefix}: no chunk was asked for")


def same(records):
    first = records[0]
    for other in records[1:]:
        for n, pair in enumerate(itertools.zip_longest(first.requests, other.requests, fillvalue="nothing more")):
            if pair[0] != pair[1]:
                print(f"request {n}: {first.name}: {pair[0]}; {other.name}: {pair[1]}"[:400])
                return 1
        if first.bytes != other.bytes:
            print(f"{first.name} and {other.name}: the same requests in other frames")
            return 1
    print(f"{len(records)} times the same {sum(map(len, first.bytes))} bytes: {len(first.requests)} requests for {first.asked} chunks")
    return 0


def different(records):
    least = None
    for a, b in itertools.combinations(records, 2):
        n = len(a.chunks ^ b.chunks)
        if n == 0:
            print(f"{a.name} and {b.name}: the same {len(a.chunks)} chunks")
            return 1
        least = n if least is None else min(least, n)
    sizes = [len(r.chunks) for r in records]
    print(f"{min(sizes)} to {max(sizes)} chunks; every two inputs differ in {least} or more")
    return 0


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("requests", "same", "different"):
        print(__doc__, file=sys.stderr)
        return 2
    records = [Record(prefix) for prefix in sys.argv[2:]]
    if sys.argv[1] == "requests":
        for record in records:
            print(*record.requests, sep="\n")
        return 0
    return same(records) if sys.argv[1] == "same" else different(records)


if __name__ == "__main__":
    sys.exit(main())
