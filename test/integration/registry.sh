#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The registry client against a real registry: plain, and with TLS and a password; pushing, mounting, resolving, reading whole
# blobs and ranges of them, over a network that breaks connections.
# Environment: COCOON_BIN (programs).
set -euo pipefail

test=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=test/lib/cleanup.sh
. "$test/lib/cleanup.sh"
# shellcheck source=test/lib/registry.sh
. "$test/lib/registry.sh"
client=${COCOON_BIN:?directory of the programs}/registry-client

work_dir regclient
cd "$WORK"
# no login of the machine's own may help
export HOME=$WORK DOCKER_CONFIG=$WORK/none

fail() {
	echo "FAILED $*" >&2
	exit 1
}

# answers WANTED COMMAND…: the last word of its output
answers() {
	local wanted=$1 got
	shift
	got=$("$@") || fail "$*"
	[ "${got##* }" = "$wanted" ] || fail "$*: wanted $wanted, got $got"
}

# refuses WORDS COMMAND…: it fails, and its words are these
refuses() {
	local words=$1 got
	shift
	got=$("$@" 2>&1 >/dev/null) && fail "$*: succeeded"
	[[ $got == *"$words"* ]] || fail "$*: $got"
}

digest_of() {
	echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"
}

head -c 9000000 /dev/urandom >big
head -c 3000 /dev/urandom >small
: >empty
big=$(digest_of big)
small=$(digest_of small)

# reads_back OPTION…: what was pushed as $REGISTRY/lib/a comes back
reads_back() {
	local size
	answers "$(stat -c %s big)" "$client" "$@" has "$REGISTRY/lib/a:1" "$big"
	"$client" "$@" blob "$REGISTRY/lib/a:1" "$big" 9000000 | cmp - big
	"$client" "$@" range "$REGISTRY/lib/a:1" "$big" 4000000 123456 | cmp - <(tail -c +4000001 big | head -c 123456)
	"$client" "$@" range "$REGISTRY/lib/a:1" "$big" 8999999 1 | cmp - <(tail -c 1 big)
	size=$(stat -c %s manifest.json)
	answers "$size" "$client" "$@" resolve "$REGISTRY/lib/a:1"
	"$client" "$@" manifest "$REGISTRY/lib/a@$(digest_of manifest.json)" | cmp - manifest.json
}

# pushes OPTION…: all there is to push
pushes() {
	answers uploaded "$client" "$@" push "$REGISTRY/lib/a:1" big
	answers uploaded "$client" "$@" push "$REGISTRY/lib/a:1" small
	answers uploaded "$client" "$@" push "$REGISTRY/lib/a:1" empty
	answers present "$client" "$@" push "$REGISTRY/lib/a:1" big
	answers mounted "$client" "$@" push "$REGISTRY/lib/b:1" big lib/a
	answers uploaded "$client" "$@" push "$REGISTRY/lib/c:1" big lib/none
	jq -cn --arg big "$big" --arg small "$small" '{
		schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
		config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $small, size: 3000},
		layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $big, size: 9000000}]}' >manifest.json
	"$client" "$@" put "$REGISTRY/lib/a:1" application/vnd.oci.image.manifest.v1+json manifest.json
}

registry_start plain
pushes
reads_back
refuses 'status 404' "$client" has "$REGISTRY/lib/a:1" "$(digest_of manifest.json)"
refuses 'status 404' "$client" resolve "$REGISTRY/lib/a:none"
refuses 'shorter than asked' "$client" range "$REGISTRY/lib/a:1" "$big" 9000000 1
refuses 'another digest' "$client" blob "$REGISTRY/lib/a:1" "$(
	# the registry's own file is damaged
	file=$REGISTRY_DIR/data/docker/registry/v2/blobs/sha256/${small:7:2}/${small:7}/data
	printf X | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	echo "$small"
)" 3000
# the same bytes as another tool sees them
skopeo --insecure-policy inspect --raw --tls-verify=false "docker://$REGISTRY/lib/a:1" | cmp - manifest.json
echo "ok   plain registry"

# Through a network that breaks. The relay is the registry's name: its answers name it again.
behind=$REGISTRY
log=$REGISTRY_LOG

# broken DIRECTION CUTS BYTES
broken() {
	local port
	port=$(free_port)
	start_daemon "relay-$port" "$test/integration/cutting-relay.py" "$port" "$behind" "$@"
	REGISTRY=127.0.0.1:$port
	wait_socket "$REGISTRY" 10 "$STARTED_PID"
}

broken down 4 1500000
reads_back
[ "$(grep -c "\"http.request.method\":\"GET\".*blobs/$big" "$log")" -ge 8 ] || fail "reading did not go on where it broke"
echo "ok   reading over connections that break"

head -c 30000000 /dev/urandom >big
big=$(digest_of big)
mark=$(stat -c %s "$log")
broken up 3 5000000
answers uploaded "$client" push "$REGISTRY/lib/broken:1" big
answers 30000000 "$client" has "$REGISTRY/lib/broken:1" "$big"
# this registry forgets an upload whose connection broke: one start for each break, and the last one
starts=$(tail -c +"$((mark + 1))" "$log" | jq -rR 'fromjson? | select(.msg == "response completed" and
	.["http.request.method"] == "POST") | .["http.response.status"]' | grep -c 202)
[ "$starts" = 4 ] || fail "the push began $starts times"
REGISTRY=$behind
"$client" blob "$REGISTRY/lib/broken:1" "$big" 30000000 | cmp - big
echo "ok   pushing over connections that break"

broken down 1000 100
refuses '' "$client" --patience 1000 blob "$REGISTRY/lib/broken:1" "$big" 30000000
echo "ok   giving up in the end"

head -c 9000000 big >big.new && mv big.new big
big=$(digest_of big)
head -c 3000 /dev/urandom >small
small=$(digest_of small)
registry_start secured tls auth
refuses 'certificate' "$client" --config "$REGISTRY_AUTHFILE" push "$REGISTRY/lib/a:1" big
refuses "config.json has none" "$client" --ca "$REGISTRY_CA" push "$REGISTRY/lib/a:1" big
jq '.auths[].auth = "dGVzdGVyOndyb25n"' "$REGISTRY_AUTHFILE" >wrong.json
refuses 'status 401' "$client" --ca "$REGISTRY_CA" --config wrong.json push "$REGISTRY/lib/a:1" big
pushes --ca "$REGISTRY_CA" --config "$REGISTRY_AUTHFILE"
reads_back --ca "$REGISTRY_CA" --config "$REGISTRY_AUTHFILE"
refuses "config.json has none" "$client" --ca "$REGISTRY_CA" resolve "$REGISTRY/lib/a:1"
echo "ok   registry with TLS and a password"
