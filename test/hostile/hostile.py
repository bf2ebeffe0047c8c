#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Runs the cases: those that share a mount one after the other, one thread for each front, and beside them those
# that make their own.
"""hostile.py --table                                    the table of cases, as README.md has it
hostile.py --check-table README.md                       is it the same?
hostile.py COCOON GUESTFS WORK [--front FRONT] [CASE…]   runs all, or those whose name begins with a CASE"""

import concurrent.futures
import os
import sys
import tempfile
import threading
import time
import traceback

import case
import forge
import guest
import liar
import source

import cases_chunk  # noqa: F401
import cases_life  # noqa: F401
import cases_metadata  # noqa: F401
import cases_mount  # noqa: F401
import cases_publisher  # noqa: F401
import cases_wire  # noqa: F401

CASE_LIMIT = 40
BESIDE = 14  # cases at a time that do not share a mount: most of them wait
FRONTS = ("block", "tree")
_print = threading.Lock()


class Results:
    def __init__(self):
        self.good = self.bad = 0

    def tell(self, front, c, seconds, why):
        with _print:
            self.good += why is None
            self.bad += why is not None
            print(f"{'ok    ' if why is None else 'FAILED'}  {front:5}  {c.name:40} {c.outcome:4} {seconds:6.2f} s", flush=True)
            if why:
                print("        " + why.replace("\n", "\n        "), flush=True)


def run_case(results, context, c, after=lambda: None):
    """True when it is as expected. `after` is part of it."""
    start, why = time.monotonic(), None
    try:
        with guest.watch(CASE_LIMIT, context.guests):
            c.run(context)
            after()
    except guest.Wrong as e:
        why = str(e)
    except Exception:
        why = traceback.format_exc()
    if why:
        why = "\n".join([why, *(g.last_look for g in context.guests if g.last_look)])
    results.tell(context.front, c, time.monotonic() - start, why)
    return why is None


class Shared:
    """The mount of one front that many cases share; made anew after a failed one."""

    def __init__(self, setup, front):
        self.setup, self.front, self.context = setup, front, None

    def start(self):
        context = case.Context(self.setup, self.front)
        self.host = liar.Host(tempfile.mktemp(prefix="host-", dir=self.setup.work), self.setup.image.served)
        self.guest = guest.Guest(self.setup, self.host, self.front)
        guest.require(self.guest.mounted(), f"not mounted: {self.guest.words()}")
        context.live, context.guests = (self.guest, self.host), [self.guest]
        return context

    def after(self, peak):
        """The host behaves again: so does everything."""
        self.guest.recovers()
        self.guest.all_right()
        guest.require(self.guest.peak_now() < peak + case.GROWTH, f"memory: {self.guest.peak_now() >> 20} MiB")
        self.guest.check_log()

    def run(self, results, cases):
        context = None
        for c in cases:
            context = context or self.start()
            self.guest.forget_peak()
            peak = self.guest.peak_now()
            if not run_case(results, context, c, lambda: self.after(peak)):
                self.guest.abandon()
                self.host.close()
                context = None
        if context:
            self.guest.stop()
            self.host.close()


def idle_peak(setup):
    """The memory of a mount that has shown nothing yet."""
    context = case.Context(setup, "tree")
    with context.mount() as (g, _):
        pass
    return g.peak


def table():
    """By the first word of their names; most names are in both fronts, others say so."""
    lines, group = [], None
    for c in sorted(case.CASES, key=lambda c: c.name.split("-")[0]):
        if c.name.split("-")[0] != group:
            group = c.name.split("-")[0]
            lines += ["", f"### {group}", "", "| case | outcome | the lie |", "|---|---|---|"]
        front = "" if len(c.fronts) == len(FRONTS) else " †"
        lines.append(f"| {c.name}{front} | {c.outcome} | {c.lie.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def check_table(path):
    with open(path, encoding="utf-8") as f:
        good = f.read().endswith(table())
    print("ok      the table of cases" if good else f"FAILED  {path} does not end with the table of hostile.py --table")
    return not good


def main():
    args = sys.argv[1:]
    if args == ["--table"]:
        print(table(), end="")
        return 0
    if args[:1] == ["--check-table"] and len(args) == 2:
        return check_table(args[1])
    if len(args) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    cocoon, guestfs, work, *names = args
    fronts = FRONTS
    if names[:1] == ["--front"]:
        fronts, names = (names[1],), names[2:]
    tree = source.make(work, cocoon)
    key = forge.read_key(os.path.join(work, "image.key"))
    image = forge.Image(forge.load_served(os.path.join(work, "sealed")), key)
    setup = guest.Setup(work, guestfs, image, tree)
    setup.tenant = forge.load_served(os.path.join(work, "tenant"))
    setup.idle_peak = idle_peak(setup)
    cases = [c for c in case.CASES if not names or any(c.name.startswith(n) for n in names)]
    results = Results()
    with concurrent.futures.ThreadPoolExecutor(len(fronts) + BESIDE) as pool:
        mine = {f: [c for c in cases if f in c.fronts] for f in fronts}
        jobs = [pool.submit(Shared(setup, f).run, results, [c for c in mine[f] if c.live == case.SHARED]) for f in fronts]
        for f in fronts:
            jobs += [pool.submit(Shared(setup, f).run, results, [c]) for c in mine[f] if c.live == case.OWN]
            jobs += [pool.submit(run_case, results, case.Context(setup, f), c) for c in mine[f] if not c.live]
        for job in jobs:
            job.result()
    print(f"{results.good} cases passed, {results.bad} failed")
    return results.bad > 0 or results.good == 0


if __name__ == "__main__":
    sys.exit(main())
