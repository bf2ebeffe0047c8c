#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the CSV of first-output.sh into a Markdown table.

report.py FILE.csv < SKIPPED    SKIPPED: lines of "row<TAB>why it is missing"
"""

import csv
import statistics
import sys

YARDSTICK = "overlayfs"


def spread(values, number):
    return f"{number.format(statistics.median(values))} ({number.format(min(values))}–{number.format(max(values))})"


def main():
    measured = {}
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            measured.setdefault(line["system"], []).append(line)
    skipped = dict(line.rstrip("\n").split("\t", 1) for line in sys.stdin)

    def column(row, name):
        return [float(line[name]) for line in measured[row]]

    yardstick = None
    if YARDSTICK in measured:
        yardstick = statistics.median(column(YARDSTICK, "seconds_to_first_output"))

    print(f"| system | first output, s: median (min–max) | of {YARDSTICK} | pulled, s | MB from the registry | requests |")
    print("|---|---|---|---|---|---|")
    for row in measured:
        first = column(row, "seconds_to_first_output")
        ratio = f"{statistics.median(first) / yardstick:.2f}" if yardstick else "–"
        megabytes = [value / 1e6 for value in column(row, "bytes_from_registry")]
        print(
            f"| {row} | {spread(first, '{:.2f}')} | {ratio} "
            f"| {statistics.median(column(row, 'seconds_to_pulled')):.2f} "
            f"| {spread(megabytes, '{:.1f}')} "
            f"| {statistics.median(column(row, 'requests')):.0f} |"
        )
    for row, why in sorted(skipped.items()):
        if row not in measured:
            print(f"| {row} | not measured: {why} | – | – | – | – |")
        else:
            print(f"\n{row}: {len(measured[row])} rounds only: {why}")


if __name__ == "__main__":
    main()
