#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the samples of chunkstore's decoders into test/fuzz/corpus/TARGET/, good ones and one for each defect, named for
it. The outputs are committed; running this again gives the same bytes."""
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent


def write(target: str, samples: dict[str, bytes]) -> None:
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in samples.items():
        (folder / name).write_bytes(data)


def frame(type_: int, id_: int, payload: bytes = b"", status: int = 0) -> bytes:
    return struct.pack("<IHHQ", len(payload), type_, status, id_) + payload


def open_(id_: int, name: bytes) -> bytes:
    return frame(2, id_, struct.pack("<I", len(name)) + name)


def chunks(id_: int, handle: int, *runs: tuple[int, int], flags: int = 0) -> bytes:
    return frame(4, id_, struct.pack("<III", handle, flags, len(runs)) + b"".join(struct.pack("<II", *r) for r in runs))


def index(id_: int, handle: int, length: int, offset: int) -> bytes:
    return frame(3, id_, struct.pack("<IIQ", handle, length, offset))


HELLO = frame(1, 1, b"COCOONW1" + struct.pack("<II", 1, 0))
OPEN = open_(2, b"127.0.0.1:1/a/b:1")


def conversations() -> dict[str, bytes]:
    start = HELLO + OPEN
    return {
        "good": start + chunks(3, 0, (0, 10), (20, 2)) + index(4, 0, 4096, 0) + chunks(5, 0, (50, 20), flags=1),
        "good-duplicates": start + chunks(3, 0, (2, 1), (2, 1), (2, 1)),
        "good-many": start + b"".join(chunks(i, 0, (i, 1)) for i in range(3, 90)),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "tls": bytes.fromhex("1603010200010001fc0303") + bytes(64),
        "no-hello": OPEN,
        "hello-twice": HELLO + HELLO,
        "hello-version-2": frame(1, 1, b"COCOONW1" + struct.pack("<II", 2, 0)),
        "frame-2-to-31": struct.pack("<IHHQ", 1 << 31, 1, 0, 1),
        "frame-too-long-for-a-request": HELLO + struct.pack("<IHHQ", 2000, 2, 0, 2) + bytes(2000),
        "frame-cut": HELLO[:20],
        "type-0": HELLO + frame(0, 2),
        "type-5": HELLO + frame(5, 2),
        "status": HELLO + frame(3, 2, b"", 1),
        "id-0": HELLO + open_(0, b"127.0.0.1:1/a/b:1"),
        "id-again": start + chunks(3, 0, (1, 9)) + chunks(3, 0, (11, 9)),
        "open-denied": HELLO + open_(2, b"example.org/a/b:1"),
        "open-unknown": HELLO + open_(2, b"127.0.0.1:1/a/b:2"),
        "open-nonsense": HELLO + open_(2, b"\x00\xff"),
        "open-often": HELLO + OPEN + OPEN.replace(b"\x02\x00\x00\x00\x00\x00\x00\x00", b"\x07\x00\x00\x00\x00\x00\x00\x00"),
        "handle-unknown": start + chunks(3, 9, (0, 1)) + index(4, 9, 1, 0),
        "chunk-past-end": start + chunks(3, 0, (99, 2), (0xfffffff0, 3)),
        "chunks-257": start + chunks(3, 0, (0, 257)),
        "chunks-none": start + chunks(3, 0),
        "chunks-empty-run": start + chunks(3, 0, (0, 0)),
        "chunks-flags": start + chunks(3, 0, (0, 1), flags=2),
        "index-past-end": start + index(3, 0, 4096, 1 << 40),
        "index-nothing": start + index(3, 0, 0, 0),
    }


def docker_configs() -> dict[str, bytes]:
    return {
        "good-auth": b'{"auths":{"r.io":{"auth":"dXNlcjpwYXNz"}}}',
        "good-url": b'{"auths":{"https://r.io/v2/":{"username":"u","password":"p"}}}',
        "good-hub": b'{"auths":{"https://index.docker.io/v1/":{"identitytoken":"t"}}}',
        "good-store": b'{"auths":{"r.io":{}},"credsStore":"desktop","credHelpers":{"docker.io":"hub"}}',
        "empty": b"",
        "array": b"[]",
        "cut": b'{"auths":{"r.io":{"auth":"dXNl',
        "auths-array": b'{"auths":[]}',
        "auth-number": b'{"auths":{"r.io":{"auth":5}}}',
        "auth-not-base64": b'{"auths":{"r.io":{"auth":"!!!!"}}}',
        "auth-no-colon": b'{"auths":{"r.io":{"auth":"dXNlcg=="}}}',
        "auth-nul": b'{"auths":{"r.io":{"auth":"dXNlcgA6cA=="}}}',
        "user-alone": b'{"auths":{"r.io":{"username":"u"}}}',
        "key-twice": b'{"auths":{"r.io":{}},"auths":{}}',
        "helper-path": b'{"credsStore":"../../bin/sh"}',
        "helper-number": b'{"credHelpers":{"r.io":1}}',
    }


def helper_answers() -> dict[str, bytes]:
    return {
        "good": b'{"ServerURL":"r.io","Username":"u","Secret":"p"}\n',
        "good-token": b'{"Username":"<token>","Secret":"t"}',
        "no-secret": b'{"Username":"u"}',
        "secret-number": b'{"Username":"u","Secret":7}',
        "secret-empty": b'{"Username":"u","Secret":""}',
        "secret-nul": b'{"Username":"u","Secret":"a\\u0000b"}',
        "words": b"credentials not found in native keychain\n",
        "key-twice": b'{"Username":"u","Secret":"p","Secret":"q"}',
    }


def challenges() -> dict[str, bytes]:
    return {
        "good-bearer": b'Bearer realm="https://auth.example/token",service="r.io",scope="repository:a/b:pull"',
        "good-basic": b'Basic realm="x"',
        "good-both": b'Basic realm="x", Bearer realm="https://a/t"',
        "good-token": b"bearer realm=https , service = s",
        "escape": b'Bearer realm="a\\"b"',
        "unknown-scheme": b"Negotiate",
        "no-realm": b'Bearer service="s"',
        "open-quote": b'Bearer realm="https://a',
        "control-character": b'Bearer realm="a\x01b"',
        "no-value": b"Bearer realm=",
        "no-scheme": b'="x"',
        "realm-too-long": b'Bearer realm="' + b"x" * 2000 + b'"',
    }


def ranges() -> dict[str, bytes]:
    return {
        "good": b"bytes 5-9/10",
        "good-no-total": b"bytes 0-0/*",
        "good-upload": b"0-41",
        "last-past-total": b"bytes 5-10/10",
        "backwards": b"bytes 9-5/10",
        "overflow": b"bytes 0-18446744073709551616/*",
        "unsatisfied": b"bytes */10",
        "other-unit": b"items 0-1/2",
        "trailing": b"bytes 0-1/2x",
        "upload-not-from-0": b"1-5",
        "upload-overflow": b"0-18446744073709551615",
    }


write("chunk_server", conversations())
write("docker_config", docker_configs())
write("docker_helper", helper_answers())
write("www_authenticate", challenges())
write("content_range", ranges())
