#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Looks at a process that handles secrets, as the rest of the machine can: its command line, environment,
# limits and open files, again and again while it runs; and, as only root can, at its memory.
"""watch.py SECRETS run COMMAND…       starts the command and watches it to its end
watch.py SECRETS look PID           one look
watch.py SECRETS clean PID          one look, and no secret may be in its memory either

SECRETS is a directory for search.py. Prints what was seen; exit status 0 when nothing was wrong, 1 else, or
the command's own when it failed.
"""

import os
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from search import Search

# A program may take so long from its start until it has hidden itself: seconds, on a busy machine.
SETTLED = 5


class Watch:
    def __init__(self, secrets):
        self.secrets = secrets
        self.wrong = set()
        self.in_memory = set()
        self.looks = 0
        self.hidden = None

    def search(self, where, data):
        search = Search(self.secrets)
        search.block(data, where, 0)
        self.wrong.update(search.hits)

    def core_limits(self, pid):
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            return re.search(r"Max core file size +(\S+) +(\S+)", f.read()).groups()

    def cores_are_off(self, pid):
        """The first thing that a program does to hide itself; the rest follows at once."""
        try:
            off = self.core_limits(pid) == ("0", "0")
        except (FileNotFoundError, ProcessLookupError):
            return True
        if off:
            time.sleep(0.02)
        return off

    def look(self, pid):
        """False when it has ended."""
        proc = f"/proc/{pid}"
        try:
            for name in ("cmdline", "environ"):
                with open(f"{proc}/{name}", "rb") as f:
                    self.search(name, f.read())
            core = self.core_limits(pid)
            if core != ("0", "0"):
                self.wrong.add(f"core files up to {core}")
            with open(f"{proc}/status", encoding="ascii") as f:
                uid = int(re.search(r"Uid:\s+(\d+)", f.read()).group(1))
            # The kernel gives /proc/PID to root when the process is not dumpable; of root's own it does not tell.
            if uid != 0:
                self.hidden = os.stat(f"{proc}/environ").st_uid == 0
                if not self.hidden:
                    self.wrong.add("dumpable")
            self.open_files(proc)
            self.looks += 1
            self.memory(pid)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    def open_files(self, proc):
        """What it writes to files: secrets have no business there."""
        for fd in os.listdir(f"{proc}/fd"):
            path = f"{proc}/fd/{fd}"
            try:
                with open(f"{proc}/fdinfo/{fd}", encoding="ascii") as f:
                    flags = int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8)
                if flags & os.O_ACCMODE and os.path.isfile(path):
                    search = Search(self.secrets)
                    search.file(path)
                    self.wrong.update(search.hits)
            except FileNotFoundError:
                pass  # closed by now

    def memory(self, pid):
        search = Search(self.secrets)
        search.process(pid)
        self.in_memory.update(hit.partition(" in process")[0] for hit in search.hits)

    def report(self):
        if not self.looks:
            self.wrong.add("it ended before it could be looked at")
        hidden = {None: "", True: ", not dumpable", False: ", dumpable"}[self.hidden]
        memory = ", ".join(sorted(self.in_memory)) or "nothing"
        print(f"{self.looks} looks{hidden}; in its own memory: {memory}")
        for line in sorted(self.wrong):
            print(f"WRONG: {line}")
        return 1 if self.wrong else 0


def run(watch, command):
    # What a careless administrator's shell would allow.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    process = subprocess.Popen(command)
    late = time.monotonic() + SETTLED
    while process.poll() is None and not watch.cores_are_off(process.pid) and time.monotonic() < late:
        time.sleep(0.005)
    while process.poll() is None and watch.look(process.pid):
        time.sleep(0.05)
    status = process.wait()
    watched = watch.report()
    return status or watched


def main():
    if len(sys.argv) < 4 or sys.argv[2] not in ("run", "look", "clean"):
        print(__doc__, file=sys.stderr)
        return 2
    watch = Watch(sys.argv[1])
    if sys.argv[2] == "run":
        return run(watch, sys.argv[3:])
    if not watch.look(int(sys.argv[3])):
        watch.wrong.add("it does not run")
    if sys.argv[2] == "clean":
        watch.wrong.update(f"{what} in memory" for what in watch.in_memory)
    return watch.report()


if __name__ == "__main__":
    sys.exit(main())
