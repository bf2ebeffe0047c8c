#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cocoon-guestfs with one failing call, and a real mount: while it starts, while it serves, while it ends.

A trial is a mount of its own. The library of inject.c is loaded into the daemon and takes its order from a
file in shared memory. What must come of a trial: a daemon that says why it does not start, or one that serves
every byte right, or with an error; after a failure that passes it serves everything; it ends when it is told,
nothing stays mounted and no process is left.
"""
import argparse
import contextlib
import ctypes
import errno
import hashlib
import mmap
import multiprocessing
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

READ_ERRORS = {errno.EIO, errno.ENOMEM}
ENDED_ERRORS = {errno.ENOTCONN, errno.ECONNABORTED}
IN_DAEMON, HARMLESS = 2, 4
REFERENCE = "localhost:5000/failure/test:1"
PAUSE = 8  # seconds: the longest between two tries of a connection, and more
FEW = 4  # calls of a kind: a slice takes each of them, too
HANG = 40  # seconds: a busy machine, and the daemon's own time-outs
FUSE_FAILED = "the FUSE session has failed"
# What for ever keeps a daemon from reading requests, for as long as it tries (fuse_loop.c): it ends, and its
# mount stays and fails, as every name would seem to be gone without it.
ENDS_SESSION = ("device/ENOMEM", True)
# What tells the keeper that the first process has gone: it goes, too, and a broken connection stays broken (keeper.h).
KEEPER_ENDED = "the process that keeps the mount has ended"
ENDS_KEEPER = {"recv/end", "recv/ECONNRESET"}
# What keeps a signal's unmount from being made, once (False) or for ever: statx(2) is how the keeper knows its own
# mount, the keeper is asked over a socket (keeper.h), and a lazy umount that is busy does not exist.
UNMOUNT_FAILED = "unmount failed"
MAY_STAY = {("stat/ENOMEM", True), ("umount/EBUSY", True)} | {
    (name, always) for name in ("send/EPIPE", "send/ENOBUFS", "recv/end", "recv/ECONNRESET") for always in (False, True)}
PHASES = {"start": None, "live": None, "umount": None, "term": None}


class Order:
    """struct inject_order"""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.truncate(4096)
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def arm(self, fault, at, always, trace=False):
        self.map[0:4096] = struct.pack("<7Q", 0, fault, at, always, trace, 0, 0).ljust(4096, b"\0")
        self.map[0:8] = struct.pack("<Q", 1)

    def disarm(self):
        self.map[0:8] = struct.pack("<Q", 0)

    def seen(self):
        return struct.unpack_from("<Q", self.map, 40)[0]

    def calls(self, kind):
        return struct.unpack_from("<Q", self.map, 56 + 8 * kind)[0]


class Wrong(Exception):
    pass


def look(path):
    """Everything that can be seen of one name, or the error that stands in its place."""
    st = os.lstat(path)
    seen = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink, st.st_rdev]
    if stat.S_ISLNK(st.st_mode):
        seen.append(os.readlink(path))
    if stat.S_ISDIR(st.st_mode):
        seen.append(tuple(sorted(os.listdir(path))))
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb", buffering=0) as f:
            digest = hashlib.sha256()
            while piece := f.read(1 << 17):
                digest.update(piece)
        seen += [st.st_size, digest.digest()]
    names = sorted(os.listxattr(path, follow_symlinks=False))
    seen.append(tuple((n, os.getxattr(path, n, follow_symlinks=False)) for n in names))
    return tuple(seen)


def names_of(tree):
    names = [""]
    for top, dirs, files in os.walk(tree):
        names += [os.path.relpath(os.path.join(top, n), tree) for n in dirs + files]
    return sorted(names)


class Tree:
    def __init__(self, path):
        self.right = {name: look(os.path.join(path, name)) for name in names_of(path)}

    def compare(self, mount, may_fail):
        """How many names could not be read; raises for a wrong answer or a wrong error."""
        failed = 0
        for name, right in self.right.items():
            try:
                seen = look(os.path.join(mount, name))
            except OSError as e:
                if not may_fail or e.errno not in READ_ERRORS | ENDED_ERRORS:
                    raise Wrong(f"{name}: {e.strerror}") from e
                failed += 1
                if e.errno in ENDED_ERRORS:
                    break
            else:
                if seen != right:
                    raise Wrong(f"{name} is not what it should be")
        return failed


libc = ctypes.CDLL(None, use_errno=True)


def umount(path, flags=0):
    return libc.umount2(path.encode(), flags) == 0


class Daemon:
    def __init__(self, a, front, mount, work):
        self.mount, self.work, self.order = mount, work, Order(os.path.join(work, "order"))
        self.command = [a.guestfs, "--front", front, "--key", f"file:{a.key}", "--host", f"unix:{a.host}",
                        "--timeout", "3", "--cache-size", "1M"]
        self.env = {**os.environ, "LD_PRELOAD": a.library, "COCOON_INJECT": os.path.join(work, "order")}
        self.log = os.path.join(work, "log")
        self.process = None
        self.session_may_end = self.keeper_may_end = self.may_stay = False

    def start(self, *options):
        """Returns when the command has ended: its status and its words."""
        with open(self.log, "wb") as log:
            p = subprocess.run(self.command + [*options, REFERENCE, self.mount], env=self.env, stdin=subprocess.DEVNULL,
                               stderr=log, timeout=HANG, check=False)
        return p.returncode, self.words()

    def start_foreground(self):
        where = os.path.join(self.work, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, open(self.log, "wb") as log:
            s.bind(where)
            s.settimeout(0.1)
            self.process = subprocess.Popen(self.command + ["--foreground", REFERENCE, self.mount],
                                            env={**self.env, "NOTIFY_SOCKET": where}, stdin=subprocess.DEVNULL, stderr=log)
            try:
                while self.process.poll() is None:
                    with contextlib.suppress(TimeoutError):
                        s.recv(100)
                        return
            finally:
                os.unlink(where)
        raise Wrong(f"it does not start: {self.words()[-300:]}")

    def words(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def pids(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if self.mount.encode() not in f.read().split(b"\0"):
                        continue
                with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                    if f.read().rpartition(")")[2].split()[0] not in "ZX":
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def mounted(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            return sum(line.split()[4] == self.mount for line in f)

    def ends(self, seconds=8):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process:
                if self.process.poll() is not None:
                    return True
            elif not self.pids():
                return True
            time.sleep(0.002)
        return False

    def clear(self):
        """Whatever came of it: the next trial finds nothing."""
        self.order.disarm()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process = None
        while self.mounted() and umount(self.mount, 2):
            pass

    def must_be_gone(self):
        if self.mounted():
            raise Wrong("still mounted")
        if self.pids():
            raise Wrong("a process is left")
        if self.process and self.process.poll() != 0:
            raise Wrong(f"ended with {self.process.poll()}: {self.words()[-300:]}")


def try_start(d, tree, arm):
    arm()
    status, words = d.start()
    d.order.disarm()
    if status != 0:
        if status not in (1, 2, 32) or not re.search(r"^cocoon-guestfs: ..", words, re.M):
            raise Wrong(f"status {status}: {words[-300:]}")
        if re.search(r"ended before the mount.*status (4|6|7|8|11|31|1[0-9][0-9])\)", words):
            raise Wrong(words[-300:])
        if not d.ends(2):
            raise Wrong(f"the command failed, but the daemon runs: {words[-300:]}")
        if d.keeper_may_end and KEEPER_ENDED in words:
            umount(d.mount, 2)
        d.must_be_gone()
        return 1, words
    all_right(d, tree)
    if not umount(d.mount) or not d.ends():
        raise Wrong("it does not end")
    d.must_be_gone()
    return 0, ""


def reads_fail(d):
    """After the session's end: whatever the kernel does not know by itself is an error, and never missing."""
    try:
        os.lstat(os.path.join(d.mount, "sub", "text"))
    except OSError as e:
        if e.errno not in ENDED_ERRORS | READ_ERRORS:
            raise Wrong(f"the session has failed, and reads say {e.strerror}") from e


