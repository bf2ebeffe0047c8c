#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Hosts that lie to a virtual machine, a port of its virtio socket for each lie: the liar of test/hostile and its
# image. A guest in a machine cannot tell them apart or steer them, but it may ask for the image BEHAVE, and is
# told the truth on that port from then on.
"""liars.py COCOON WORK VSOCK

Seals an image below WORK and listens on VSOCK_PORT for each case. WORK/guest has what the guest needs: cases (lines
of port, name, outcome, front, time-out), keys, the digests and the names of all files, the victim's contents. Says "ready".
At SIGTERM it says whether each lie was told."""

import hashlib
import json
import os
import signal
import stat
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))

import forge  # noqa: E402
import liar  # noqa: E402
import source  # noqa: E402
from cases_chunk import flipped, other_chunk  # noqa: E402

FIRST_PORT = 9001
BEHAVE = "localhost:5000/hostile/behave:1"
VICTIM = source.big(7)
AWAY = 1.5  # seconds
TIMEOUT = 20  # seconds, more than an emulated machine needs for anything
REFUSED, EIO, RIGHT = "refused", "eio", "right"
FRONTS = ("block", "tree")
CASES = []


class Lies:
    """What one host lies with. told: how often it did."""

    def __init__(self, host, older, victim):
        self.host, self.image, self.older, self.victim, self.told = host, host.image, older, victim, 0
        self.lock = threading.Lock()

    def once_more(self):
        with self.lock:
            self.told += 1
            return self.told

    def open_as(self, image):
        def lie(reference):
            self.once_more()
            return image

        self.host.lies = {"open": lie}

    def chunk_as(self, lie):
        """About the victim's chunks, until the guest asks for BEHAVE."""

        def chunk(number, data):
            if number not in self.victim:
                return data
            self.once_more()
            return lie(number, data)

        def behave(reference):
            if reference != BEHAVE:
                return self.image
            self.host.lies = {}
            return liar.Status(liar.NOT_FOUND)

        self.host.lies = {"chunk": chunk, "open": behave}


def case(name, outcome, fronts=FRONTS, timeout=TIMEOUT):
    def register(run):
        CASES.extend((name, outcome, front, timeout, run) for front in fronts)
        return run

    return register


# While it is mounted: nothing here is reached by a front, and no chunk is asked for.


@case("older-image", REFUSED, FRONTS[:1])
def older_image(lies):
    lies.open_as(lies.older)


@case("older-descriptor", REFUSED, FRONTS[:1])
def older_descriptor(lies):
    lies.open_as(lies.image.but(descriptor=lies.older.descriptor))


@case("older-manifest", REFUSED, FRONTS[:1])
def older_manifest(lies):
    lies.open_as(lies.image.but(manifest=lies.older.manifest))


@case("unsealed-image", REFUSED, FRONTS[:1])
def unsealed_image(lies):
    manifest = json.loads(lies.image.manifest)
    for layer in manifest["layers"]:
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
    lies.open_as(lies.image.but(manifest=json.dumps(manifest).encode()))


# While it is read.


@case("chunk-flipped", EIO)
def chunk_flipped(lies):
    lies.chunk_as(lambda n, data: flipped(data, 777))


@case("chunk-of-another-place", EIO)
def chunk_of_another_place(lies):
    lies.chunk_as(lambda n, data: other_chunk(lies.image, n, len(data)).ljust(len(data), b"\0"))


@case("chunk-not-found", EIO)
def chunk_not_found(lies):
    lies.chunk_as(lambda n, data: liar.Status(liar.NOT_FOUND))


@case("chunk-silence", EIO, timeout=2)
def chunk_silence(lies):
    lies.chunk_as(lambda n, data: liar.SILENCE)


@case("connection-cut", RIGHT)
def connection_cut(lies):
    """In the middle of an answer, three times."""

    def cut(connection, a):
        if a.kind != liar.CHUNKS or int.from_bytes(a.payload[:4], "little") not in lies.victim or lies.once_more() > 3:
            return a.raw()
        connection.send(a.raw()[: len(a.raw()) // 2])
        raise liar.Hangup

    lies.host.lies = {"frame": cut}


@case("host-away", RIGHT)
def host_away(lies):
    """Nobody listens any more, so the guest's connections are reset, and then somebody does again."""

    def away(number, data):
        if number in lies.victim and lies.once_more() == 1:
            lies.host.away()
            threading.Timer(AWAY, lies.host.listen).start()
        return data

    lies.host.lies = {"chunk": away}


def chunks_with(image, name):
    """The numbers of the chunks that hold a file of source.content()."""
    mark = f"{name} ".encode()
    return {x[1] for page in image.map for x in page if mark in image.plain(x)}


def write(path, data):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def write_guest(directory, tree, image, key):
    os.makedirs(directory)
    files = {name: data for name, (mode, data) in tree.items() if stat.S_ISREG(mode)}
    names = [".", *("./" + name for name in tree)]
    lines = (" ".join(map(str, (FIRST_PORT + k, *fields))) for k, (*fields, _) in enumerate(CASES))
    write(f"{directory}/cases", "\n".join(lines) + "\n")
    write(f"{directory}/sums", "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()))
    write(f"{directory}/names", "".join(sorted(name + "\n" for name in names)))
    write(f"{directory}/victim", files[VICTIM])
    write(f"{directory}/pod.conf", f"IMAGE=localhost:5000/hostile/image:1\nBEHAVE={BEHAVE}\nVICTIM={VICTIM}\n")
    write(f"{directory}/policy.json", json.dumps({"version": 1, "images": [{"digest": image.served.identity}]}))
    write(f"{directory}/image.key", open(key, "rb").read())


def verdict(lies, outcome):
    if lies.told == 0:
        return "nobody heard the lie"
    if outcome == REFUSED and lies.host.asked:
        return f"refused after {len(lies.host.asked)} chunks"
    return None


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    cocoon, work, vsock = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    tree = source.make(work, cocoon)
    key = os.path.join(work, "image.key")
    image = forge.Image(forge.load_served(os.path.join(work, "sealed")), key=forge.read_key(key))
    write_guest(os.path.join(work, "guest"), tree, image, key)
    older, victim = image.copy().sealed(), chunks_with(image, VICTIM)
    hosts = []
    for k, (name, outcome, front, _, run) in enumerate(CASES):
        lies = Lies(liar.Host(f"{vsock}_{FIRST_PORT + k}", image.served), older, victim)
        run(lies)
        hosts.append((name, front, outcome, lies))
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
    bad = 0
    for name, front, outcome, lies in hosts:
        why = verdict(lies, outcome)
        bad += why is not None
        print(f"{'ok    ' if why is None else 'FAILED'}  {name} {front}: {why or f'told {lies.told} times'}")
        lies.host.close()
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
