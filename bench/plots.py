# SPDX-License-Identifier: Apache-2.0
"""Plots of coldstart.sh as SVG, written by hand: every run as a dot with median and quartiles, and the bytes that
have come from the registry over time."""

import collections
import csv
import os
from xml.sax.saxutils import escape

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000"]
STYLE = "<style>text{font:12px sans-serif}.axis{stroke:#444}.grid{stroke:#ddd}</style>"


def colour(runs, system):
    return COLOURS[runs.systems.index(system) % len(COLOURS)]


def dash(runs, system):
    return ["none", "6 3", "2 2"][runs.systems.index(system) // len(COLOURS) % 3]


def ticks(top):
    """Round steps from 0 to top, about five."""
    step = 10.0 ** len(str(int(top))) / 1000
    while top / step > 6:
        step *= 2 if str(step).lstrip("0.")[0] in "15" else 2.5
    return [i * step for i in range(int(top / step) + 1)]


def svg(path, width, height, body):
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{STYLE}')
        f.write(f'<rect width="{width}" height="{height}" fill="white"/>' + "\n".join(body) + "</svg>\n")


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind="grid"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def distributions(runs, link, path):
    """One panel for each image, one line for each system."""
    left, wide, row, gap = 190, 620, 18, 46
    body, y = [], 10
    for image in runs.images:
        measured = [(s, runs.values(image, link, s, "answer_s")) for s in runs.systems]
        measured = [(s, v) for s, v in measured if v]
        if not measured:
            continue
        top = max(max(v) for _, v in measured) * 1.05
        body.append(text(10, y + 14, f"{image}, {link}: seconds to the first answer"))
        y += 22
        bottom = y + row * len(measured)
        for tick in ticks(top):
            x = left + wide * tick / top
            body += [line(x, y, x, bottom), text(x, bottom + 14, f"{tick:g}", "middle")]
        for system, values in measured:
            middle = y + row / 2
            low, median, high = runs.quartiles(values)
            fill = colour(runs, system)
            body.append(text(left - 8, middle + 4, system, "end"))
            body.append(
                f'<rect x="{left + wide * low / top:.1f}" y="{middle - 6:.1f}" width="{max(wide * (high - low) / top, 0.5):.1f}"'
                f' height="12" fill="{fill}" fill-opacity="0.35"/>'
            )
            x = left + wide * median / top
            body.append(f'<line x1="{x:.1f}" y1="{middle - 7:.1f}" x2="{x:.1f}" y2="{middle + 7:.1f}" stroke="{fill}" stroke-width="2"/>')
            body += [f'<circle cx="{left + wide * v / top:.1f}" cy="{middle:.1f}" r="2.2" fill="{fill}"/>' for v in values]
            y += row
        body.append(line(left, bottom, left + wide, bottom, "axis"))
        y += gap
    svg(path, left + wide + 30, y, body)


def series(directory):
    """{(image, link, system): {round: [(seconds, bytes)…]}}"""
    of = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(os.path.join(directory, "bytes.csv"), newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            of[row["image"], row["link"], row["system"]][row["round"]].append((float(row["seconds"]), int(row["bytes"])))
    return of


def bytes_over_time(runs, link, of, path):
    """One panel for each image; of each system the round with the median time."""
    left, wide, high, gap = 60, 560, 200, 60
    body, y = [], 10
    for image in runs.images:
        lines = []
        for system in runs.systems:
            rounds = of.get((image, link, system))
            if rounds:
                ordered = sorted(rounds.values(), key=lambda points: points[-1][0])
                lines.append((system, ordered[(len(ordered) - 1) // 2]))
        if not lines:
            continue
        right = max(points[-1][0] for _, points in lines) * 1.02
        top = max(max(b for _, b in points) for _, points in lines) * 1.05 or 1
        body.append(text(10, y + 14, f"{image}, {link}: MB from the registry over seconds, until the first answer (dot)"))
        y += 24
        for tick in ticks(right):
            x = left + wide * tick / right
            body += [line(x, y, x, y + high), text(x, y + high + 14, f"{tick:g}", "middle")]
        for tick in ticks(top / 1e6):
            at = y + high - high * tick * 1e6 / top
            body += [line(left, at, left + wide, at), text(left - 6, at + 4, f"{tick:g}", "end")]
        for i, (system, points) in enumerate(lines):
            stroke = colour(runs, system)
            dots = [(left + wide * t / right, y + high - high * b / top) for t, b in [(0.0, 0), *points]]
            # bytes are steps: what is there stays until more comes
            walk = f"M{dots[0][0]:.1f} {dots[0][1]:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in dots[1:])
            body.append(f'<path d="{walk}" fill="none" stroke="{stroke}" stroke-width="1.5" stroke-dasharray="{dash(runs, system)}"/>')
            body.append(f'<circle cx="{dots[-1][0]:.1f}" cy="{dots[-1][1]:.1f}" r="3" fill="{stroke}"/>')
            key = y + 8 + i * 15
            body.append(
                f'<line x1="{left + wide + 12}" y1="{key}" x2="{left + wide + 36}" y2="{key}" stroke="{stroke}"'
                f' stroke-width="2" stroke-dasharray="{dash(runs, system)}"/>'
            )
            body.append(text(left + wide + 42, key + 4, system))
        y += max(high, 15 * len(lines)) + gap
    svg(path, left + wide + 240, y, body)


def of_link(runs, link, directory):
    """Writes both plots of a link; returns their names."""
    name = link.replace("+", "-plus-")
    distributions(runs, link, os.path.join(directory, f"seconds-{name}.svg"))
    bytes_over_time(runs, link, series(directory), os.path.join(directory, f"bytes-{name}.svg"))
    return [f"seconds-{name}.svg", f"bytes-{name}.svg"]
