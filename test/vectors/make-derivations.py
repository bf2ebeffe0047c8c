#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes derivations.json: the derivations of proto/FORMAT.md section 7 by hashlib and hmac alone.

The file is frozen: version 1 of the format may never give other keys. Run this to see that it still agrees."""
import hashlib
import hmac
import json
import pathlib
import struct


def extract(salt: bytes, key: bytes) -> bytes:
    return hmac.new(salt, key, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, size: int) -> bytes:
    out, block = b"", b""
    for i in range(1, -(-size // 32) + 1):
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha256).digest()
        out += block
    return out[:size]


SUITE = struct.pack("<I", 1)
SECRETS = {"domain": bytes(range(32)), "meta": bytes(range(32, 64)), "image": bytes(range(64, 96))}
PRK = {name: extract(b"cocoon/1 " + name.encode(), secret) for name, secret in SECRETS.items()}


def chunk_key(prk: bytes, m: bytes) -> bytes:
    info = b"cocoon/1 chunk key\0" + SUITE + struct.pack("<Q", len(m)) + hashlib.sha256(m).digest()
    return expand(prk, info, 32)


def root_key(descriptor: bytes) -> bytes:
    zeroed = descriptor[:80] + bytes(32) + descriptor[112:]
    return expand(PRK["image"], b"cocoon/1 root chunk\0" + SUITE + hashlib.sha256(zeroed).digest(), 32)


def salt(random: bytes, m_root: bytes) -> bytes:
    return expand(PRK["image"], b"cocoon/1 salt\0" + random + hashlib.sha256(m_root).digest(), 32)


MESSAGES = [b"", b"x", b"y", bytes(17), bytes(4096), b"cocoon" * 1000]
DESCRIPTOR = bytes((i * 7 + 3) % 256 for i in range(256))
RANDOM = bytes(range(128, 160))

answers = {
    "secrets": {name: secret.hex() for name, secret in SECRETS.items()},
    "prk": {name: prk.hex() for name, prk in PRK.items()},
    "chunks": [
        {
            "size": len(m),
            "digest": hashlib.sha256(m).hexdigest(),
            "domain_key": chunk_key(PRK["domain"], m).hex(),
            "meta_key": chunk_key(PRK["meta"], m).hex(),
        }
        for m in MESSAGES
    ],
    "descriptor": DESCRIPTOR.hex(),
    "root_key": root_key(DESCRIPTOR).hex(),
    "random": RANDOM.hex(),
    "m_root_digest": hashlib.sha256(b"root").hexdigest(),
    "salt": salt(RANDOM, b"root").hex(),
    "commitment": expand(PRK["image"], b"cocoon/1 commitment\0" + SUITE, 32).hex(),
    "cut": expand(PRK["domain"], b"cocoon/1 cut\0", 2048).hex(),
}

path = pathlib.Path(__file__).with_name("derivations.json")
text = json.dumps(answers, indent=1) + "\n"
if path.exists() and path.read_text() != text:
    raise SystemExit("derivations.json differs from what FORMAT.md says")
path.write_text(text)
