#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cocoon convert and what it promises: the same data blobs at each run and number of threads, no key with two messages,
# little that is public, pushes that send no blob twice, nothing left of what failed. That the tree comes out as it went
# in is fidelity.sh's business, and what images share that of dedup.sh.
# Environment: COCOON_BIN (programs), COCOON_BUILD (build directory; for key-once).
set -euo pipefail

test=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=test/lib/cleanup.sh
. "$test/lib/cleanup.sh"
# shellcheck source=test/lib/registry.sh
. "$test/lib/registry.sh"
: "${COCOON_BIN:?directory of the programs}"
cocoon=$COCOON_BIN/cocoon

work_dir convert
cd "$WORK"

fail() {
	echo "FAILED $*" >&2
	exit 1
}

# digests LAYOUT: of the data blobs, the index left out
digests() {
	local manifest
	manifest=$(jq -r '.manifests[0].digest' "$1/index.json")
	jq -r '.layers[:-1][].digest' "$1/blobs/sha256/${manifest#sha256:}"
}

# index_of LAYOUT: the path of the index blob
index_of() {
	local manifest digest
	manifest=$(jq -r '.manifests[0].digest' "$1/index.json")
	digest=$(jq -r '.layers[-1].digest' "$1/blobs/sha256/${manifest#sha256:}")
	echo "$1/blobs/sha256/${digest#sha256:}"
}

seal() {
	"$cocoon" convert --quiet --domain domain --recipient guest.pub "$@"
}

"$cocoon" keygen domain domain
"$cocoon" keygen domain other-domain
"$cocoon" keygen recipient guest
"$cocoon" keygen recipient stranger
"$cocoon" keygen image image.key
! "$cocoon" keygen image image.key 2>/dev/null || fail "keygen: replaced a key"
for name in torture layers60 empty sparse-gnu; do
	"$test/images/make.py" "$name" "$name" >/dev/null
done

# --- determinism -----------------------------------------------------------------------------------
for name in torture layers60; do
	seal --threads 1 "oci:$name" "oci:$name.a"
	seal --threads 2 "oci:$name" "oci:$name.b"
	seal --threads 7 "oci:$name" "oci:$name.c"
	cmp <(digests "$name.a") <(digests "$name.b") || fail "$name: blobs depend on threads"
	cmp <(digests "$name.a") <(digests "$name.c") || fail "$name: blobs depend on threads"
	! cmp -s "$(index_of "$name.a")" "$(index_of "$name.b")" || fail "$name: two images with one index"
done
"$cocoon" convert --quiet --domain other-domain --recipient guest.pub oci:layers60 oci:foreign
[ -z "$(comm -12 <(digests foreign | sort -u) <(digests layers60.a | sort -u) |
	grep -v e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855)" ] ||
	fail "two domains share a blob"

for name in empty torture; do
	[ -d "$name.a" ] || seal "oci:$name" "oci:$name.a"
done

# --- keys ------------------------------------------------------------------------------------------
seal --image-key image.key oci:empty oci:keyed
"$cocoon" verify --quiet --key file:image.key oci:keyed || fail "verify with the image key"
"$cocoon" verify --quiet --key recipient:guest oci:keyed || fail "verify with the recipient's key"
"$cocoon" verify --quiet --key recipient:stranger oci:keyed 2>/dev/null && fail "opened with a stranger's key"
"$cocoon" inspect oci:torture.a | grep -q '^descriptor  sha256:' || fail inspect
"$cocoon" inspect --json --key recipient:guest oci:torture.a | jq -e '.config.rootfs.diff_ids | length == 6' >/dev/null ||
	fail "inspect: the sealed config"
"$COCOON_BUILD"/publisher/key-once domain image.key torture layers60 sparse-gnu || fail "a key met two messages"

# --- what is public --------------------------------------------------------------------------------
config() {
	local manifest digest
	manifest=$(jq -r '.manifests[0].digest' "$1/index.json")
	digest=$(jq -r '.config.digest' "$1/blobs/sha256/${manifest#sha256:}")
	cat "$1/blobs/sha256/${digest#sha256:}"
}
[ "$(config torture.a | jq -c '[keys, (.config | keys)]')" = '[["architecture","config","os","rootfs"],["User"]]' ] ||
	fail "the public config says too much: $(config torture.a)"
