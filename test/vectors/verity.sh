#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Our hash tree before cryptsetup's veritysetup: it verifies ours as it lies in an index blob, it makes the same tree
# byte for byte, and it refuses ours after one flipped byte.
# usage: verity.sh VERITY_TOOL
set -euo pipefail

tool=$1
command -v veritysetup >/dev/null || {
    echo "skipped: needs cryptsetup-bin"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flip() { # flip FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    printf '%b' "$(printf '\\x%02x' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

for blocks in 1 2 128 129 16385; do
    read -r root salt < <("$tool" "$blocks" "$work/index")
    table=$((blocks * 4096))
    veritysetup verify "$work/index" "$work/index" "$root" --hash-offset="$table"

    head -c "$table" "$work/index" >"$work/data"
    tail -c "+$((table + 1))" "$work/index" >"$work/ours"
    uuid=$(od -An -tx1 -j16 -N16 "$work/ours" | tr -d ' \n' | sed -E 's/(.{8})(.{4})(.{4})(.{4})/\1-\2-\3-\4-/')
    rm -f "$work/theirs"
    made=$(veritysetup format "$work/data" "$work/theirs" --salt="$salt" --uuid="$uuid" | sed -n 's/^Root hash:[[:space:]]*//p')
    [ "$made" = "$root" ] || {
        echo "FAILED $blocks blocks: our root $root, veritysetup's $made"
        exit 1
    }
    # with one data block it writes no hash block; sizes agree up to the padding behind its superblock
    truncate -s "$(stat -c %s "$work/ours")" "$work/theirs"
    cmp "$work/ours" "$work/theirs"

    for offset in 0 $((table - 1)) $(($(stat -c %s "$work/index") - 4096)); do
        cp "$work/index" "$work/flipped"
        flip "$work/flipped" "$offset"
        if veritysetup verify "$work/flipped" "$work/flipped" "$root" --hash-offset="$table" 2>/dev/null; then
            echo "FAILED $blocks blocks: a flipped byte at $offset was not seen"
            exit 1
        fi
    done
    echo "ok $blocks blocks"
done
