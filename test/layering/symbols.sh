#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The host daemon links nothing that could open a chunk. Proved from the build itself, of a program that is not stripped:
#   - no library of ours that opens, wraps or derives keys is on its link line;
#   - no symbol that such a library defines is in it;
#   - of OpenSSL it asks for digests, and for TLS to guests with its own certificate, and nothing else; it cannot look symbols up at
#     run time;
#   - it links gRPC without TLS.
# The limit: libcurl (for the registry) and libssl (for guests behind a network) are shared libraries; what those do in their own names this test does
# not see. They have no key of an image, and the daemon calls none of their ciphers.
#
#   COCOON_BUILD=DIR [COCOON_BIN=DIR] test/layering/symbols.sh
set -euo pipefail

build=${COCOON_BUILD:?the build directory}
daemon=${COCOON_BIN:-$build/snapshotter}/cocoon-snapshotter
guest=${COCOON_BIN:-$build/guestfs}/cocoon-guestfs
failed=0

fail() {
	echo "$*"
	failed=1
}

# What an archive offers; what a program has (there hidden symbols have become local ones: small letters).
offered() {
	nm --defined-only "$1" 2>/dev/null | awk 'NF == 3 && $2 ~ /^[TDRBVW]$/ { print $3 }' | sort -u
}

defined() {
	nm --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u
}

undefined() {
	nm --undefined-only "$1" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u
}

[ "$(defined "$daemon" | wc -l)" -gt 100 ] || {
	echo "$daemon has no symbols: is it stripped?" >&2
	exit 1
}

archives=()
for name in crypto image front seal publisher; do
	mapfile -t -O ${#archives[@]} archives < <(find "$build" -name "libcocoon-$name.a")
done
[ "${#archives[@]}" -ge 2 ] || {
	echo "libcocoon-crypto.a and libcocoon-image.a are not below $build" >&2
	exit 1
}

if [ -e "$build/build.ninja" ] && command -v ninja >/dev/null; then
	link=$(ninja -C "$build" -t commands cocoon-snapshotter | tail -n 1)
	grep -q -- 'libcocoon-chunkstore.a' <<<"$link" || fail "this is no link line: $link"
	for archive in "${archives[@]}"; do
		! grep -qF -- "$(basename "$archive")" <<<"$link" || fail "the daemon is linked with $(basename "$archive")"
	done
fi

# What opens chunks, by name: from the libraries, so that what is added to them later is seen too.
for archive in "${archives[@]}"; do
	common=$(comm -12 <(offered "$archive") <(defined "$daemon"))
	[ -z "$common" ] || fail "of $(basename "$archive") the daemon has:" $common
done
for symbol in aead_open aead_seal kdf_expand secret_random keyfile_read keywrap_unwrap chunk_open image_open; do
	! nm "$daemon" | grep -E " $symbol\$" >/dev/null || fail "the daemon has $symbol"
done

strange=$(undefined "$daemon" | grep -E '^(EVP_|HMAC|AES_|RSA_|EC_|ECDH|PKCS|CMS_|PEM_|BIO_|SSL_|OSSL_|CRYPTO_gcm|ZSTD_|dlopen|dlsym|dlmopen)' |
	grep -vE '^(EVP_Digest|EVP_MD_|EVP_sha256$|EVP_Q_digest$|EVP_PKEY_free$|SSL_|BIO_|PEM_read_bio_(X509|PrivateKey)$)' || true)
[ -z "$strange" ] || fail "the daemon asks shared libraries for:" $strange

needed=$(readelf -d "$daemon" | sed -n 's/.*Shared library: \[\(.*\)\]/\1/p')
grep -q '^libgrpc_unsecure\.' <<<"$needed" || fail "the daemon does not link libgrpc_unsecure"
! grep -qE '^(libgrpc\.|libgrpc\+\+|libzstd)' <<<"$needed" || fail "the daemon links one too many of:" $needed

# The test can see what it looks for: the guest has it all. (No grep -q: who writes to it would end by a signal.)
defined "$guest" | grep -x aead_open >/dev/null || fail "aead_open is not seen in $guest, where it must be"
undefined "$guest" | grep '^EVP_Decrypt' >/dev/null || fail "EVP_Decrypt… is not seen in $guest, where it must be"

[ "$failed" = 0 ] && echo "$(defined "$daemon" | wc -l) symbols of the daemon, none that opens; OpenSSL: $(undefined "$daemon" |
	grep -E '^(EVP|OPENSSL|CRYPTO)_' | tr '\n' ' ')"
[ "$failed" = 0 ]
