# SPDX-License-Identifier: Apache-2.0
#
# A case is one name, one lie, one expected outcome. Cases register themselves here; hostile.py runs them.

import contextlib
import os
import tempfile

import guest
import liar
from guest import TIMEOUT, Wrong, require

MOUNT_LIMIT = TIMEOUT + 3
GROWTH = 96 << 20  # of a sanitized daemon under one case

OUTCOMES = {
    "E": "the read fails with EIO, other files go on working, no byte is wrong",
    "M": "the mount is refused, nothing is visible",
    "C": "the connection is dropped and made again, reads are right",
    "E/M": "refused, or EIO for what it covers",
    "R": "the lie has no effect: everything is right",
}
SHARED, OWN = "shared", "own"
CASES = []


class Case:
    def __init__(self, name, outcome, lie, run, live, fronts):
        self.name, self.outcome, self.lie, self.run, self.live, self.fronts = name, outcome, lie, run, live, fronts


def case(name, outcome, lie, live=None, fronts=("block", "tree")):
    """Registers the decorated function. It gets a mount and its host as context.live, and everything has to be
    right there afterwards: `live` is SHARED with other cases, OWN for those that wait for deadlines, or None for
    those that make all they need."""

    def register(run):
        if any(c.name == name for c in CASES):
            raise ValueError(f"two cases are named {name}")
        CASES.append(Case(name, outcome, lie, run, live, fronts))
        return run

    return register


class Context:
    """What a case gets: the front that it runs on, images, mounts. live: the shared guest."""

    def __init__(self, setup, front, live=None):
        self.setup, self.front, self.live = setup, front, live
        self.guests = []

    @property
    def image(self):
        return self.setup.image.served

    @contextlib.contextmanager
    def host(self, image=None, **lies):
        h = liar.Host(tempfile.mktemp(prefix="host-", dir=self.setup.work), image or self.image)
        h.lies = lies
        try:
            yield h
        finally:
            h.close()

    @contextlib.contextmanager
    def guest(self, host, **options):
        options.setdefault("cache", "4M")
        g = guest.Guest(self.setup, host, options.pop("front", self.front), **options)
        self.guests.append(g)
        try:
            yield g
        except BaseException:
            g.abandon()
            raise
        g.stop()

    @contextlib.contextmanager
    def mount(self, image=None, **options):
        """(guest, host) of an honest host."""
        with self.host(image) as h, self.guest(h, **options) as g:
            require(g.mounted(), f"not mounted: {g.words()}")
            h.forget()
            yield g, h

    def refused(self, image=None, lies=None, chunks=None, within=MOUNT_LIMIT, codes=(32,), **options):
        """The mount is refused: exit code, nothing visible, in time, within memory, and after no more chunk
        requests than `chunks`."""
        with self.host(image, **(lies or {})) as h:
            g = guest.Guest(self.setup, h, self.front, **options)
            self.guests.append(g)
            try:
                require(not g.mounted(within), "mounted")
                require(g.status in codes, f"exit code {g.status}: {g.words()}")
                require(not guest.is_mounted(g.dir) and os.listdir(g.dir) == [], "something is visible")
                require(len(g.words()) > 10, "refused without a word")
                require(chunks is None or len(h.asked) <= chunks, f"{len(h.asked)} chunks were asked for")
                require(g.peak < self.setup.idle_peak + GROWTH, f"{g.peak >> 20} MiB")
                g.check_log()
            except BaseException:
                g.abandon()
                raise
            return g
