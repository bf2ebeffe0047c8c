#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for what has the key that wraps image keys: the publisher's key provider, and in the guest the
Confidential Data Hub with a key broker behind it. Written from ocicrypt's docs/keyprovider.md and the messages of
Confidential Containers' guest components.

key_provider.py wrap KEK           ocicrypt's "cmd": a question on stdin, the answer on stdout
key_provider.py serve KEK SOCKET DIR   ttrpc; in DIR:
    style       list, base64, refuse, away, garbage or another (a key of another image); read anew for each call
    asked       a line for each call: method and kid
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ttrpc import Failure, Server, field, fields

NAME = "attestation-agent"


def stream(kek, nonce, size):
    out = b""
    while len(out) < size:
        out += hmac.digest(kek, nonce + len(out).to_bytes(8, "big"), "sha256")
    return out[:size]


def mix(kek, nonce, data):
    return bytes(a ^ b for a, b in zip(data, stream(kek, nonce, len(data))))


def wrap(kek, question):
    """An annotation packet, version 1, around the private options."""
    params = question["keywrapparams"]
    data = base64.b64decode(params["optsdata"], validate=True)
    settings = [base64.b64decode(p, validate=True).decode() for p in params["ec"]["Parameters"][NAME]]
    settings = dict(part.split("=", 1) for part in settings[0].split("::") if part)
    assert params["ec"]["DecryptConfig"] == {"Parameters": {}} and question["keyunwrapparams"]["dc"] is None
    nonce = secrets.token_bytes(12)
    tag = hmac.digest(kek, nonce + data, "sha256")
    return {"kid": settings["keyid"], "wrapped_data": base64.b64encode(tag + mix(kek, nonce, data)).decode(),
            "iv": base64.b64encode(nonce).decode(), "wrap_type": "A256GCM"}


def unwrap(kek, question):
    assert question["op"] == "keyunwrap" and question["keywrapparams"] == {"ec": None, "optsdata": None}
    packet = json.loads(base64.b64decode(question["keyunwrapparams"]["annotation"], validate=True))
    nonce, wrapped = base64.b64decode(packet["iv"]), base64.b64decode(packet["wrapped_data"])
    data = mix(kek, nonce, wrapped[32:])
    if not hmac.compare_digest(hmac.digest(kek, nonce + data, "sha256"), wrapped[:32]):
        raise Failure(13, "the key broker has another key under this name")
    return packet["kid"], data


def written(data, style):
    return list(data) if style != "base64" else base64.b64encode(data).decode()


def answer(kek, directory, method, question):
    with open(os.path.join(directory, "style"), encoding="ascii") as file:
        style = file.read().strip()
    if method == "WrapKey":
        packet = wrap(kek, question)
        kid, result = packet["kid"], {"keywrapresults": {"annotation": written(json.dumps(packet).encode(), style)}}
    else:
        kid, data = unwrap(kek, question)
        if style == "another":
            data = json.dumps({**json.loads(data), "digest": "sha256:" + hashlib.sha256(data).hexdigest()}).encode()
        result = {"keyunwrapresults": {"optsdata": written(data, style)}}
    with open(os.path.join(directory, "asked"), "a", encoding="ascii") as file:
        file.write(f"{method} {kid}\n")
    if style == "refuse":
        raise Failure(13, "attestation did not convince the key broker")
    if style == "away":
        raise Failure(14, "the key broker is away")
    return b"garbage" if style == "garbage" else json.dumps(result, separators=(",", ":")).encode()


def hub(kek, directory):
    """A handler for ttrpc's Server: the key provider's service, nothing else."""

    def handle(service, method, payload):
        if service != "keyprovider.KeyProviderService" or method not in ("WrapKey", "UnWrapKey"):
            raise Failure(12, f"{service}/{method}")
        try:
            return field(1, answer(kek, directory, method, json.loads(fields(payload)[1])))
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise Failure(3, f"not a question: {error!r}") from error

    return handle


def main(mode, kek, *rest):
    with open(kek, "rb") as file:
        kek = file.read()
    if mode == "wrap":
        packet = json.dumps(wrap(kek, json.load(sys.stdin))).encode()
        print(json.dumps({"keywrapresults": {"annotation": written(packet, "base64")}}))
    else:
        server = Server(rest[0], hub(kek, rest[1]))
        signal.sigwait([signal.SIGTERM, signal.SIGINT])
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
