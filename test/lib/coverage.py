#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of test/coverage.sh, from what `llvm-cov export` says, and whether the thresholds hold."""
import argparse
import fnmatch
import json
import os
import sys

# From sealed bytes to verified plaintext: the decoders, the hash tree, the tag, the map, the range that was asked.
PATH = [
    "proto/base/bytes.c",
    "proto/base/digest.c",
    "proto/format/*.c",
    "proto/format/*.h",
    "guestfs/chunk_open.c",
    "guestfs/opener_pool.c",
    "guestfs/table.c",
    "guestfs/map.c",
    "guestfs/plain_cache.c",
    "guestfs/image.c",
    "guestfs/image_load.c",
    "guestfs/image_verify.c",
]
CRYPTO = ["crypto/*"]
GUEST = ["guestfs/*"]


def load(source, path):
    """File of the source tree → what llvm-cov counted in it."""
    with open(path, encoding="utf-8") as f:
        files = json.load(f)["data"][0]["files"]
    return {os.path.relpath(x["filename"], source): x for x in files}


def chosen(files, patterns):
    return sorted(n for n in files if any(fnmatch.fnmatch(n, p) for p in patterns))


def count(files, names, kind):
    """Covered and all lines or branches of these files."""
    parts = [files[n]["summary"][kind] for n in names]
    return sum(p["covered"] for p in parts), sum(p["count"] for p in parts)


def percent(covered, total):
    return 100.0 if total == 0 else 100.0 * covered / total


def cell(files, names, kind):
    covered, total = count(files, names, kind)
    return f"{covered:6d}/{total:<6d}{percent(covered, total):6.1f} %"


def missing_branches(name, file):
    for b in file["branches"]:
        for taken, word in ((b[4], "true"), (b[5], "false")):
            if not taken:
                print(f"  {name}:{b[0]}:{b[1]}: never {word}")


def missing_lines(name, file):
    """Lines whose only regions were never run, from llvm-cov's segments: line, column, count, counted, …"""
    segments = file["segments"]
    lines = []
    for s, following in zip(segments, segments[1:]):
        if s[3] and s[2] == 0:
            lines.extend(range(s[0], following[0] + 1))
    ranges = []
    for n in sorted(set(lines)):
        if ranges and n == ranges[-1][1] + 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    if ranges:
        print(f"  {name}: lines " + ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in ranges))


def section(title, names, unit, everything):
    print(f"\n{title:34s}{'lines':>22s}{'branches, unit tests':>22s}")
    for name in names:
        if everything[name]["summary"]["lines"]["count"]:
            print(f"  {name:32s}{cell(everything, [name], 'lines')}{cell(unit, [name], 'branches')}")
    print(f"  {'together':32s}{cell(everything, names, 'lines')}{cell(unit, names, 'branches')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true", help="list what no test ran")
    parser.add_argument("--quick", action="store_true", help="there are no counts of the scripts")
    parser.add_argument("source")
    parser.add_argument("unit", help="counts of the unit tests")
    parser.add_argument("all", help="counts of the unit tests and the scripts")
    options = parser.parse_args()
    unit = load(options.source, options.unit)
    everything = unit if options.quick else load(options.source, options.all)

    crypto, path, guest = (chosen(unit, p) for p in (CRYPTO, PATH, GUEST))
    section("crypto/", crypto, unit, everything)
    section("verify and open", path, unit, everything)
    section("guestfs/", guest, unit, everything)
    if options.missing:
        print("\nnever run")
        for name in crypto + path:
            missing_branches(name, unit[name])
        for name in guest:
            missing_lines(name, everything[name])

    print()
    missed = 0
    thresholds = [("branches of crypto/", 100, count(unit, crypto, "branches")),
                  ("branches of verify and open", 100, count(unit, path, "branches"))]
    if not options.quick:
        thresholds.append(("lines of guestfs/", 90, count(everything, guest, "lines")))
    for words, wanted, (covered, total) in thresholds:
        holds = 100 * covered >= wanted * total > 0
        missed += not holds
        print(f"{'ok      ' if holds else 'MISSED  '}{words}: {covered} of {total}, {percent(covered, total):.1f} %, wanted {wanted} %")
    unmatched = [p for p in PATH if not chosen(unit, [p])]
    if unmatched:
        missed += 1
        print("MISSED  no file is called " + ", ".join(unmatched))
    return 1 if missed else 0


sys.exit(main())
