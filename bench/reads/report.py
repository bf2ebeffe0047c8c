#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the CSV of micro-reads.sh into Markdown tables: medians, quartiles, and how far from the yardstick.

report.py FILE.csv"""

import csv
import statistics
import sys

YARDSTICK = "overlayfs"
OPERATIONS = {
    "sequential": "one large file, a MiB at a time",
    "random": "2000 times 4 KiB of it",
    "small": "many small files",
    "tree": "every file below /usr",
    "find-stat": "find -printf '%s %m'",
    "ls": "ls -lR",
}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    q = statistics.quantiles(values, n=4, method="inclusive")
    return q[0], q[1], q[2]


def text(values, unit=1e3):
    low, middle, high = (v * unit for v in quartiles(values))
    digits = 1 if middle < 100 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def by_round(a, b):
    """Medians and quartiles of a/b, each pair from one round."""
    low, middle, high = quartiles([x / y for x, y in zip(a, b)])
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def main():
    seconds, size = {}, {}
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            key = (line["row"], line["operation"], line["state"])
            seconds.setdefault(key, []).append(float(line["seconds"]))
            size[key] = int(line["bytes"])
    rows = list(dict.fromkeys(row for row, operation, _ in seconds if operation in OPERATIONS and not row.endswith("-1")))

    for state in ("warm", "cold"):
        print(f"\n### {state.capitalize()}\n\nMilliseconds: median (quartiles); below, overlayfs's time as a fraction of it.\n")
        print("| | " + " | ".join(rows) + " |\n|--|" + "--|" * len(rows))
        for operation, words in OPERATIONS.items():
            if not any((row, operation, state) in seconds for row in rows):
                continue
            here = [seconds.get((row, operation, state)) for row in rows]
            yardstick = seconds.get((YARDSTICK, operation, state))
            print(f"| {words} | " + " | ".join(text(v) if v else "–" for v in here) + " |")
            if yardstick:
                print("| | " + " | ".join(by_round(yardstick, v) if v else "–" for v in here) + " |")

    opens = {row: v for (row, operation, _), v in seconds.items() if operation == "open"}
    if opens:
        print("\n### Opening chunks\n\nThe large file's chunks in memory; `bare` is SHA-256, AES-GCM and zstd and nothing else.\n")
        print("| threads | bare, ms | chunk_open, ms | chunk_open against bare | GB/s of plaintext |\n|--|--|--|--|--|")
        for row, bare in opens.items():
            if row.startswith("bare-"):
                n = row.removeprefix("bare-")
                ours = opens[f"chunk_open-{n}"]
                plain = next(b for (r, _, _), b in size.items() if r == row)
                print(
                    f"| {n} | {text(bare)} | {text(ours)} | {by_round(bare, ours)} "
                    f"| {plain / statistics.median(ours) / 1e9:.2f} |"
                )
        print(
            "\nThe floor: what opening takes and what the FUSE filesystem in memory takes for the same file, one after "
            "the other.\n\n| the large file, cold, through the mount | ms | of the bare loop's speed | of the floor's |"
            "\n|--|--|--|--|"
        )
        fuse = seconds.get(("memory-fs", "sequential", "cold"))
        most = max((row for row in opens if row.startswith("bare-")), key=lambda row: int(row.split("-")[1]))
        for row in rows:
            v = seconds.get((row, "sequential", "cold"))
            if v and row.startswith("cocoon"):
                floor = by_round([a + b for a, b in zip(opens[most], fuse)], v) if fuse else "–"
                print(
                    f"| {row}, host, guest and reader on all processors | {text(v)} | {by_round(opens[most], v)} | {floor} |"
                )
        v = seconds.get(("cocoon-block-1", "sequential", "cold"))
        if v:
            print(f"| cocoon-block, guest and reader on one, the host beside | {text(v)} | {by_round(opens['bare-1'], v)} | – |")

    mounts = {row: v for (row, operation, _), v in seconds.items() if operation == "mount"}
    if mounts:
        first = next(iter(mounts.values()))
        print("\n### Mount\n\n| files | ms | against the fewest |\n|--|--|--|")
        for row, v in mounts.items():
            print(f"| {row.split('-')[0]} | {text(v)} | {by_round(v, first)} |")


if __name__ == "__main__":
    main()