def all_right(d, tree):
    """A host that has failed is asked again a little later; until then reads may fail."""
    deadline = time.monotonic() + PAUSE
    while failed := tree.compare(d.mount, True):
        if d.session_may_end and FUSE_FAILED in d.words():
            reads_fail(d)
            return
        if d.keeper_may_end and KEEPER_ENDED in d.words():
            return
        if time.monotonic() > deadline:
            raise Wrong(f"{failed} names still cannot be read: {d.words()[-300:]}")
        time.sleep(0.05)


def try_live(d, tree, arm):
    d.start_foreground()
    arm()
    failed = tree.compare(d.mount, True)
    d.order.disarm()
    all_right(d, tree)
    if not umount(d.mount):
        raise Wrong("cannot be unmounted")
    if not d.ends():
        raise Wrong("it does not end")
    d.must_be_gone()
    return failed, d.words()


def try_end(d, tree, arm, end):
    d.start_foreground()
    tree.compare(d.mount, False)
    arm()
    end(d)
    if not d.ends():
        raise Wrong(f"it does not end: {d.words()[-300:]}")
    d.order.disarm()
    if d.may_stay and UNMOUNT_FAILED in d.words():
        umount(d.mount, 2)
    d.must_be_gone()
    return 0, ""


def try_umount(d, tree, arm):
    return try_end(d, tree, arm, lambda d: umount(d.mount))


def try_term(d, tree, arm):
    return try_end(d, tree, arm, lambda d: d.process.send_signal(signal.SIGTERM))


PHASES.update(start=try_start, live=try_live, umount=try_umount, term=try_term)


