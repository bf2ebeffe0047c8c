# SPDX-License-Identifier: Apache-2.0
#
# A real image: Debian 12, then python3, then numpy with configuration and start-up files, as three gzip layers. Each
# stage is a whole system made by mmdebstrap; a layer is what its tar has that the tar before has not,
# with whiteouts for what went away. mmdebstrap's tars are the same for the same archive state and
# SOURCE_DATE_EPOCH, and so are the layers.

import hashlib
import os
import subprocess
import tarfile
import tempfile

from tarwriter import BLK, CHR, DIR, FIFO, FILE, LINK, SYMLINK

EPOCH = "1700000000"
ARCHIVE = os.environ.get("DEBIAN_ARCHIVE", "http://deb.debian.org")
MAIN = [f"deb {ARCHIVE}/debian bookworm main"]
UPDATED = MAIN + [
    f"deb {ARCHIVE}/debian bookworm-updates main",
    f"deb {ARCHIVE}/debian-security bookworm-security main",
]
ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
STAGES = ["", "python3", "python3,python3-numpy"]
DEVICES = {tarfile.CHRTYPE: CHR, tarfile.BLKTYPE: BLK}


def bootstrap(path, packages, sources):
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    if packages:
        command.append("--include=" + packages)
    env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    return subprocess.Popen([*command, "bookworm", path, *sources], env=env)


class Stage:
    """The members of one tar, by name, each with what makes it different from another."""

    def __init__(self, path):
        self.tar = tarfile.open(path, encoding="utf-8", errors="surrogateescape")
        self.members = {}
        self.names = {}  # first name of an inode -> all its names, in the tar's order
        for m in self.tar:
            name = os.path.normpath(m.name)
            self.members[name] = m
            self.names.setdefault(os.path.normpath(m.linkname) if m.islnk() else name, []).append(name)
        self.state = {}
        for first, names in self.names.items():
            m = self.members[first]
            digest = hashlib.file_digest(self.tar.extractfile(m), "sha256").hexdigest() if m.isreg() else ""
            state = (m.type, m.mode, m.uid, m.gid, m.mtime, m.linkname, m.devmajor, m.devminor, digest)
            state += (tuple(sorted(m.pax_headers.items())),)
            for n in names:
                # Names of one inode change together, or a layer would tear them apart.
                self.state[n] = state + (tuple(sorted(names)),)


def copy_member(out, stage, m, name):
    raw = lambda s: s.encode("utf-8", "surrogateescape")
    xattrs = {
        raw(k.removeprefix("SCHILY.xattr.")): raw(v)
        for k, v in m.pax_headers.items()
        if k.startswith("SCHILY.xattr.")
    }
    common = dict(mode=m.mode, uid=m.uid, gid=m.gid, mtime=int(m.mtime) * 10**9, xattrs=xattrs)
    if m.isdir():
        out.add(raw(name) + b"/", DIR, **common)
    elif m.islnk():
        out.add(raw(name), LINK, link=raw(os.path.normpath(m.linkname)), **common)
    elif m.issym():
        out.add(raw(name), SYMLINK, link=raw(m.linkname), **common)
    elif m.type in DEVICES:
        out.add(raw(name), DEVICES[m.type], rdev=(m.devmajor, m.devminor), **common)
    elif m.isfifo():
        out.add(raw(name), FIFO, **common)
    else:
        f = stage.tar.extractfile(m)
        out.add(raw(name), FILE, iter(lambda: f.read(1 << 20), b""), size=m.size, **common)


def write_difference(out, old, new):
    """The layer that turns `old` into `new`."""
    gone = sorted(n for n in (old.state if old else {}) if n not in new.state)
    changed = [n for n in new.members if not old or old.state.get(n) != new.state[n]]
    parents = set()
    for n in gone + changed:
        while n := os.path.dirname(n):
            parents.add(n)
    listed = set(changed) | {p for p in parents if p in new.members}
    for n in gone:
        if os.path.dirname(n) not in gone:
            directory, base = os.path.split(n)
            out.add(os.path.join(directory, ".wh." + base).encode("utf-8", "surrogateescape"), FILE, mode=0)
    for n, m in new.members.items():
        if n in listed:
            copy_member(out, new, m, n)


def plant(out, canary):
    out.add(b"etc/demo/", DIR, mode=0o755)
    out.add(b"etc/demo/app.conf", FILE, b"threads = 2\nlog = stderr\n")
    out.add(b"etc/demo/app.py", FILE, b'import json, numpy\nprint("ok")\n', mode=0o755)
    if canary:
        text = canary.encode()
        out.add(b"etc/demo/secret.txt", FILE, b"the canary is " + text + b"\n", mode=0o600)
        out.add(b"etc/demo/" + text, FILE, b"the name is the canary\n")


def layers(layout, stages, plant, sources=MAIN):
    """One gzip layer for each stage, a list of packages; `plant` adds to the last."""
    last = len(stages) - 1
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(layout.dir))) as tmp:
        paths = [os.path.join(tmp, f"{i}.tar") for i in range(len(stages))]
        running = [bootstrap(p, s, sources) for p, s in zip(paths, stages)]
        if any([p.wait() for p in running]):
            raise RuntimeError("mmdebstrap failed")
        tars, old = [], None
        for i, path in enumerate(paths):
            new = Stage(path)
            with layout.tar("gzip") as out:
                write_difference(out, old, new)
                if i == last:
                    plant(out)
            tars.append(out)
            old = new
    return tars


def build(layout, canary=None, sources=MAIN):
    tars = layers(layout, STAGES, lambda out: plant(out, canary), sources)
    env = list(ENV)
    labels = {"org.opencontainers.image.title": "debian-numpy"}
    if canary:
        env.append("DEMO_CANARY=" + canary)
        labels["demo.canary"] = canary
    config = {
        "Env": env,
        "Entrypoint": ["python3"],
        "Cmd": ["-c", 'import json, numpy; print("ok")'],
        "WorkingDir": "/etc/demo",
        "User": "0:0",
    }
    return layout.image(tars, config=config, labels=labels)


def build_updated(layout, canary=None):
    return build(layout, canary, UPDATED)
