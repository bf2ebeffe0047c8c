#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Searches files, directories and the memory of live processes for secrets.

search.py make DIR        makes DIR/<canary>.txt and DIR/random.bin, prints the canary
search.py find DIR WHERE…   WHERE: a file, a directory (its own filesystem only), pid:PID
                          prints a line for each WHERE: "clean|FOUND, WHERE, bytes searched, what and where first"

Needles are the canary as UTF-8, UTF-16 and base64 at its three alignments, and
slices of random.bin. Those are there because compression hides text: what is random
does not get shorter, so gzip and zstd store it as it is, and only encryption hides it.
A file NAME.key in DIR is a binary secret: it is looked for as it is, in hex and in base64.
Exit status: 0 nothing found, 1 found, 2 a WHERE could not be searched.
"""

import base64
import os
import secrets
import sys

RANDOM_SIZE = 1 << 20
SLICE = 24
STEP = 64 << 10
BLOCK = 4 << 20


def make(directory):
    canary = "canary-" + secrets.token_hex(16)
    os.makedirs(directory)
    with open(os.path.join(directory, canary + ".txt"), "w", encoding="ascii") as file:
        file.write(f"If you can read {canary}, the image is not sealed.\n")
    with open(os.path.join(directory, "random.bin"), "wb") as file:
        file.write(secrets.token_bytes(RANDOM_SIZE))
    print(canary)


def needles(directory):
    """Bytes to look for -> what they are."""
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            content = file.read()
        if name == "random.bin":
            for at in range(0, len(content) - SLICE, STEP):
                found[content[at : at + SLICE]] = f"random.bin at {at}"
        elif name.endswith(".key"):
            found.update(written(content, name.removesuffix(".key")))
        else:
            text = name.removesuffix(".txt").encode()
            found[text] = "the canary"
            found[text.decode().encode("utf-16-le")] = "the canary in UTF-16"
            found.update(in_base64(text, "the canary"))
    return found


def in_base64(secret, what):
    """At its three alignments; the first and last characters depend on the neighbours."""
    return {base64.b64encode(b"\0" * shift + secret)[4:-4]: what + " in base64" for shift in range(3)}


def written(secret, what):
    """A binary secret in the ways in which programs write one down."""
    text = secret.hex().encode()
    return {secret: what, text: what + " in hex", text.upper(): what + " in hex", **in_base64(secret, what)}


class Search:
    def __init__(self, directory):
        self.needles = needles(directory)
        self.overlap = max(len(needle) for needle in self.needles) - 1
        self.searched = 0
        self.hits = []

    def block(self, data, where, base):
        for needle, what in self.needles.items():
            at = data.find(needle)
            if at >= 0:
                self.hits.append(f"{what} in {where} at {base + at}")

    def stream(self, read, where, base=0):
        """read(n) gives the next n bytes, b"" at the end."""
        tail = b""
        while data := read(BLOCK):
            self.searched += len(data)
            self.block(tail + data, where, base - len(tail))
            base += len(data)
            tail = data[-self.overlap :]

    def file(self, path):
        with open(path, "rb", buffering=0) as file:
            self.stream(file.read, path)

    def tree(self, root):
        device = os.lstat(root).st_dev
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if os.lstat(os.path.join(directory, name)).st_dev == device]
            for name in names + files:
                path = os.path.join(directory, name)
                self.block(os.fsencode(name), f"the name of {path}", 0)
                if os.path.islink(path):
                    self.block(os.fsencode(os.readlink(path)), f"the target of {path}", 0)
                elif os.path.isfile(path):
                    try:
                        self.file(path)
                    except FileNotFoundError:
                        pass  # a running daemon has removed it

    def process(self, pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
            ranges = [line.split(None, 5) for line in maps]
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for fields in ranges:
                if not fields[1].startswith("r") or fields[-1].strip() in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                    continue
                at, end = (int(number, 16) for number in fields[0].split("-"))

                def read(size, position=[at], end=end):
                    # A mapping past its file's end, or gone by now, cannot be read: skip that part.
                    while position[0] < end:
                        size = min(size, end - position[0])
                        try:
                            memory.seek(position[0])
                            data = memory.read(size)
                        except OSError:
                            data = b""
                        if data:
                            position[0] += len(data)
                            return data
                        if size > 4096:
                            size = 4096
                        else:
                            position[0] += size
                    return b""

                self.stream(read, f"process {pid}", at)


def find(directory, wheres):
    status = 0
    for where in wheres:
        search = Search(directory)
        try:
            if where.startswith("pid:"):
                search.process(int(where.removeprefix("pid:")))
            elif os.path.isdir(where):
                search.tree(where)
            else:
                search.file(where)
        except OSError as error:
            print(f"not searched\t{where}\t0\t{error.strerror}")
            status = 2
            continue
        if search.hits:
            status = max(status, 1)
        detail = f"{len(search.hits)} places; {search.hits[0]}" if search.hits else ""
        print(f"{'FOUND' if search.hits else 'clean'}\t{where}\t{search.searched}\t{detail}")
    return status


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(sys.argv[2])
        return 0
    if len(sys.argv) > 3 and sys.argv[1] == "find":
        return find(sys.argv[2], sys.argv[3:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
