#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The report of coldstart.sh: tables of medians with quartiles, the goals and whether they are met, plots.

report.py DIR    reads runs.csv, bytes.csv and parameters.json there, writes report.md and *.svg
"""

import collections
import csv
import json
import os
import statistics
import sys

import goals
import plots

MB, MIB = 1e6, 1 << 20


class Runs:
    """All measurements: of[image, link, system] is a list of rows in the order of their rounds."""

    def __init__(self, directory):
        self.of = collections.defaultdict(list)
        with open(os.path.join(directory, "runs.csv"), newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                self.of[row["image"], row["link"], row["system"]].append(row)
        with open(os.path.join(directory, "parameters.json"), encoding="utf-8") as f:
            self.parameters = json.load(f)
        self.images = [i for i in self.parameters["images"].split() if any(k[0] == i for k in self.of)]
        self.links = [r for r in self.parameters["rates"].split() if any(k[1] == r for k in self.of)]
        self.systems = [s for s in self.parameters["systems"].split() if any(k[2] == s for k in self.of)]

    def values(self, image, link, system, column):
        return [float(row[column]) for row in self.of.get((image, link, system), []) if row[column]]

    def median(self, image, link, system, column="answer_s"):
        values = self.values(image, link, system, column)
        return statistics.median(values) if values else None

    @staticmethod
    def quartiles(values):
        if len(values) < 2:
            return values[0], values[0], values[0]
        return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def spread(values, unit=1, digits=2):
    if not values:
        return "–"
    low, middle, high = (f"{v / unit:.{digits}f}" for v in Runs.quartiles(values))
    return f"{middle} ({low}–{high})" if len(values) > 1 else middle


def table(out, head, rows):
    out.append("| " + " | ".join(head) + " |")
    out.append("|" + "---|" * len(head))
    out.extend("| " + " | ".join(row) + " |" for row in rows)
    out.append("")


def systems_by_images(out, runs, link, cell):
    rows = []
    for system in runs.systems:
        cells = [cell(image, link, system) for image in runs.images]
        if any(c != "–" for c in cells):
            rows.append([system, *cells])
    table(out, ["", *runs.images], rows)


def seconds(out, runs, link):
    def cell(image, link, system):
        return spread(runs.values(image, link, system, "answer_s"))

    systems_by_images(out, runs, link, cell)


def registry(out, runs, link):
    def cell(image, link, system):
        megabytes = runs.median(image, link, system, "registry_bytes")
        if megabytes is None:
            return "–"
        return f"{megabytes / MB:.1f}, {runs.median(image, link, system, 'requests'):.0f}"

    systems_by_images(out, runs, link, cell)


def costs(out, runs, link):
    for column, unit, digits, title in (
        ("cpu_s", 1, 2, "CPU seconds of all processes"),
        ("disk_bytes", MB, 1, "MB read from disk"),
        ("memory_peak", MIB, 0, "Peak memory of everything, page cache included, MiB"),
        ("guest_memory_peak", MIB, 0, "Peak memory of the guest's control group, page cache included, MiB"),
        ("wire_bytes", MB, 1, "MB over the wire to the guest"),
    ):
        if any(runs.values(i, link, s, column) for i in runs.images for s in runs.systems):
            out.append(f"{title}:\n")

            def cell(image, link, system, column=column, unit=unit, digits=digits):
                return spread(runs.values(image, link, system, column), unit, digits)

            systems_by_images(out, runs, link, cell)


def processes(out, runs, link):
    """The largest resident set of each program, over all images and rounds."""
    rows = []
    for system in runs.systems:
        largest = {}
        for image in runs.images:
            for row in runs.of.get((image, link, system), []):
                for entry in filter(None, row["processes"].split(";")):
                    name, _, rest = entry.partition(":")
                    kib, _, _ = rest.partition("*")
                    largest[name] = max(largest.get(name, 0), int(kib))
        if largest:
            words = (f"{name} {kib / 1024:.0f}" for name, kib in sorted(largest.items(), key=lambda e: -e[1]))
            rows.append([system, ", ".join(words)])
    table(out, ["", "largest resident set of each program, MiB"], rows)


def touched(out, runs):
    known = runs.parameters.get("touched") or {}
    rows = []
    for image in runs.images:
        if image in known:
            t = known[image]
            rows.append([image, f"{t['bytes'] / MB:.1f}", f"{t['compressed'] / MB:.1f}", f"{t['image_bytes'] / MB:.0f}"])
    if rows:
        out.append(
            "What the application touches until its answer: blocks of 4 KiB that the kernel read from the exported "
            "image with readahead switched off; compressed as one zstd stream (level 3), which is what somebody who "
            "knew all of it beforehand would send.\n"
        )
        table(out, ["", "MB touched", "compressed", "of an image of"], rows)


def about(out, runs):
    p = runs.parameters
    out.append(
        f"Commit {p['commit']}, programs {p['cocoon']}, {p['date']}. {p['cpus']} CPUs ({p['cpu']}), {p['memory']} MiB, "
        f"Linux {p['kernel']}, load at the end {p['load']}. {p['runs']} rounds, all systems in turn; a guest may use "
        f"{p['guest_memory']}. Packages: {', '.join(p['packages'])}.\n"
    )
    out.append("Medians with quartiles. Seconds are from the pull command to the first useful answer of the application.\n")


def skipped(out, runs):
    if runs.parameters["skipped"]:
        out.append("Not measured, or not in all rounds:\n")
        out.extend(f"- {s['what']}: {s['why']}" for s in runs.parameters["skipped"])
        out.append("")


def main():
    directory = sys.argv[1]
    runs = Runs(directory)
    out = ["# Cold starts compared\n"]
    about(out, runs)
    out.append("## Goals\n")
    table(out, *goals.table(runs))
    for link in runs.links:
        out.append(f"## Link: {link}\n\nSeconds:\n")
        seconds(out, runs, link)
        for name in plots.of_link(runs, link, directory):
            out.append(f"![]({name})\n")
        out.append("MB from the registry, requests:\n")
        registry(out, runs, link)
    if runs.links:
        out.append(f"## What it costs ({runs.links[0]})\n")
        costs(out, runs, runs.links[0])
        processes(out, runs, runs.links[0])
    touched(out, runs)
    skipped(out, runs)
    with open(os.path.join(directory, "report.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(out))


if __name__ == "__main__":
    main()
