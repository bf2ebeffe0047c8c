# SPDX-License-Identifier: Apache-2.0
#
# Sixty layers of random changes over a small tree, so that names come, go, change kind and come back
# many times. A model of the tree keeps every change possible; the seed makes it the same each time.

import random

from tarwriter import DIR, FIFO, FILE, LINK, SYMLINK

SECOND = 10**9
LAYERS = 60
CHANGES = 40


class Tree:
    """path -> kind, for what is there in all layers so far."""

    def __init__(self):
        self.kind = {b"": DIR}

    def children(self, path):
        start = path + b"/" if path else b""
        return [p for p in self.kind if p and p.startswith(start) and p != path]

    def remove(self, path):
        for p in self.children(path):
            del self.kind[p]
        self.kind.pop(path, None)

    def of(self, *kinds):
        return sorted(p for p, k in self.kind.items() if p and k in kinds)

    def directories(self):
        return sorted(p for p, k in self.kind.items() if k == DIR and p.count(b"/") < 6)


class Layer:
    def __init__(self, rng, tree, tar, number):
        self.rng, self.tree, self.tar, self.number = rng, tree, tar, number
        self.touched = set()  # names this layer has said something about, and their parents

    def attributes(self):
        rng = self.rng
        out = {
            "mode": rng.choice((0o644, 0o600, 0o755, 0o4755, 0o2711, 0o0, 0o1777)),
            "uid": rng.choice((0, 0, 0, 33, 1000, 100000, 4294967294)),
            "gid": rng.choice((0, 0, 0, 33, 1000, 100000, 4294967294)),
            "mtime": rng.randrange(0, 2000000000 * SECOND),
        }
        return out

    def xattrs(self):
        if self.rng.random() < 0.8:
            return None
        return {b"user.layer": b"%d" % self.number, b"trusted.r": self.rng.randbytes(self.rng.randrange(1, 50))}

    def new_name(self):
        rng = self.rng
        parent = rng.choice(self.tree.directories())
        # Few names, so that they meet again in later layers.
        name = b"%s%02d" % (rng.choice((b"a", b"b", b"lib", b"x.y", b"-", b"\xfe")), rng.randrange(20))
        return parent + b"/" + name if parent else name

    def claim(self, path):
        """False when this layer has touched path, or something below it, before."""
        if path in self.touched or any(p.startswith(path + b"/") for p in self.touched):
            return False
        # A name whose parent directory was whited out in this layer is the model's business; a parent
        # that became something else here is not a directory any more.
        self.touched.add(path)
        return True

    def put(self, path, kind):
        if not self.claim(path):
            return
        rng, tree, tar = self.rng, self.tree, self.tar
        if kind != DIR or tree.kind.get(path) != DIR:
            tree.remove(path)
        tree.kind[path] = kind
        dot = rng.choice((b"", b"", b"./"))
        if kind == DIR:
            tar.add(dot + path + rng.choice((b"", b"/")), DIR, xattrs=self.xattrs(), **self.attributes())
        elif kind == FILE:
            size = rng.choice((0, 1, 100, 4096, 5000, 20000))
            data = rng.choice((rng.randbytes(size), b"%d " % size * (size // 4)))
            tar.add(dot + path, FILE, data, xattrs=self.xattrs(), **self.attributes())
        elif kind == SYMLINK:
            target = rng.choice((b"..", b"a01", b"/lib02/x.y03", b"t" * rng.randrange(1, 300)))
            tar.add(dot + path, SYMLINK, link=target, **{**self.attributes(), "mode": 0o777})
        else:
            tar.add(dot + path, FIFO, **self.attributes())

    def hard_link(self):
        targets = self.tree.of(FILE)
        if not targets:
            return
        target, path = self.rng.choice(targets), self.new_name()
        if target == path or self.tree.kind.get(path) == DIR or not self.claim(path):
            return
        self.touched.add(target)  # nobody may take it away in this layer any more
        self.tree.remove(path)
        self.tree.kind[path] = FILE
        # A link's own attributes are not the inode's: readers have to ignore them.
        self.tar.add(path, LINK, link=target)

    def whiteout(self, kinds):
        paths = self.tree.of(*kinds)
        if not paths:
            return
        path = self.rng.choice(paths)
        if not self.claim(path):
            return
        self.tree.remove(path)
        parent, _, name = path.rpartition(b"/")
        self.tar.add((parent + b"/" if parent else b"") + b".wh." + name, FILE, mode=0)
        if self.rng.random() < 0.3:
            self.touched.discard(path)
            self.put(path, self.rng.choice((FILE, DIR, SYMLINK)))

    def opaque(self):
        paths = [p for p in self.tree.directories() if p and self.tree.children(p)]
        if not paths:
            return
        path = self.rng.choice(paths)
        if any(p == path or p.startswith(path + b"/") for p in self.touched):
            return
        first = self.rng.random() < 0.5
        self.touched.add(path)
        for p in self.tree.children(path):
            del self.tree.kind[p]
        mark = path + b"/.wh..wh..opq"
        if first:
            self.tar.add(mark, FILE, mode=0)
        for i in range(self.rng.randrange(3)):
            self.put(path + b"/new%d" % i, self.rng.choice((FILE, DIR)))
        if not first:
            self.tar.add(mark, FILE, mode=0)

    def change(self):
        what = self.rng.choices(
            ("file", "dir", "symlink", "fifo", "attributes", "link", "wh-file", "wh-dir", "wh-other", "opaque"),
            (30, 12, 6, 2, 8, 6, 10, 6, 4, 6),
        )[0]
        if what == "file":
            self.put(self.new_name(), FILE)
        elif what == "dir":
            self.put(self.new_name(), DIR)
        elif what == "symlink":
            self.put(self.new_name(), SYMLINK)
        elif what == "fifo":
            self.put(self.new_name(), FIFO)
        elif what == "attributes":
            paths = self.tree.of(DIR)
            if paths:
                self.put(self.rng.choice(paths), DIR)
        elif what == "link":
            self.hard_link()
        elif what == "wh-file":
            self.whiteout((FILE,))
        elif what == "wh-dir":
            self.whiteout((DIR,))
        elif what == "wh-other":
            self.whiteout((SYMLINK, FIFO))
        else:
            self.opaque()


def build(layout, seed=60):
    rng = random.Random(seed)
    tree = Tree()
    tars = []
    for number in range(LAYERS):
        with layout.tar(("gzip", "zstd", "plain")[number % 3]) as tar:
            if number == 0:
                tar.add(b"./", DIR, mode=0o755, mtime=1400000000 * SECOND)
            layer = Layer(rng, tree, tar, number)
            for _ in range(CHANGES if number else 4 * CHANGES):
                layer.change()
        tars.append(tar)
    return layout.image(tars)
