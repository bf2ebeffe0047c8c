#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What we wrap, ocicrypt unwraps, and the other way round: RSA 2048 to 4096, P-256 to P-521, one recipient and many.
# usage: ocicrypt.sh KEYWRAP_TOOL
set -euo pipefail

tool=$1
source=$(cd "$(dirname "$0")" && pwd)
library=/usr/share/gocode
if [ ! -d "$library/src/github.com/containers/ocicrypt" ] || ! command -v go >/dev/null; then
    echo "skipped: needs golang-go and golang-github-containers-ocicrypt-dev"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Go's cache may be shared: it is keyed by content.
(cd "$source" && GO111MODULE=off GOFLAGS='' GOPATH="$work/go:$library" go build -o "$work/ocicrypt" ./ocicrypt)

digest=sha256:$(printf 'an image' | sha256sum | cut -d' ' -f1)
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1dfeff
checks=0

same() {
    [ "$2" = "$3" ] || {
        echo "FAILED $1: got '$2', expected '$3'" >&2
        exit 1
    }
    checks=$((checks + 1))
}

make_key() {
    case $1 in
    rsa*) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:${1#rsa}" -out "$work/$1" 2>/dev/null ;;
    p*) openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-${1#p}" -out "$work/$1" 2>/dev/null ;;
    esac
    openssl pkey -in "$work/$1" -pubout -out "$work/$1.pub" 2>/dev/null
}

kinds="rsa2048 rsa3072 rsa4096 p256 p384 p521"
publics=()
for kind in $kinds; do
    make_key "$kind"
    publics+=("$work/$kind.pub")
done

for kind in $kinds; do
    "$tool" wrap "$digest" "$key" "$work/$kind.pub" >"$work/a"
    same "ocicrypt opens ours, $kind" "$("$work/ocicrypt" unwrap "$work/$kind" <"$work/a")" "$digest $key"
    same "we open ours, $kind" "$("$tool" unwrap "$digest" "$work/$kind" <"$work/a")" "$key"
    "$work/ocicrypt" wrap "$digest" "$key" "$work/$kind.pub" >"$work/a"
    same "we open ocicrypt's, $kind" "$("$tool" unwrap "$digest" "$work/$kind" <"$work/a")" "$key"
done

# Ours: one JWE for each recipient. ocicrypt's: one JWE in the general serialisation.
"$tool" wrap "$digest" "$key" "${publics[@]}" >"$work/ours"
"$work/ocicrypt" wrap "$digest" "$key" "${publics[@]}" >"$work/theirs"
for kind in $kinds; do
    same "ocicrypt opens ours for many, $kind" "$("$work/ocicrypt" unwrap "$work/$kind" <"$work/ours")" "$digest $key"
    same "we open ours for many, $kind" "$("$tool" unwrap "$digest" "$work/$kind" <"$work/ours")" "$key"
    same "we open ocicrypt's for many, $kind" "$("$tool" unwrap "$digest" "$work/$kind" <"$work/theirs")" "$key"
done

for kind in rsa2048 rsa3072; do
    "$work/ocicrypt" wrap-oaep-256 "$digest" "$key" "$work/$kind.pub" >"$work/a"
    same "we open RSA-OAEP-256, $kind" "$("$tool" unwrap "$digest" "$work/$kind" <"$work/a")" "$key"
done

# The shapes of key file that people have.
openssl pkey -in "$work/rsa2048" -traditional -out "$work/pkcs1"
openssl pkey -in "$work/p256" -traditional -out "$work/sec1"
openssl ecparam -name prime256v1 -genkey -out "$work/with-parameters" 2>/dev/null
openssl pkey -in "$work/with-parameters" -pubout -out "$work/with-parameters.pub"
openssl req -x509 -key "$work/p384" -subj /CN=test -days 2 -out "$work/certificate" 2>/dev/null
same "PKCS#1" "$("$tool" unwrap "$digest" "$work/pkcs1" <"$work/theirs")" "$key"
same "SEC1" "$("$tool" unwrap "$digest" "$work/sec1" <"$work/theirs")" "$key"
"$tool" wrap "$digest" "$key" "$work/with-parameters.pub" >"$work/a"
same "EC PARAMETERS in front" "$("$tool" unwrap "$digest" "$work/with-parameters" <"$work/a")" "$key"
"$tool" wrap "$digest" "$key" "$work/certificate" >"$work/a"
same "certificate" "$("$work/ocicrypt" unwrap "$work/p384" <"$work/a")" "$digest $key"

echo "$checks passed, 0 failed"
