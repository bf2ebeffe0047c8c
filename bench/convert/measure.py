#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command and prints: wall seconds, CPU seconds, peak resident KiB; with those of a daemon that works
for it added.

measure.py DAEMON-PID|0 CMD…"""

import os
import resource
import subprocess
import sys
import time


def cpu_seconds(pid):
    if not pid:
        return 0.0
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_kib(pid):
    if not pid:
        return 0
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def main():
    daemon = int(sys.argv[1])
    if daemon:
        with open(f"/proc/{daemon}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")  # the peak begins anew: proc(5)
    before = cpu_seconds(daemon)
    start = time.monotonic()
    status = subprocess.run(sys.argv[2:], stdout=sys.stderr, check=False).returncode
    seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime + cpu_seconds(daemon) - before
    print(f"{seconds:.3f},{cpu:.2f},{used.ru_maxrss + peak_kib(daemon)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
