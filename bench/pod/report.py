#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the two CSV files of pod-start.sh into Markdown tables.

report.py pod-start.csv pod-reads.csv UNPACKED-BYTES
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


def table(*columns):
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def hashed(row, line, unpacked):
    """Bytes that go through SHA-256 at least: a layer for its digest, HMAC and diff ID, a chunk for its id."""
    stored = float(line["vsock_bytes"])
    return 2 * stored + unpacked if row in YARDSTICKS else stored


def starts(groups, hash_lines, unpacked):
    def seconds(kernel, row, hashing):
        """To the first line, median; without hashing it is less what that takes at the kernel's rate of `hash`."""
        cost = 0
        if not hashing:
            cost = statistics.median(float(h["seconds"]) / int(h["bytes"]) for h in hash_lines[kernel])
        return statistics.median(
            float(line["first_line_s"]) - cost * hashed(row, line, unpacked) for line in groups[kernel, row]
        )

    def of_yardstick(kernel, row, hashing):
        yardstick = next((y for y in YARDSTICKS if (kernel, y) in groups), None)
        return f"{seconds(kernel, row, hashing) / seconds(kernel, yardstick, hashing):.3f}" if yardstick else "–"

    table("kernel", "row", "first line, s", "of the guest pull", "without hashing, s", "of the guest pull", "pulled, s",
          "waited, s", "second pod: first line, s", "peak memory, MiB", "with page cache", "kept, MiB",
          "over vsock, MB", "answers", "from the registry, MB")
    for (kernel, row), lines in groups.items():
        def column(name, unit=1, number="{:.2f}", lines=lines):
            return spread([float(line[name]) / unit for line in lines], number)

        less = ["–", "–"]
        if kernel in hash_lines:
            less = [f"{seconds(kernel, row, False):.2f}", of_yardstick(kernel, row, False)]
        cells = [
            kernel, row, column("first_line_s"), of_yardstick(kernel, row, True), *less, column("pulled_s"),
            column("waited_s"), column("second_first_line_s"), column("peak_unavailable_kib", 1024, "{:.0f}"),
            column("peak_used_kib", 1024, "{:.0f}"), column("kept_unavailable_kib", 1024, "{:.0f}"),
            column("vsock_bytes", 1e6, "{:.1f}"), column("requests", 1, "{:.0f}"), column("registry_bytes", 1e6, "{:.1f}"),
        ]
        print(f"| {' | '.join(cells)} |")
    print(
        "\nwithout hashing: less what SHA-256 takes at the rate of `hash` below; a processor with SHA instructions, "
        "which the emulator has not, is nearer to that. waited: how much of the time to the first line the machine had "
        "nothing to do but to wait for the host; the rest is its own work. Memory: what was not available (tmpfs "
        "counts, page cache that can be dropped does not) beyond what was before the request; kept: after the "
        "container's end, before its unmount. The floor of a start is a container whose image is in memory: the guest "
        "pull's second pod."
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
    print()
    table("kernel", "read", "MB/s", "of bare vsock", "without hashing", "of the floor")
    for (kernel, what), values in rates.items():
        rate, bare, digest, opened = (
            statistics.median(rates[kernel, part]) for part in (what, "bare", "hash", "open")
        )
        shares = ["–", "–"]
        if what.endswith("-cold"):
            shares = [f"{1 / (1 / rate - 1 / digest) / bare:.2f}", f"{rate * (1 / bare + 1 / digest + 1 / opened):.2f}"]
        print(f"| {kernel} | {what} | {spread(values, '{:.1f}')} | {rate / bare:.2f} | {' | '.join(shares)} |")
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
    read = load(sys.argv[2], ("kernel", "what"))
    hash_lines = {kernel: lines for (kernel, what), lines in read.items() if what == "hash" and kernel != "host"}
    groups = load(sys.argv[1], ("kernel", "row"))
    if groups:
        starts(groups, hash_lines, float(sys.argv[3]))
    reads(read)


if __name__ == "__main__":
    main()
