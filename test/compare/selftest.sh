#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Proves that tree.py sees each kind of change: one small tree, one change at a time, and the word that
# has to be in the answer.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
[ "$(id -u)" = 0 ] || { echo "selftest.sh: needs root" >&2; exit 77; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/tree-selftest.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
failed=0 passed=0

make_tree() {
    rm -rf tree
    mkdir -p tree/dir/sub
    printf 'some content' >tree/file
    printf 'some content' >tree/twin
    ln tree/file tree/dir/link
    ln -s file tree/symlink
    mknod tree/chr c 1 3
    mkfifo tree/fifo
    python3 - <<'PY'
import os
os.setxattr("tree/file", "user.a", b"\0value")
os.setxattr("tree/dir", "trusted.d", b"")
with open("tree/sparse", "wb") as f:
    f.truncate(1 << 20)
    f.seek(0)
    f.write(b"x" * 4096)
for d, _, files in os.walk("tree", topdown=False):
    for n in files + ["."]:
        os.utime(os.path.join(d, n), ns=(1, 1700000000123456789), follow_symlinks=False)
PY
}

# Touches a time by some nanoseconds without moving anything else.
shift_time() { python3 -c "import os,sys; p,n=sys.argv[1],int(sys.argv[2]); t=os.lstat(p).st_mtime_ns+n; os.utime(p,ns=(t,t),follow_symlinks=False)" "$@"; }
# Runs a command and puts the parents' times back, so that only the change itself can be seen.
keep_times() {
    "$@"
    python3 -c "import os; [os.utime(p, ns=(1,1700000000123456789), follow_symlinks=False) for p in ('tree','tree/dir','tree/dir/sub') if os.path.isdir(p)]"
}
restamp() { python3 -c "import os,sys; [os.utime(p, ns=(1,1700000000123456789), follow_symlinks=False) for p in sys.argv[1:]]" "$@"; }

# expect_change NAME WORDS COMMAND…: exactly one line of difference, and it holds WORDS.
expect_change() {
    local name=$1 words=$2 got status=0
    shift 2
    make_tree
    keep_times "$@"
    got=$("$here/tree.py" compare --holes before tree) || status=$?
    if [ $status = 1 ] && grep -qF -- "$words" <<<"$got" && grep -q "^DIFFERENT: ${lines:-1} diff" <<<"$got"; then
        passed=$((passed + 1))
    else
        echo "FAILED $name: exit $status, wanted \"$words\" in:"
        echo "$got"
        failed=1
    fi
}

make_tree
"$here/tree.py" dump --holes tree >before
"$here/tree.py" compare --holes before tree >/dev/null || { echo "FAILED: a tree differs from itself"; exit 1; }
make_tree
"$here/tree.py" compare --holes before tree >/dev/null || { echo "FAILED: the same tree made twice differs"; exit 1; }

expect_change mode "/twin: mode 0644, found 0645" chmod 0645 tree/twin
expect_change setuid "/twin: mode 0644, found 4644" chmod 4644 tree/twin
expect_change dir-mode "/dir: mode" chmod 0700 tree/dir
expect_change uid "/twin: uid 0, found 1" chown 1 tree/twin
expect_change gid "/symlink: gid 0, found 70000" chown -h 0:70000 tree/symlink
expect_change file-ns "/twin: mtime 1700000000123456789, found 1700000000123456790" shift_time tree/twin 1
expect_change symlink-ns "/symlink: mtime" shift_time tree/symlink -1
expect_change fifo-ns "/fifo: mtime" shift_time tree/fifo 1
expect_change xattr-missing "xattr trusted.d , found none" setfattr -x trusted.d tree/dir
lines=2 expect_change xattr-value "xattr user.a 0076616c7565, found 0076616c7566" env -C tree setfattr -n user.a -v 0x0076616c7566 dir/link
expect_change xattr-new "xattr user.new none, found" setfattr -n user.new -v 1 tree/twin
flip() { printf 'somE content' >tree/twin; restamp tree/twin; }
expect_change content "/twin: sha256" flip
longer() { printf 'some content\0' >tree/twin; restamp tree/twin; }
lines=2 expect_change size "/twin: size 12, found 13" longer
unlink_group() { cp -a tree/file tree/new; mv tree/new tree/file; }
lines=3 expect_change link-group-split '/dir/link: nlink 2, found 1' unlink_group
swap_group() { ln -f tree/dir/link tree/twin; cp -a tree/file tree/new; mv tree/new tree/file; }
make_tree
swap_group
keep_times true
got=$("$here/tree.py" compare before tree) && { echo "FAILED link-group-swapped"; failed=1; }
grep -q "/twin: links /twin, found /dir/link" <<<"$got" && passed=$((passed + 1)) || { echo "FAILED link-group-swapped: $got"; failed=1; }
rdev() { rm tree/chr; mknod tree/chr c 1 4; restamp tree/chr; }
expect_change rdev "/chr: rdev 1:3, found 1:4" rdev
chr_to_blk() { rm tree/chr; mknod tree/chr b 1 3; restamp tree/chr; }
expect_change kind "/chr: type chr, found blk" chr_to_blk
target() { ln -sfn filE tree/symlink; restamp tree/symlink; }
expect_change target "/symlink: target file, found filE" target
expect_change missing-name "/fifo: missing (fifo)" rm tree/fifo
expect_change missing-dir "/dir/sub: missing (dir)" rmdir tree/dir/sub
expect_change extra-name "/dir/sub/new\\x0aline: should not be there (file)" touch $'tree/dir/sub/new\nline'
fill() { dd if=/dev/zero of=tree/sparse bs=4096 seek=10 count=1 conv=notrunc status=none; restamp tree/sparse; }
expect_change hole-filled "/sparse: holes" fill
dir_time() { python3 -c "import os; os.utime('tree/dir/sub', ns=(1,1700000000123456790))"; }
make_tree
dir_time
got=$("$here/tree.py" compare before tree) && { echo "FAILED dir-ns"; failed=1; }
grep -q "/dir/sub: mtime" <<<"$got" && passed=$((passed + 1)) || { echo "FAILED dir-ns: $got"; failed=1; }

# What must not count as a difference.
make_tree
setfattr -n trusted.overlay.opaque -v y tree/dir
"$here/tree.py" compare before tree >/dev/null || { echo "FAILED: overlayfs' own attribute counted"; failed=1; }
"$here/tree.py" compare --all-xattrs before tree >/dev/null && { echo "FAILED: --all-xattrs saw nothing"; failed=1; }
sed 's/"mtime": [0-9]*/"mtime": "*"/' before >any
shift_time tree/twin 5
setfattr -x trusted.overlay.opaque tree/dir
"$here/tree.py" compare any tree >/dev/null || { echo "FAILED: * does not stand for any time"; failed=1; }

echo "tree.py selftest: $passed changes seen"
exit $failed
