# SPDX-License-Identifier: Apache-2.0
"""The goals of a cold start as ratios, and which of them a run of coldstart.sh meets. A ratio is that of the
medians; where a side may be one of several rows it is the one with the best median."""

import math

COLD = ["cocoon-cold", "cocoon-optimized-cold"]
WARM = ["cocoon-warm", "cocoon-optimized-warm"]
GUEST_COLD = ["cocoon-guest-cold", "cocoon-optimized-guest-cold"]
GUEST_WARM = ["cocoon-guest-warm", "cocoon-optimized-guest-warm"]
STARGZ = ["stargz", "stargz-quiet", "stargz-optimized", "stargz-optimized-quiet"]
GUEST_PULL = ["guest-pull", "guest-skopeo"]

# what, ours, theirs, column, at most
GOALS = [
    ("cold host against stargz's best", COLD, STARGZ, "answer_s", 0.5),
    ("cold host against a full pull with overlayfs", COLD, ["overlayfs"], "answer_s", 0.15),
    ("cold host, cold guest against pulling in the guest: time", GUEST_COLD, GUEST_PULL, "answer_s", 0.1),
    ("the same: peak memory of the guest", GUEST_COLD, GUEST_PULL, "guest_memory_peak", 0.25),
    ("warm host against overlayfs unpacked, page cache dropped", WARM, ["overlayfs-warm"], "answer_s", 1.2),
    ("warm host, guest's own daemon, against the same", GUEST_WARM, ["overlayfs-warm"], "answer_s", 1.2),
]


def best(runs, image, link, systems, column):
    """The row with the best median, or None."""
    known = [(m, s) for s in systems if (m := runs.median(image, link, s, column)) is not None]
    return min(known)[1] if known else None


def ratio(runs, image, link, goal):
    """(ratio, words) of one goal for one image and link, or None where a side was not measured."""
    _, ours, theirs, column, limit = goal
    one, other = (best(runs, image, link, side, column) for side in (ours, theirs))
    if one is None or other is None:
        return None
    value = runs.median(image, link, one, column) / runs.median(image, link, other, column)
    # round for round: they were measured one after the other
    denominators = {row["round"]: float(row[column]) for row in runs.of[image, link, other]}
    rounds = [
        float(row[column]) / denominators[row["round"]]
        for row in runs.of[image, link, one]
        if denominators.get(row["round"])
    ]
    words = f"{value:.2f}"
    if len(rounds) > 1:
        low, _, high = runs.quartiles(rounds)
        words += f" ({low:.2f}–{high:.2f})"
    return value, words if value <= limit else f"**{words}**"


def touched_ratio(runs, image, link):
    touched = (runs.parameters.get("touched") or {}).get(image)
    row = best(runs, image, link, COLD, "registry_bytes")
    if not touched or row is None:
        return None
    value = runs.median(image, link, row, "registry_bytes") / touched["compressed"]
    return value, f"{value:.2f}" if value <= 1.3 else f"**{value:.2f}**"


def table(runs):
    rows = []

    def line(what, limit, link, results):
        known = [r for r in results if r]
        if known:
            missed = sum(r[0] > limit for r in known)
            verdict = "met" if not missed else f"**missed** in {missed} of {len(known)}"
            mean = math.exp(sum(math.log(r[0]) for r in known) / len(known))
            rows.append([what, link, f"≤ {limit}", *(r[1] if r else "–" for r in results), f"{mean:.2f}", verdict])

    for goal in GOALS:
        for link in runs.links:
            line(goal[0], goal[4], link, [ratio(runs, image, link, goal) for image in runs.images])
    for link in runs.links:
        results = [touched_ratio(runs, image, link) for image in runs.images]
        line("bytes from the registry until the answer, of what is touched (compressed)", 1.3, link, results)
    pods = runs.parameters.get("pods")
    if pods:
        value = pods["bytes"] / pods["bytes_of_one"]
        rows.append(
            [f"registry bytes for {pods['n']} pods of {pods['image']} at once, against one", pods["link"], "1.0"]
            + ["–"] * len(runs.images)
            + [f"{value:.3f}", "met" if value <= 1.02 else "**missed**"]
        )
    return ["goal", "link", "at most", *runs.images, "geometric mean", ""], rows
