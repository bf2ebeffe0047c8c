#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the two CSV files of pod-start.sh into Markdown tables.

report.py pod-start.csv pod-reads.csv
"""

import csv
import statistics
import sys

# Pulling and unpacking in the machine, in the order in which they are taken as the yardstick.
YARDSTICKS = ("stream", "skopeo")


def load(path, key):
    """The file's lines by the columns `key`, in the order in which these came first."""
    groups = {}
    with open(path, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            groups.setdefault(tuple(line[k] for k in key), []).append(line)
    return groups


def spread(values, number="{:.2f}"):
    middle, low, high = (number.format(f(values)) for f in (statistics.median, min, max))
    return middle if low == high else f"{middle} ({low}–{high})"


def starts(groups):
    print("| kernel | row | first line, s | of the guest pull | pulled, s | waited, s | second pod: first line, s "
          "| peak memory, MiB | with page cache | kept, MiB | over vsock, MB | answers | from the registry, MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for (kernel, row), lines in groups.items():
        def column(name, unit=1, lines=lines):
            return [float(line[name]) / unit for line in lines]

        yardstick = next((groups[kernel, y] for y in YARDSTICKS if (kernel, y) in groups), None)
        first = column("first_line_s")
        ratio = "–"
        if yardstick:
            ratio = f"{statistics.median(first) / statistics.median(float(l['first_line_s']) for l in yardstick):.2f}"
        print(
            f"| {kernel} | {row} | {spread(first)} | {ratio} | {spread(column('pulled_s'))} "
            f"| {spread(column('waited_s'))} "
            f"| {spread(column('second_first_line_s'))} "
            f"| {spread(column('peak_unavailable_kib', 1024), '{:.0f}')} "
            f"| {spread(column('peak_used_kib', 1024), '{:.0f}')} "
            f"| {spread(column('kept_unavailable_kib', 1024), '{:.0f}')} "
            f"| {spread(column('vsock_bytes', 1e6), '{:.1f}')} "
            f"| {spread(column('requests'), '{:.0f}')} "
            f"| {spread(column('registry_bytes', 1e6), '{:.1f}')} |"
        )
    print(
        "\nwaited: how much of the time to the first line the machine had nothing to do but to wait for the host; the "
        "rest is its own work. Memory: most that was not available (tmpfs counts, page cache that can be dropped does "
        "not) beyond what was before the request; kept: after the container's end, before its unmount."
    )


def reads(groups):
    """Rates of whole reads, and of the parts that they cannot do without."""
    counts = {key: lines[0] for key, lines in groups.items() if key[1] == "requests"}
    rates = {
        key: [int(line["bytes"]) / 1e6 / float(line["seconds"]) for line in lines]
        for key, lines in groups.items()
        if key not in counts
    }
    native = [f"{what} {rates.pop((kernel, what))[0]:.0f}" for kernel, what in list(rates) if kernel == "host"]
    if not rates:
        return
    print("\n| kernel | read | MB/s | of bare vsock | of the floor |")
    print("|---|---|---|---|---|")
    for (kernel, what), values in rates.items():
        rate, bare, digest, opened = (
            statistics.median(rates[kernel, part]) for part in (what, "bare", "hash", "open")
        )
        floor = 1 / (1 / bare + 1 / digest + 1 / opened)
        share = f"{rate / floor:.2f}" if what.endswith("-cold") else "–"
        print(f"| {kernel} | {what} | {spread(values, '{:.1f}')} | {rate / bare:.2f} | {share} |")
    print(
        "\nbare: bytes over vsock and nothing else. hash, open: SHA-256 and AES-GCM of as many bytes in the machine's "
        "memory. FRONT-cold: the file from a fresh mount, the host's cache warm; its floor is bare, hash and open one "
        "after the other. FRONT-kept: the file once more, from the daemon's memory, the kernel's dropped. The host "
        f"itself, MB/s: {', '.join(native)}."
    )
    for (kernel, _), line in counts.items():
        size, count = float(line["bytes"]), float(line["seconds"])
        print(f"\n{kernel}: one read of the file is {size / 1e6:.1f} MB over vsock in {count:.0f} answers, "
              f"{size / count / 1e3:.0f} kB each.")


def main():
    starts(load(sys.argv[1], ("kernel", "row")))
    groups = load(sys.argv[2], ("kernel", "what"))
    if groups:
        reads(groups)


if __name__ == "__main__":
    main()
