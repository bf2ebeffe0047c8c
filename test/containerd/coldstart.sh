#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The cold-start comparison runs from end to end with a tiny image: each way is measured over a plain and a delayed
# link, and the report is there with its goals and plots.
set -uo pipefail

TEST=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for library in cleanup check packages; do
	# shellcheck source=/dev/null
	. "$TEST/lib/$library.sh"
done

SYSTEMS='overlayfs cocoon-cold cocoon-guest-cold'

compare() {
	interruptible "$TEST/../bench/coldstart.sh" --images busybox --systems "${SYSTEMS// /,}" --rates unshaped,1gbit+10ms --runs 1 \
		--programs "$COCOON_BIN" --cache "$WORK/images" --out "$WORK/report"
}

# Every cell once, with an answer and bytes from the registry; a pull over the delayed link has several round trips.
cells_are_measured() {
	# shellcheck disable=SC2086
	python3 - "$WORK/report/runs.csv" $SYSTEMS <<'END'
import csv, sys

rows = list(csv.DictReader(open(sys.argv[1])))
got = sorted((r["link"], r["system"]) for r in rows)
assert got == sorted((l, s) for l in ("unshaped", "1gbit+10ms") for s in sys.argv[2:]), got
for r in rows:
    assert 0 < float(r["pulled_s"]) <= float(r["answer_s"]) < 300, r
    assert int(r["registry_bytes"]) > 10000 and int(r["requests"]) >= 3, r
    assert float(r["cpu_s"]) > 0 and int(r["memory_peak"]) > 1 << 20 and "containerd:" in r["processes"], r
    assert bool(r["guest_memory_peak"]) == ("guest" in r["system"]), r
    assert r["system"] == "overlayfs" or int(r["wire_bytes"]) > 10000, r
    assert r["link"] == "unshaped" or float(r["pulled_s"]) > 0.03, r
END
}

report_is_whole() {
	grep -q '^| cold host against a full pull with overlayfs | unshaped |' "$WORK/report/report.md" &&
		grep -q '^| bytes from the registry until the answer' "$WORK/report/report.md" &&
		! grep -q '^Not measured' "$WORK/report/report.md" &&
		python3 -c 'import sys, xml.dom.minidom as x; [x.parse(f) for f in sys.argv[1:]]' "$WORK"/report/*.svg
}

refuses_unknown_names() {
	! "$TEST/../bench/coldstart.sh" --systems nonsense && ! "$TEST/../bench/coldstart.sh" --images nonsense
}

need_packages run image bench || exit
work_dir coldstart || exit
check "all is compared" compare
check "every cell is measured" cells_are_measured
check "the report is whole" report_is_whole
check "unknown names are refused" refuses_unknown_names
checks_end
