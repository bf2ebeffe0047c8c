# SPDX-License-Identifier: Apache-2.0
#
# The real cocoon-guestfs on a real directory, and how one looks at it: what it shows against what it has to
# show, its log against what must never be in one, its memory, its end.

import base64
import contextlib
import ctypes
import errno
import os
import signal
import stat
import subprocess
import tempfile
import threading
import time

import source

TIMEOUT = 2  # seconds, what guests get as --timeout
READ_LIMIT = 2 * TIMEOUT + 2  # of one system call: the kernel asks a second time for the page itself
REFERENCE = "localhost:5000/hostile/image:1"
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
_libc = ctypes.CDLL(None, use_errno=True)


class Wrong(Exception):
    pass


def require(condition, words):
    if not condition:
        raise Wrong(words)


class Setup:
    """What all guests of one run share."""

    def __init__(self, work, guestfs, image, tree):
        self.work, self.guestfs, self.image, self.tree = work, guestfs, image, tree
        self.key_file = os.path.join(work, "image.key")
        key = image.key
        keys = [x[4] for page in image.map for x in page] + [x[4] for x in image.pages + image.config]
        self.secrets = [source.CANARY.encode()]
        for k in [key, *keys]:
            self.secrets += [k, k.hex().encode(), base64.b64encode(k)[:40]]

    def path(self, name):
        return os.path.join(self.work, name)


def is_mounted(directory):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == directory for line in f)