seal --public all oci:torture oci:public
config public | jq -e '.config.Env and .history' >/dev/null || fail "--public all"

# --- the start-up list: one metadata chunk more ----------------------------------------------------
printf '%s\n' /names /data/large data/nothing >startup.list
seal --startup startup.list oci:torture oci:started 2>startup.log
grep -q 'paths of the start-up list are not in the image' startup.log || fail "no word of unknown paths: $(cat startup.log)"
printf '/attr/file-%04d\n' 0 1 111 >startup.list
seal --startup startup.list oci:torture oci:started 2>startup.log
[ ! -s startup.log ] || fail "start-up list: $(cat startup.log)"
"$cocoon" verify --quiet --key recipient:guest oci:started || fail "verify with a start-up list"
before=$("$cocoon" inspect --json oci:torture.a | jq .metadata_chunks)
[ "$("$cocoon" inspect --json oci:started | jq .metadata_chunks)" = $((before + 1)) ] || fail "no start-up list in the image"

# --- a registry: push, share, mount ----------------------------------------------------------------
"$test/integration/change-layer.py" layers60 59 changed
registry_start registry tls auth
remote=(--ca "$REGISTRY_CA" --authfile "$REGISTRY_AUTHFILE")
registry_push oci:layers60:latest plain/layers60:1
seal "${remote[@]}" "$REGISTRY/plain/layers60:1" "$REGISTRY/sealed/layers60:1"
"$cocoon" convert --json --domain domain --recipient guest.pub "${remote[@]}" oci:changed "$REGISTRY/sealed/layers60:2" >push.json
jq -e '.blobs_present >= 57' push.json >/dev/null || fail "pushed what the registry has: $(cat push.json)"
"$cocoon" convert --json --domain domain --recipient guest.pub "${remote[@]}" --mount-from sealed/layers60 \
	oci:changed "$REGISTRY/sealed/elsewhere:1" >push.json
jq -e '.blobs_present >= 57' push.json >/dev/null || fail "nothing was mounted: $(cat push.json)"
"$cocoon" verify --quiet --key recipient:guest "${remote[@]}" "$REGISTRY/sealed/elsewhere:1" || fail "verify from a registry"
skopeo copy --quiet --insecure-policy --preserve-digests --src-cert-dir "$(dirname "$REGISTRY_CA")" --src-authfile "$REGISTRY_AUTHFILE" \
	"docker://$REGISTRY/sealed/layers60:1" oci:copied:latest
"$cocoon" verify --quiet --key recipient:guest oci:copied || fail "verify of what skopeo copied"

# --- refusals --------------------------------------------------------------------------------------
"$test/images/make.py" malformed malformed >/dev/null
mkdir refused
refused=0
while IFS=$'\t' read -r name tag platform where what; do
	status=0
	"$cocoon" convert --quiet --platform "$platform" --domain domain --recipient guest.pub \
		"oci:malformed/$name:$tag" oci:refused/out >refused.log 2>&1 </dev/null || status=$?
	case $status:$where:$name in
	3:* | 1:index:*) ;;
	# as containerd does: symlinks on the way are followed inside the image
	0:tree:parent-is-symlink*) rm -r refused/out && continue ;;
	*) fail "$name ($what): status $status: $(cat refused.log)" ;;
	esac
	[ -s refused.log ] || fail "$name: no words"
	[ -z "$(ls -A refused)" ] || fail "$name: left behind: $(ls -A refused)"
	refused=$((refused + 1))
done <malformed/cases.txt

# an image that is there stays as it is when the next one fails
cp -a torture.a kept
"$cocoon" convert --quiet --domain domain --recipient guest.pub oci:malformed/layer-digest oci:kept 2>/dev/null && fail "took it"
diff -r torture.a kept || fail "a failed conversion changed its destination"

# --- interruption ----------------------------------------------------------------------------------
"$test/images/make.py" bigdir bigdir >/dev/null
for signal in TERM KILL; do
	"$cocoon" convert --quiet --level 19 --threads 1 --domain domain --recipient guest.pub oci:bigdir oci:refused/out &
	pid=$!
	sleep 0.3
	kill -"$signal" "$pid" || fail "the conversion was over before SIG$signal"
	wait "$pid" || true
	[ -z "$(ls -A refused)" ] || fail "SIG$signal left behind: $(ls -A refused)"
done
echo "ok: $refused malformed images refused"
