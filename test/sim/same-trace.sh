#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# same-trace.sh SIM: the same seeds give the same traces in another process (at other addresses), in another
# order and alone.
set -eu
sim=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$sim" --seeds 1-200 --digests | grep ' trace ' | sort >"$work/one"
"$sim" --seeds 1-200 --jobs 3 --digests | grep ' trace ' | sort >"$work/three"
cmp "$work/one" "$work/three"
for seed in 7 23 42; do
	"$sim" --seed "$seed" --trace | grep "^seed $seed trace " >"$work/alone"
	grep -qxFf "$work/alone" "$work/one"
done
[ "$(wc -l <"$work/one")" -eq 200 ]
[ "$(cut -d' ' -f4 "$work/one" | sort -u | wc -l)" -eq 200 ]
echo "200 seeds, the same traces"