class Guest:
    """One daemon. With `refused` it is not an error that it ends instead of mounting."""

    def __init__(self, setup, host, front, timeout=TIMEOUT, cache="1", options=(), key=None, reference=REFERENCE):
        self.setup, self.host, self.front = setup, host, front
        self.dir = tempfile.mkdtemp(prefix="mnt-", dir=setup.work)
        self.log_path = self.dir + ".log"
        self.status, self.peak = None, 0
        self.touched = set()  # files that were read since everything was right
        self.n_checks = 0
        self.last_look = ""  # how it stood when a case failed
        command = [setup.guestfs, "--foreground", "--front", front, "--host", "unix:" + host.path]
        key = key or setup.key_file
        key = key if key.startswith("recipient:") else "file:" + key
        command += ["--key", key, "--timeout", str(timeout)]
        command += ["--cache-size", cache, *options, reference, self.dir]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read()

    def mounted(self, limit=20):
        """True once it is, False once the daemon has ended without."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if b"mounted image=" in self.log():
                return True
            if self.ended(0):
                return False
            time.sleep(0.01)
        raise Wrong(f"neither mounted nor refused within {limit} s: {self.words()}")

    def ended(self, limit):
        end = time.monotonic() + limit
        while self.status is None:
            # not ru_maxrss: that counts what this process had before exec(2)
            self.peak = max(self.peak, self.peak_now())
            pid, status = os.waitpid(self.process.pid, os.WNOHANG)
            if pid:
                self.status = self.process.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return False
            else:
                time.sleep(0.01)
        return True

    def words(self):
        return self.log().decode(errors="replace").strip()[-2000:]

    def check_log(self):
        log = self.log()
        for mark in (b"Sanitizer", b"runtime error:", b"core dumped"):
            require(mark not in log, f"a report: {log.decode(errors='replace')[-6000:]}")
        for secret in self.setup.secrets:
            require(secret not in log, f"a secret is in the log: {self.words()}")
        for line in log.split(b"\n"):
            require(all(c >= 32 and c != 127 or c == 9 for c in line), f"control characters in the log: {line!r}")

    def kill(self):
        """After a hang: whoever waits for it gets an error."""
        if self.status is None:
            os.kill(self.process.pid, signal.SIGKILL)

    def stop(self):
        """A good end: unmounted, exit code 0, nothing left."""
        if self.status is None:
            if _libc.umount2(self.dir.encode(), UMOUNT_NOFOLLOW) != 0:
                os.kill(self.process.pid, signal.SIGTERM)
            if not self.ended(20):
                self.kill()
                self.ended(5)
                _libc.umount2(self.dir.encode(), MNT_DETACH)
                raise Wrong(f"does not end: {self.words()}")
            require(self.status == 0, f"exit code {self.status}: {self.words()}")
        self.check_log()
        require(not is_mounted(self.dir), "still mounted")

    def abandon(self):
        """After a failed case: take everything down somehow."""
        alive = "ended" if self.ended(0) else "running"
        self.last_look = f"{alive}, {'mounted' if is_mounted(self.dir) else 'not mounted'}: {self.words()}"
        self.kill()
        self.ended(5)
        _libc.umount2(self.dir.encode(), MNT_DETACH)

    # Memory

    def peak_now(self):
        """0 when it has ended."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next((int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM")), 0)

    def forget_peak(self):
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")

    # Looking

    def path(self, name):
        return os.path.join(self.dir, name)

    def forget(self, name):
        """The kernel's copy of a file's contents."""
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def read(self, name, forget=True):
        """True when the whole file is right, False when some of it is EIO, in time; anything else is Wrong."""
        want = self.setup.tree[name][1]
        good, at = True, 0
        self.touched.add(name)
        try:
            if forget:
                timed(READ_LIMIT, self.forget, name)
            fd = timed(READ_LIMIT, os.open, self.path(name), os.O_RDONLY)
        except OSError as e:
            require(e.errno == errno.EIO, f"{name}: open: {e.strerror}")
            return False
        try:
            require(os.fstat(fd).st_size == len(want), f"{name}: another size")
            while at < len(want):
                try:
                    data = timed(READ_LIMIT, os.pread, fd, 1 << 20, at)
                except OSError as e:
                    require(e.errno == errno.EIO, f"{name}: read at {at}: {e.strerror}")
                    good, at = False, at + 65536
                    continue
                require(data, f"{name}: ends at {at} of {len(want)}")
                require(data == want[at : at + len(data)], f"{name}: wrong bytes at {at}")
                at += len(data)
        finally:
            os.close(fd)
        return good

    def chunks_of(self, name):
        """The numbers of the data chunks that reading a file asks for."""
        self.host.forget()
        require(self.read(name), f"{name} is not readable")
        return {n for n in self.host.asked if n >= self.host.image.n_meta}

    def directories(self):
        out = {"": set()}
        for name, (mode, _) in self.setup.tree.items():
            parent, _, last = name.rpartition("/")
            out.setdefault(parent, set()).add(last)
            if stat.S_ISDIR(mode):
                out.setdefault(name, set())
        return out

    def recovers(self):
        """What was EIO is right again; the daemon may remember a failure for a second."""
        end = time.monotonic() + 1.5
        for name in set(self.touched):
            while not self.read(name) and time.monotonic() < end:
                time.sleep(0.02)

    def all_right(self, but=()):
        """Everything is there and right, except for the contents of the files named: those are EIO. What was not
        touched since the last time may come from the kernel's memory, except every tenth time."""
        fresh, self.touched = self.touched if self.n_checks % 10 else set(self.setup.tree), set()
        self.n_checks += 1
        for directory, names in self.directories().items():
            got = set(os.listdir(self.path(directory)))
            require(got == names, f"{directory}: {sorted(got ^ names)[:3]} in one listing only")
        for name, (mode, data) in self.setup.tree.items():
            st = os.lstat(self.path(name))
            require(st.st_mode == mode, f"{name}: mode {st.st_mode:o}")
            if stat.S_ISLNK(mode):
                require(os.readlink(self.path(name)).encode() == data, f"{name}: target")
            elif stat.S_ISREG(mode):
                require(self.read(name, name in fresh) == (name not in but), f"{name}: EIO, or not EIO")
        for name in ("deleted", "gone/behind", "data/none", "none"):
            with contextlib.suppress(FileNotFoundError):
                os.lstat(self.path(name))
                raise Wrong(f"{name} is there")


    def survey(self):
        """Whatever can be had is right, all else is EIO. Returns how many things were EIO."""
        bad = [0]

        def same(what, want, call, *args):
            try:
                got = call(*args)
            except OSError as e:
                require(e.errno == errno.EIO, f"{what}: {e.strerror}")
                bad[0] += 1
                return
            require(got == want, f"{what}: {str(got)[:200]}")

        for directory, names in self.directories().items():
            same(f"list of {directory}", names, lambda d: set(os.listdir(d)), self.path(directory))
        for name, (mode, data) in self.setup.tree.items():
            path = self.path(name)
            same(f"mode of {name}", mode, lambda p: os.lstat(p).st_mode, path)
            if stat.S_ISLNK(mode):
                same(f"target of {name}", data, lambda p: os.readlink(p).encode(), path)
            elif stat.S_ISREG(mode):
                bad[0] += not self.read(name, len(data) > 4096)
        return bad[0]


def failure(call, *args):
    """The errno with which a call fails, 0 when it does not."""
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


@contextlib.contextmanager
def watch(limit, guests):
    """After `limit` seconds the daemons are killed, so that nobody waits for ever; that is a failure."""
    fired = threading.Event()

    def fire():
        fired.set()
        for g in guests:
            g.kill()

    timer = threading.Timer(limit, fire)
    timer.start()
    try:
        yield
    except Exception as e:
        if fired.is_set():
            raise Wrong(f"hangs for {limit} s: {e}") from e
        raise
    finally:
        timer.cancel()
    require(not fired.is_set(), f"hangs for {limit} s")


def timed(limit, call, *args):
    """What the call returns or raises; Wrong when it takes longer than `limit` seconds."""
    start = time.monotonic()
    try:
        return call(*args)
    finally:
        took = time.monotonic() - start
        require(took <= limit, f"takes {took:.1f} s, more than {limit} s")
