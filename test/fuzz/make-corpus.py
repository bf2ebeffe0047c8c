#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the samples of the decoders of proto/ and crypto/ into test/fuzz/corpus/TARGET/, good ones and one for each
defect, named for it. The outputs are committed; running this again gives the same bytes. Needs python3-cryptography."""
import base64
import hashlib
import json
import pathlib
import re
import struct

from cryptography.hazmat.primitives import keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).resolve().parent


def write(target: str, samples: dict[str, bytes]) -> None:
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in samples.items():
        (folder / name).write_bytes(data)


def patched(data: bytes, at: int, fmt: str, value) -> bytes:
    raw = bytearray(data)
    struct.pack_into("<" + fmt, raw, at, value)
    return bytes(raw)


def descriptor(n_chunks=129) -> bytes:
    table = -(-n_chunks // 64)
    blocks, level = 0, table
    while level > 1:
        level = -(-level // 128)
        blocks += level
    head = struct.pack("<8sIIQIIIIQ", b"COCOOND1", 1, 1, 1 << 20, n_chunks, 3, 1 << 19, 4, (table + 1 + blocks) * 4096)
    return head + b"\x11" * 32 + b"\x22" * 32 + b"\x33" * 32 + b"\x44" * 32 + bytes(80)


def descriptors() -> dict[str, bytes]:
    good = descriptor()
    return {
        "good": good,
        "good-smallest": patched(patched(patched(descriptor(2), 36, "I", 1), 28, "I", 2), 16, "Q", 4096),
        "D1-magic": patched(good, 7, "B", ord("2")),
        "D2-version-2": patched(good, 8, "I", 2),
        "D3-suite-2": patched(good, 12, "I", 2),
        "D4-size-0": patched(good, 16, "Q", 0),
        "D4-size-not-in-blocks": patched(good, 16, "Q", 4097),
        "D4-size-2-to-63": patched(good, 16, "Q", 1 << 63),
        "D5-one-chunk": patched(good, 24, "I", 1),
        "D5-chunks-2-to-32": patched(good, 24, "I", (1 << 32) - 1),
        "D6-one-blob": patched(good, 28, "I", 1),
        "D6-129-blobs": patched(good, 28, "I", 129),
        "D7-no-power-of-two": patched(good, 32, "I", 3 << 12),
        "D7-chunks-too-large": patched(good, 32, "I", 1 << 21),
        "D8-no-metadata": patched(good, 36, "I", 0),
        "D8-more-metadata-than-chunks": patched(good, 36, "I", 130),
        "D9-metadata-in-the-tree": patched(good, 40, "Q", 4 * 4096),
        "D9-metadata-past-the-end": patched(good, 40, "Q", (1 << 64) - 1),
        "D11-reserved": patched(good, 255, "B", 1),
        "short": good[:-1],
    }


def entry(number, offset=0, stored=100, blob=0, reserved=bytes(16)) -> bytes:
    return struct.pack("<I", number) + b"\xab" * 32 + struct.pack("<QII", offset, stored, blob) + reserved


def entries() -> dict[str, bytes]:
    return {
        "good-data": entry(5),
        "good-data-at-the-end": entry(5, (1 << 20) - 100),
        "good-metadata": entry(0, 16384, 5000, 2),
        "T1-too-small": entry(5, stored=32),
        "T1-too-large": entry(5, stored=1114113),
        "T2-blob-past-the-last": entry(5, blob=3),
        "T2-data-in-the-index": entry(5, 16384, blob=2),
        "T2-metadata-in-a-data-blob": entry(2),
        "T3-reserved": entry(5, reserved=bytes(15) + b"\x01"),
        "T4-past-the-end": entry(5, (1 << 20) - 99),
        "T4-sum-overflows": entry(5, (1 << 64) - 50, blob=1),
        "T4-before-the-metadata": entry(0, 16383, 100, 2),
        "T4-in-the-descriptor": entry(0, 16385, 5000, 2),
    }


def message(codec=1, payload=50, plain=4096, reserved=b"\0\0\0", tail=b"\0\0\0\0", body=None, padding=bytes(10)) -> bytes:
    head = struct.pack("<B3sII4s", codec, reserved, payload, plain, tail)
    return head + (b"\x5a" * 50 if body is None else body) + padding


def headers() -> dict[str, bytes]:
    return {
        "good-zstd-padded": message(),
        "good-raw": message(0, 50, 50, padding=b""),
        "C1-codec-2": message(2),
        "C2-reserved": message(reserved=b"\0\1\0"),
        "C2-reserved-at-the-end": message(tail=b"\0\0\0\1"),
        "C2-short": message()[:15],
        "C3-no-payload": message(payload=0),
        "C3-payload-past-the-end": message(payload=61),
        "C3-raw-of-another-size": message(0, 50, 51),
        "C4-plain-0": message(plain=0),
        "C4-plain-too-large": message(plain=65537),
        "C6-padding": message(padding=bytes(9) + b"\1"),
        "empty": b"",
    }


def extent(first, chunk, plain, reserved=0) -> bytes:
    return struct.pack("<IIII", first, chunk, plain, reserved) + bytes([chunk & 255]) * 32


def root(pages=2, config=2, startup=1, config_size=70000, startup_size=8, reserved=0, magic=b"COCOONR1", extents=None) -> bytes:
    head = struct.pack("<8sIIIIQQ", magic, pages, config, startup, reserved, config_size, startup_size)
    if extents is None:
        extents = [
            extent(0, 1, 480),
            extent(30, 2, 48),
            extent(0, 3, 65536),
            extent(0, 4, 70000 - 65536),
            extent(0, 5, 8),
        ]
    return head + b"".join(extents)


def roots() -> dict[str, bytes]:
    good = root()
    one = [extent(0, 1, 48), extent(0, 2, 5)]
    return {
        "good": good,
        "good-without-startup": root(1, 1, 0, 5, 0, extents=one),
        "R1-magic": root(magic=b"COCOONR2"),
        "R1-reserved": root(reserved=1),
        "R2-no-map": root(pages=0),
        "R3-no-config": root(config=0),
        "R3-config-17-MiB": root(config_size=17 << 20),
        "R4-startup-of-7": root(startup_size=7),
        "R4-startup-too-long": root(startup_size=204),
        "R5-one-extent-more": good + extent(0, 6, 8),
        "R5-counts-overflow": root(pages=(1 << 32) - 1, config=(1 << 32) - 1),
        "E1-the-root-itself": root(1, 1, 0, 5, 0, extents=[extent(0, 0, 48), one[1]]),
        "E1-past-the-last": root(1, 1, 0, 5, 0, extents=[extent(0, 50, 48), one[1]]),
        "E2-empty": root(1, 1, 0, 5, 0, extents=[extent(0, 1, 0), one[1]]),
        "E2-too-large": root(1, 1, 0, 65537, 0, extents=[one[0], extent(0, 2, 65537)]),
        "E3-reserved": root(1, 1, 0, 5, 0, extents=[extent(0, 1, 48, 1), one[1]]),
        "A1-first-page-not-at-0": root(1, 1, 0, 5, 0, extents=[extent(1, 1, 48), one[1]]),
        "A1-pages-descend": root(2, 1, 0, 5, 0, extents=[one[0], extent(0, 3, 48), one[1]]),
        "A1-page-past-the-image": root(2, 1, 0, 5, 0, extents=[one[0], extent(64, 3, 48), one[1]]),
        "A1-half-an-extent": root(1, 1, 0, 5, 0, extents=[extent(0, 1, 24), one[1]]),
        "O1-config-of-another-size": root(1, 1, 0, 6, 0, extents=one),
        "O1-config-with-an-address": root(1, 1, 0, 5, 0, extents=[one[0], extent(3, 2, 5)]),
        "short": good[:39],
    }


def page(first, end, *extents) -> bytes:
    return struct.pack("<II", first, end) + b"".join(extents)


def pages() -> dict[str, bytes]:
    return {
        "good": page(30, 64, extent(30, 7, 65536), extent(46, 8, 65536), extent(62, 7, 8192)),
        "good-last-block": page((1 << 32) - 2, (1 << 32) - 1, extent((1 << 32) - 2, 1, 4096)),
        "A1-empty": page(0, 0),
        "A1-half-an-extent": page(0, 1, extent(0, 1, 4096), bytes(24)),
        "A1-starts-elsewhere": page(30, 46, extent(29, 7, 65536)),
        "A1-gap": page(30, 63, extent(30, 7, 65536), extent(47, 8, 65536)),
        "A1-overlap": page(30, 61, extent(30, 7, 65536), extent(45, 8, 65536)),
        "A1-half-a-block": page(0, 1, extent(0, 1, 2048)),
        "A1-ends-early": page(0, 3, extent(0, 1, 8192)),
        "A1-end-wraps": page((1 << 32) - 2, 14, extent((1 << 32) - 2, 1, 65536)),
        "E1-the-root": page(0, 1, extent(0, 0, 4096)),
        "E2-too-large": page(0, 17, extent(0, 1, 69632)),
        "E3-reserved": page(0, 1, extent(0, 1, 4096, 7)),
    }


def frame(kind, payload=b"", status=0, ident=7, size=None) -> bytes:
    return struct.pack("<IHHQ", len(payload) if size is None else size, kind, status, ident) + payload


HELLO = b"COCOONW1" + struct.pack("<II", 1, 0)


def opening(name: bytes, size=None) -> bytes:
    return struct.pack("<I", len(name) if size is None else size) + name


def chunks(flags, n, *runs) -> bytes:
    return struct.pack("<III", 1, flags, n) + b"".join(struct.pack("<II", *run) for run in runs)


def requests() -> dict[str, bytes]:
    return {
        "good-hello": frame(1, HELLO),
        "good-open": frame(2, opening(b"registry.example/app:1")),
        "good-index": frame(3, struct.pack("<IIQ", 1, 4096, 8192)),
        "good-chunks": frame(4, chunks(1, 2, (0, 255), (4000000000, 1))),
        "header-too-long": frame(4, size=0x120001),
        "header-2-to-32": frame(4, size=(1 << 32) - 1),
        "header-type-0": frame(0),
        "header-type-5": frame(5),
        "header-status-in-a-request": frame(1, HELLO, status=1),
        "header-id-0": frame(1, HELLO, ident=0),
        "header-short": frame(1)[:15],
        "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "tls": bytes.fromhex("16030102000100 01fc0303") + bytes(40),
        "hello-version-2": frame(1, b"COCOONW1" + struct.pack("<II", 2, 0)),
        "hello-reserved": frame(1, b"COCOONW1" + struct.pack("<II", 1, 1)),
        "hello-long": frame(1, HELLO + b"\0"),
        "open-empty": frame(2, opening(b"")),
        "open-nul": frame(2, opening(b"a\0b")),
        "open-1025": frame(2, opening(b"a" * 1025)),
        "open-length-lies": frame(2, opening(b"abc", 2)),
        "open-length-2-to-32": frame(2, opening(b"abc", (1 << 32) - 1)),
        "index-nothing": frame(3, struct.pack("<IIQ", 1, 0, 0)),
        "index-too-much": frame(3, struct.pack("<IIQ", 1, (1 << 20) + 1, 0)),
        "chunks-flag": frame(4, chunks(2, 1, (0, 1))),
        "chunks-none": frame(4, chunks(0, 0)),
        "chunks-65-ranges": frame(4, chunks(0, 65, *[(i, 1) for i in range(65)])),
        "chunks-257": frame(4, chunks(0, 2, (0, 256), (300, 1))),
        "chunks-sum-wraps": frame(4, chunks(0, 2, (0, (1 << 32) - 1), (0, 2))),
        "chunks-past-2-to-32": frame(4, chunks(0, 1, ((1 << 32) - 1, 2))),
        "chunks-empty-range": frame(4, chunks(0, 1, (5, 0))),
        "chunks-missing-range": frame(4, chunks(0, 2, (5, 1))),
    }


def opened(manifest: bytes, size=None, desc=None) -> bytes:
    size = len(manifest) if size is None else size
    return struct.pack("<II", 3, size) + manifest + (descriptor() if desc is None else desc)


def answers() -> dict[str, bytes]:
    return {
        "good-welcome": frame(1, b"COCOONW1" + struct.pack("<II", 1, 256)),
        "good-opened": frame(2, opened(b'{"schemaVersion":2}')),
        "good-index": frame(3, bytes(64)),
        "good-chunk": frame(4, struct.pack("<I", 9) + b"\x77" * 64),
        "good-failure": frame(4, struct.pack("<I", 9) + b"disk full", status=6),
        "failure-control-characters": frame(2, struct.pack("<I", 0) + b"\x1b[2J\n\xff\0", status=1),
        "failure-257-words": frame(2, struct.pack("<I", 0) + b"w" * 257, status=1),
        "failure-short": frame(2, b"\0\0\0", status=1),
        "header-status-8": frame(1, status=8),
        "header-id-0": frame(1, ident=0),
        "welcome-version-2": frame(1, b"COCOONW1" + struct.pack("<II", 2, 256)),
        "welcome-no-requests": frame(1, b"COCOONW1" + struct.pack("<II", 1, 0)),
        "welcome-65537-requests": frame(1, b"COCOONW1" + struct.pack("<II", 1, 65537)),
        "welcome-another-protocol": frame(1, b"HTTP/1.1" + struct.pack("<II", 1, 1)),
        "opened-no-manifest": frame(2, opened(b"")),
        "opened-manifest-2-to-32": frame(2, opened(b"{}", (1 << 32) - 1)),
        "opened-no-descriptor": frame(2, opened(b"{}", desc=b"")),
        "opened-long": frame(2, opened(b"{}") + b"\0"),
        "chunk-too-small": frame(4, struct.pack("<I", 9) + bytes(32)),
        "chunk-no-number": frame(4, b"\0"),
    }


def key_text(kind="COCOON DOMAIN SECRET", body=None, end=None) -> bytes:
    body = base64.b64encode(bytes(range(32))).decode() if body is None else body
    return f"-----BEGIN {kind}-----\n{body}\n-----END {end or kind}-----\n".encode()


def key_files() -> dict[str, bytes]:
    good = key_text()
    return {
        "good-domain": good,
        "good-image": key_text("COCOON IMAGE KEY"),
        "good-no-last-newline": good[:-1],
        "empty": b"",
        "another-kind": key_text("PRIVATE KEY"),
        "kinds-mixed": key_text(end="COCOON IMAGE KEY"),
        "31-bytes": key_text(body=base64.b64encode(bytes(31)).decode()),
        "33-bytes": key_text(body=base64.b64encode(bytes(33)).decode()),
        "spare-bits": key_text(body="A" * 42 + "B="),
        "url-alphabet": key_text(body="-" * 42 + "8="),
        "crlf": good.replace(b"\n", b"\r\n"),
        "two-keys": good + good,
        "begin-only": good[:37],
        "nul-inside": good.replace(b"AAEC", b"AA\0C"),
    }


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_key(name: str):
    text = (HERE / "test_keys.h").read_text().split(f"TEST_KEY_{name} ")[1].split("\n\n")[0]
    pem = "".join(line + "\n" for line in re.findall(r'"(.*)\\n"', text))
    return serialization.load_pem_private_key(pem.encode(), None)


EC, RSA = test_key("EC"), test_key("RSA")
CEK, IV = bytes(range(32)), bytes(range(12))
IMAGE = "sha256:1122" + "0" * 60


def mgf1(seed: bytes, size: int) -> bytes:
    rounds = (hashlib.sha1(seed + struct.pack(">I", i)).digest() for i in range(-(-size // 20)))
    return b"".join(rounds)[:size]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b))


def oaep(m: bytes) -> bytes:
    """RFC 8017 section 7.1.1 with a fixed seed, so that samples do not change."""
    numbers, size = RSA.public_key().public_numbers(), 256
    db = hashlib.sha1(b"").digest() + bytes(size - len(m) - 42) + b"\1" + m
    seed = bytes(range(20))
    masked = xor(db, mgf1(seed, len(db)))
    em = b"\0" + xor(seed, mgf1(masked, 20)) + masked
    return pow(int.from_bytes(em, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def ecdh_es(apu=b"", apv=b"") -> tuple[dict, bytes]:
    ephemeral = ec.derive_private_key(0xC0C00, ec.SECP256R1())
    point = ephemeral.public_key().public_numbers()
    z = ephemeral.exchange(ec.ECDH(), EC.public_key())
    counted = b"".join(struct.pack(">I", len(x)) + x for x in (b"ECDH-ES+A256KW", apu, apv))
    kek = hashlib.sha256(struct.pack(">I", 1) + z + counted + struct.pack(">I", 256)).digest()
    epk = {"kty": "EC", "crv": "P-256", "x": url64(point.x.to_bytes(32, "big")), "y": url64(point.y.to_bytes(32, "big"))}
    return {"alg": "ECDH-ES+A256KW", "epk": epk}, keywrap.aes_key_wrap(kek, CEK)


def options(symkey=None, digest=IMAGE) -> bytes:
    symkey = base64.b64encode(bytes(32)).decode() if symkey is None else symkey
    return json.dumps({"symkey": symkey, "digest": digest, "cipheroptions": {}}).encode()


def content(protected: dict, plain: bytes, aad=None) -> dict:
    text = url64(json.dumps(protected).encode())
    sealed = AESGCM(CEK).encrypt(IV, plain, (text + ("." + aad if aad else "")).encode())
    more = {"aad": aad} if aad else {}
    return {"protected": text, "iv": url64(IV), "ciphertext": url64(sealed[:-16]), "tag": url64(sealed[-16:]), **more}


def jwe_ec(plain=None, extra=None, **more) -> dict:
    header, wrapped = ecdh_es()
    protected = {**header, "enc": "A256GCM", **(extra or {})}
    return {**content(protected, options() if plain is None else plain), "encrypted_key": url64(wrapped), **more}


def jwe_rsa(plain=None, alg="RSA-OAEP") -> dict:
    protected = {"alg": alg, "enc": "A256GCM"}
    return {**content(protected, options() if plain is None else plain), "encrypted_key": url64(oaep(CEK))}


def jwe_general() -> dict:
    ec_header, ec_wrapped = ecdh_es()
    recipients = [
        {"header": {"alg": "RSA-OAEP"}, "encrypted_key": url64(oaep(CEK))},
        {"header": ec_header, "encrypted_key": url64(ec_wrapped)},
    ]
    return {**content({"enc": "A256GCM"}, options()), "recipients": recipients}


def annotation(*jwes) -> bytes:
    texts = (x if isinstance(x, bytes) else json.dumps(x).encode() for x in jwes)
    return b",".join(base64.b64encode(x) for x in texts)


def annotations() -> dict[str, bytes]:
    good = jwe_ec()
    parties, wrapped = ecdh_es(b"Alice", b"Bob")
    parties.update(apu=url64(b"Alice"), apv=url64(b"Bob"), enc="A256GCM")
    epk = ecdh_es()[0]["epk"]
    off_curve = {"epk": {**epk, "y": epk["x"]}}
    foreign = {"epk": {**epk, "crv": "P-384"}}
    short = {"epk": {**epk, "x": epk["x"][:40]}}
    return {
        "good-ec": annotation(good),
        "good-rsa": annotation(jwe_rsa()),
        "good-general": annotation(jwe_general()),
        "good-list": annotation(jwe_rsa(), good),
        "good-parties": annotation({**content(parties, options()), "encrypted_key": url64(wrapped)}),
        "good-aad": annotation({**content({"alg": "RSA-OAEP", "enc": "A256GCM"}, options(), "YWFk"), "encrypted_key": url64(oaep(CEK))}),
        "W1-no-symkey": annotation(jwe_ec(b"{}")),
        "W1-symkey-31-bytes": annotation(jwe_ec(options(base64.b64encode(bytes(31)).decode()))),
        "W1-symkey-nested": annotation(jwe_ec(b'{"a":' + options() + b"}")),
        "W1-symkey-twice": annotation(jwe_ec(options()[:-1] + b',"symkey":""}')),
        "W1-symkey-unfinished": annotation(jwe_ec(b'{"symkey":"AAAA')),
        "W1-another-digest": annotation(jwe_ec(options(digest="sha256:" + "0" * 64))),
        "W1-no-digest": annotation(jwe_ec(options(digest=None))),
        "W1-not-json": annotation(jwe_ec(options() + b"}")),
        "base64-broken": annotation(good)[:-3],
        "empty": b"",
        "comma": b",",
        "list-ends-in-a-comma": annotation(jwe_rsa()) + b",",
        "not-json": annotation(b"hello"),
        "not-an-object": annotation(b"[]"),
        "duplicate-key": annotation(b'{"iv":"AA","iv":"AA"}'),
        "nested": annotation(b'{"a":' * 3000),
        "iv-16-bytes": annotation({**good, "iv": url64(bytes(16))}),
        "iv-missing": annotation({k: v for k, v in good.items() if k != "iv"}),
        "tag-12-bytes": annotation({**good, "tag": url64(bytes(12))}),
        "tag-wrong": annotation({**good, "tag": url64(bytes(16))}),
        "ciphertext-empty": annotation({**good, "ciphertext": ""}),
        "protected-not-base64": annotation({**good, "protected": "!"}),
        "protected-a-list": annotation({**good, "protected": url64(b"[]")}),
        "recipients-and-header": annotation({**good, "recipients": [], "header": {}}),
        "recipients-no-list": annotation({**good, "recipients": 5}),
        "recipients-of-numbers": annotation({**good, "recipients": [1, None, []]}),
        "alg-twice": annotation({**good, "header": {"alg": "ECDH-ES+A256KW"}}),
        "alg-rsa1-5": annotation(jwe_rsa(alg="RSA1_5")),
        "enc-a128gcm": annotation(jwe_ec(extra={"enc": "A128GCM"})),
        "zip": annotation(jwe_ec(extra={"zip": "DEF"})),
        "crit": annotation(jwe_ec(extra={"crit": ["b64"], "b64": False})),
        "point-off-the-curve": annotation(jwe_ec(extra=off_curve)),
        "point-of-another-curve": annotation(jwe_ec(extra=foreign)),
        "point-short": annotation(jwe_ec(extra=short)),
        "wrapped-39-bytes": annotation({**good, "encrypted_key": url64(bytes(39))}),
    }


def split_protected(jwe: dict) -> bytes:
    """The form of test/fuzz/jwe.c: the protected header in plain text, a newline, the rest."""
    text = jwe["protected"]
    header = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return header + b"\n" + json.dumps({k: v for k, v in jwe.items() if k != "protected"}).encode()[1:]


def jwes() -> dict[str, bytes]:
    good = jwe_ec()
    return {
        "good-ec": json.dumps(good).encode(),
        "good-ec-split": split_protected(good),
        "good-rsa-split": split_protected(jwe_rsa()),
        "good-general-split": split_protected(jwe_general()),
        "protected-a-list": b"[]\n" + split_protected(good).split(b"\n")[1],
        "protected-unfinished": b'{"a":\n' + split_protected(good).split(b"\n")[1],
        "epk-a-string": split_protected(jwe_ec(extra={"epk": "x"})),
        "epk-null": split_protected(jwe_ec(extra={"epk": None})),
        "apu-a-number": split_protected(jwe_ec(extra={"apu": 5})),
        "apu-not-base64": split_protected(jwe_ec(extra={"apu": "!"})),
        "encrypted-key-missing": split_protected({k: v for k, v in good.items() if k != "encrypted_key"}),
        "unprotected-a-list": split_protected({**good, "unprotected": []}),
        "257-recipients": split_protected({**content({"enc": "A256GCM"}, options()), "recipients": [5] * 257}),
        "empty": b"",
        "newline": b"\n",
    }


def private_options() -> dict[str, bytes]:
    good = options()
    return {
        "good": good,
        "good-spaced": good.replace(b":", b" :\n\t"),
        "good-digest-first": json.dumps({"digest": IMAGE, "symkey": base64.b64encode(bytes(32)).decode()}).encode(),
        "W1-empty": b"",
        "W1-no-symkey": b"{}",
        "W1-name-alone": b'"symkey"',
        "W1-unfinished": b'{"symkey":"AAAA',
        "W1-number": b'{"symkey":5}',
        "W1-31-bytes": options(base64.b64encode(bytes(31)).decode()),
        "W1-33-bytes": options(base64.b64encode(bytes(33)).decode()),
        "W1-escaped": options().replace(b'"AAAA', b'"\\u0041AAA'),
        "W1-nested": b'{"a":' + good + b"}",
        "W1-twice": good[:-1] + b',"symkey":""}',
        "W1-as-a-value": b'{"a":"symkey"}',
        "W1-another-digest": options(digest="sha256:" + "0" * 64),
        "W1-digest-a-number": options(digest=5),
        "W1-bytes-behind": good + b"}",
    }


def blob(kind: str, digit: str, size=10) -> dict:
    return {"mediaType": kind, "digest": "sha256:" + digit * 64, "size": size}


TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
DATA, INDEX = "application/vnd.oci.image.layer.cocoon.v1", "application/vnd.oci.image.layer.cocoon.index.v1"


def image(*layers, **more) -> bytes:
    config = blob("application/vnd.oci.image.config.v1+json", "c")
    return json.dumps({"schemaVersion": 2, "config": config, "layers": list(layers), **more}).encode()


def manifests() -> dict[str, bytes]:
    keys = {**blob(INDEX, "2"), "annotations": {"org.opencontainers.image.enc.keys.jwe": "abc"}}
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    entry = {**blob("application/vnd.oci.image.manifest.v1+json", "1"), "platform": platform}
    named = {**blob("application/vnd.oci.image.manifest.v1+json", "2"), "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry, named]}
    return {
        "good-plain": image(blob(TAR, "1"), blob(TAR, "2")),
        "good-sealed": image(blob(DATA, "1"), keys),
        "good-index": json.dumps(index).encode(),
        "M1-index-alone": image(blob(INDEX, "1")),
        "M1-index-first": image(blob(INDEX, "1"), blob(DATA, "2")),
        "M1-two-indexes": image(blob(DATA, "1"), blob(INDEX, "2"), blob(INDEX, "3")),
        "M1-plain-layer-in-a-sealed-image": image(blob(TAR, "1"), blob(INDEX, "2")),
        "M1-sealed-layer-in-a-plain-image": image(blob(DATA, "1"), blob(TAR, "2")),
        "M1-index-again": image(blob(DATA, "1"), blob(INDEX, "1")),
        "M1-129-layers": image(*[blob(DATA, "1")] * 128, blob(INDEX, "2")),
        "M2-key-twice": b'{"schemaVersion":2,"schemaVersion":2}',
        "M2-nested-65": b'{"schemaVersion":2,"a":' + b"[" * 64 + b"]" * 64 + b"}",
        "M2-nested-a-lot": b'{"a":' + b"[" * 100000,
        "empty": b"",
        "cut": image(blob(TAR, "1"))[:-5],
        "not-utf-8": b'{"schemaVersion":2,"a":"\xff"}',
        "bytes-behind": image(blob(TAR, "1")) + b"{}",
        "image-and-index": image(blob(TAR, "1"), manifests=[]),
        "neither": b'{"schemaVersion":2}',
        "schema-1": image(blob(TAR, "1"), schemaVersion=1),
        "another-media-type": image(blob(TAR, "1"), mediaType="application/vnd.oci.image.index.v1+json"),
        "no-layers": image(),
        "513-layers": image(*[blob(TAR, "1")] * 513),
        "layer-a-number": image(5),
        "negative-size": image(blob(TAR, "1", -1)),
        "size-2-to-64": image(blob(TAR, "1", 1 << 64)),
        "size-a-fraction": image(blob(TAR, "1", 1.5)),
        "digest-sha512": image({**blob(TAR, "1"), "digest": "sha512:00"}),
        "media-type-long": image(blob("t" * 200, "1")),
        "keys-no-string": image(blob(DATA, "1"), {**keys, "annotations": {"org.opencontainers.image.enc.keys.jwe": 5}}),
        "annotations-a-list": image(blob(DATA, "1"), {**keys, "annotations": []}),
    }


def configs() -> dict[str, bytes]:
    ids = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]
    good = {"os": "linux", "architecture": "amd64", "config": {"User": "1000:1000"}, "rootfs": {"type": "layers", "diff_ids": ids}}
    return {
        "good": json.dumps(good).encode(),
        "good-smallest": b'{"rootfs":{"diff_ids":[]}}',
        "empty": b"",
        "null": b"null",
        "no-rootfs": b"{}",
        "rootfs-a-list": b'{"rootfs":[]}',
        "diff-ids-an-object": b'{"rootfs":{"diff_ids":{}}}',
        "diff-id-a-number": b'{"rootfs":{"diff_ids":[5]}}',
        "diff-id-short": b'{"rootfs":{"diff_ids":["sha256:00"]}}',
        "user-a-number": b'{"rootfs":{"diff_ids":[]},"config":{"User":5}}',
        "user-long": json.dumps({**good, "config": {"User": "u" * 600}}).encode(),
        "os-long": json.dumps({**good, "os": "o" * 40}).encode(),
        "config-a-list": json.dumps({**good, "config": []}).encode(),
        "513-diff-ids": json.dumps({"rootfs": {"diff_ids": [ids[0]] * 513}}).encode(),
        "nested-65": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
        "key-twice": b'{"rootfs":{"diff_ids":[]},"rootfs":{}}',
    }


def policy(*images, **more) -> bytes:
    return json.dumps({"version": 1, "images": list(images), **more}).encode()


def policies() -> dict[str, bytes]:
    one = {"digest": "sha256:" + "1" * 64}
    return {
        "good": policy(one, {"digest": "sha256:" + "2" * 64, "comment": "app 1.2"}),
        "good-nothing": policy(),
        "empty": b"",
        "a-list": b"[]",
        "key-twice": b'{"version":1,"images":[],"images":[]}',
        "nested-65": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
        "bytes-behind": policy(one) + b"{}",
        "not-utf-8": policy(one).replace(b"sha", b"sh\xff"),
        "no-version": b'{"images":[]}',
        "version-text": policy(one, version="1"),
        "version-2": policy(one, version=2),
        "version-2-to-64": policy(one, version=1 << 64),
        "member-unknown": policy(one, signers=[]),
        "no-images": b'{"version":1}',
        "images-an-object": b'{"version":1,"images":{}}',
        "image-a-text": policy(one["digest"]),
        "image-member-unknown": policy({**one, "minimumVersion": 3}),
        "image-no-digest": policy({"comment": "any"}),
        "digest-a-number": policy({"digest": 5}),
        "digest-short": policy({"digest": "sha256:00"}),
        "digest-upper-case": policy({"digest": "sha256:" + "A" * 64}),
        "digest-sha512": policy({"digest": "sha512:" + "1" * 128}),
        "comment-a-number": policy({**one, "comment": 5}),
        "4097-images": policy(*[one] * 4097),
    }


def references() -> dict[str, bytes]:
    digest = "@sha256:" + "0123456789abcdef" * 4
    names = {
        "good-short": "debian",
        "good-tag": "localhost:5000/a/b:v1.2",
        "good-digest": "ghcr.io/a/b" + digest,
        "good-tag-and-digest": "ghcr.io/a/b:t" + digest,
        "good-v6": "[::1]:5000/app:1",
        "good-layout": "oci:/a/b c:v1",
        "good-layout-colon": "oci:/a:b/c",
        "empty": "",
        "upper-case": "Debian",
        "double-slash": "a//b",
        "double-dot": "a..b",
        "ends-in-dash": "a-",
        "tag-empty": "a:",
        "tag-long": "a:" + "t" * 129,
        "digest-short": "a@sha256:00",
        "digest-sha512": "a@sha512:" + "0" * 64,
        "digest-twice": "a" + digest + digest,
        "user": "user:password@r.example/a",
        "newline": "r.exa\nmple/a",
        "layout-empty": "oci:",
        "layout-tag-only": "oci::t",
        "long": "a" * 1025,
        "library-too-long": "a" * 250,
    }
    return {name: text.encode() for name, text in names.items()}


write("descriptor", descriptors())
write("chunk_entry", entries())
write("chunk_header", headers())
write("root", roots())
write("map_page", pages())
write("wire_request", requests())
write("wire_answer", answers())
write("keyfile", key_files())
write("jwe", jwes())
write("private_options", private_options())
write("keywrap_annotation", annotations())
write("oci_manifest", manifests())
write("oci_config", configs())
write("policy", policies())
write("reference", references())