def watched(run, d):
    """A reader of a mount that hangs cannot be interrupted; without its daemon it ends."""
    hung = []

    def end():
        hung.append(True)
        d.clear()

    timer = threading.Timer(HANG, end)
    timer.start()
    try:
        return run()
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Wrong("hangs" if hung else repr(e)) from e
    finally:
        timer.cancel()
        timer.join()
        if hung:
            raise Wrong("hangs")


class Worker:
    def __init__(self, a, front):
        self.a, self.front = a, front
        work = os.path.join(a.work, f"mounts-{front}")
        mount = os.path.join(work, "mnt")
        os.makedirs(mount, exist_ok=True)
        self.daemon = Daemon(a, front, mount, work)
        self.tree = Tree(a.tree)
        self.calls = []
        self.trials = self.wrong = 0

    def one(self, phase, fault, at, always):
        """(reached, failed)"""
        d = self.daemon
        self.trials += 1
        what = fault["name"], always
        d.may_stay, d.session_may_end = phase == "term" and what in MAY_STAY, what == ENDS_SESSION
        d.keeper_may_end = fault["name"] in ENDS_KEEPER
        failed, words, reached = 0, "", True
        try:
            failed, words = watched(lambda: PHASES[phase](
                d, self.tree, lambda: d.order.arm(fault["number"], at, always, self.a.trace)), d)
            reached = d.order.seen() >= at
            if failed and not always and (fault["flags"] & HARMLESS or fault["name"] == ENDS_SESSION[0]):
                raise Wrong(f"should have gone on: {words[-300:]}")
        except Wrong as e:
            self.wrong += 1
            print(f"WRONG  --front {self.front} --phase {phase} --fault {fault['name']} "
                  f"{'--always' if always else '--once'} --at {at}: {e}", flush=True)
            if self.a.trace:
                print(d.words())
        finally:
            d.clear()
        if self.a.at:
            print(f"{d.order.seen()} calls, {failed} failures\n{words}")
        return reached, failed

    def count(self, phase):
        """A mount where nothing fails; from then on the number of calls of each kind is known."""
        self.one(phase, {"number": 0, "name": "none", "flags": 0}, 1 << 60, False)
        self.calls = [self.daemon.order.calls(kind) for kind in range(64)]

    def sweep(self, phase, fault, always):
        if self.a.at:
            self.one(phase, fault, self.a.at, always)
            return
        wrong, trials, calls = self.wrong, self.trials, self.calls[fault["call"]]
        most = self.a.most * (8 if fault["name"].startswith("memory") else 1)
        step = max(1, calls // most) if most and calls > FEW else 1
        # without --most until no call is left to fail: threads make their number vary
        at, missed, failures = self.a.start + fault["number"] * 7919 % step, 0, 0
        while calls and missed < 2 and (at <= calls or not most):
            reached, failed = self.one(phase, fault, at, always)
            missed = 0 if reached else missed + 1
            failures += failed > 0
            at += step
        if calls:
            print(f"{'FAILED' if self.wrong > wrong else 'ok    '}  {self.front:5} {phase:6} {fault['name']:22} "
                  f"{'always' if always else 'once':6} {calls:6} calls, {self.trials - trials:5} tried, "
                  f"{failures:5} gave an error", flush=True)

    def run(self):
        for phase in self.a.phase or PHASES:
            if not self.a.at:
                self.count(phase)
            for fault in faults_of(self.a):
                for always in (False, True):
                    if (self.a.once or self.a.always) and not (self.a.always if always else self.a.once):
                        continue
                    # no signal can be told from a descriptor that is never read
                    if not (always and (fault["flags"] & HARMLESS or (phase, fault["name"]) == ("term", "read/EIO"))):
                        self.sweep(phase, fault, always)
        return self.trials, self.wrong


def faults_of(a):
    for line in subprocess.run([a.program, "--faults"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        number, name, flags, call = line.split()
        if int(flags) & IN_DAEMON and (not a.fault or name in a.fault):
            yield {"number": int(number), "name": name, "flags": int(flags), "call": int(call)}


def sweep_front(job):
    a, front = job
    return Worker(a, front).run()


def main():
    p = argparse.ArgumentParser()
    for name in ("guestfs", "library", "program", "host", "key", "tree", "work"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--front", action="append")
    p.add_argument("--phase", action="append", choices=PHASES)
    p.add_argument("--fault", action="append")
    p.add_argument("--once", action="store_true")
    p.add_argument("--always", action="store_true")
    p.add_argument("--at", type=int)
    p.add_argument("--trace", action="store_true", help="say from where the failing call was made")
    p.add_argument("--most", type=int, default=0, help="indices of each fault (8 times as many allocations); 0: all")
    p.add_argument("--start", type=int, default=1, help="the first index")
    a = p.parse_args()
    # a front each; a mount waits more than it works
    with multiprocessing.Pool(2) as pool:
        done = pool.map(sweep_front, [(a, front) for front in a.front or ("block", "tree")])
    print(f"{sum(d[0] for d in done)} mounts, {sum(d[1] for d in done)} wrong")
    return any(d[1] for d in done)


if __name__ == "__main__":
    sys.exit(main())
