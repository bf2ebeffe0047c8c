#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the CSV files of convert.sh into Markdown tables.

report.py convert.csv convert-floor.csv PROCESSORS
"""

import csv
import statistics
import sys

YARDSTICK = "estargz"


def quartiles(values):
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def main():
    measured, floors, processors = {}, {}, int(sys.argv[3])
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            measured.setdefault(line["image"], {}).setdefault(line["row"], []).append(line)
    with open(sys.argv[2], newline="", encoding="utf-8") as file:
        for name, tar, *steps in csv.reader(file):
            floors[name] = (int(tar), [float(s) for s in steps])
    for image, rows in measured.items():
        tar, steps = floors[image]
        yardstick = statistics.median(float(line["seconds"]) for line in rows.get(YARDSTICK, list(rows.values())[-1]))
        print(f"\n{image}: {tar / 1e6:.0f} MB of tar, {processors} processors\n")
        print(f"| | seconds: median (quartiles) | MB/s | {YARDSTICK} takes | CPU s | peak MiB | MB made |\n|---|---|---|---|---|---|---|")
        for row, lines in rows.items():
            column = lambda name: [float(line[name]) for line in lines]
            low, middle, high = quartiles(column("seconds"))
            print(
                f"| {row} | {middle:.2f} ({low:.2f}–{high:.2f}) | {tar / 1e6 / middle:.0f} | {yardstick / middle:.1f} × "
                f"| {statistics.median(column('cpu_seconds')):.2f} | {statistics.median(column('peak_kib')) / 1024:.0f} "
                f"| {statistics.median(column('bytes')) / 1e6:.1f} |"
            )
        floor = sum(steps) / processors
        print(f"| bare loops on {processors} processors | {floor:.2f} | {tar / 1e6 / floor:.0f} | {yardstick / floor:.1f} × | {sum(steps):.2f} | | |")
        names = ("gunzip", "SHA-256 of the source", "zstd", "keys, GCM, ids")
        print("\nBare loops, CPU seconds: " + ", ".join(f"{n} {s:.2f}" for n, s in zip(names, steps)) + ".")
    return 0


if __name__ == "__main__":
    sys.exit(main())
