#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's side, and the Confidential Data Hub's, of `cocoon-guestfs serve`. One case for each argument.

pods.py LISTEN CDH BUNDLES IMAGE DENIED CASE
"""

import hashlib
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ttrpc import Client, Failure, Server, field, fields

LISTEN, CDH, BUNDLES, IMAGE, DENIED, CASE = sys.argv[1:]
PULL = ("api.ImagePullService", "PullImage")
UNKNOWN, INVALID, EXISTS, EXHAUSTED, INTERNAL, UNAVAILABLE = 2, 3, 6, 8, 13, 14


def hub(service, method, payload):
    if method == "Slow":
        time.sleep(int(payload) / 1000)
        return payload
    if method == "Fail":
        raise Failure(5, "no such resource")
    if method == "Large":
        return b"L" * int(payload)
    return f"{service}/{method}:".encode() + payload


def start_hub():
    if os.path.exists(CDH):
        os.unlink(CDH)
    return Server(CDH, hub)


def pull(agent, name, image=IMAGE, timeout=60.0):
    request = field(1, image) + field(2, os.path.join(BUNDLES, name))
    return fields(agent.call(*PULL, request, timeout))[1].decode()


def rootfs(name):
    return os.path.join(BUNDLES, name, "rootfs")


def teardown(name):
    """As the agent does: unmount, then the directory must be empty."""
    subprocess.run(["umount", rootfs(name)], check=True)
    os.rmdir(rootfs(name))


def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Failure as failure:
        return failure
    raise AssertionError("it was not refused")


def expect(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in words))


def hands_on():
    """Everything that is not a pull reaches CDH byte for byte, and so do its answers."""
    server, agent = start_hub(), Client(LISTEN)
    names = [("api.GetResourceService", "GetResource"), ("api.SealedSecretService", "UnsealSecret"),
             ("keyprovider.KeyProviderService", "UnWrapKey"), ("api.ImagePullService", "Other")]
    metadata = field(5, field(1, "key") + field(2, "value"))
    for service, method in names:
        answer = agent.call(service, method, b"\x00payload\xff", 7.0, metadata)
        expect(answer == f"{service}/{method}:".encode() + b"\x00payload\xff", answer)
    for (_, flags, raw), (service, method) in zip(server.seen, names):
        want = field(1, service) + field(2, method) + field(3, b"\x00payload\xff") + field(4, 7 * 10**9) + metadata
        expect(raw == want and flags == 0, service, "was changed on its way")
    failure = refused(agent.call, "api.GetResourceService", "Fail", b"")
    expect(failure.code == 5 and failure.words == "no such resource", failure)


def many_streams():
    """Calls that are answered in another order, beside one that takes long."""
    start_hub()
    agent = Client(LISTEN)
    results = {}

    def call(n):
        results[n] = agent.call("api.X", "Slow", str((50 - n) * 10).encode())

    threads = [threading.Thread(target=call, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(all(results[n] == str((50 - n) * 10).encode() for n in range(50)), "an answer went to another call")


def large_messages():
    """Up to ttrpc's limit, and one beyond it, which costs the connection nothing."""
    start_hub()
    agent = Client(LISTEN)
    size = (4 << 20) - 200
    expect(len(agent.call("api.X", "Echo", b"x" * size)) >= size)
    expect(len(agent.call("api.X", "Large", str(size).encode())) == size)
    expect(refused(agent.call, "api.X", "Echo", b"x" * (5 << 20)).code == EXHAUSTED)
    expect(agent.call("api.X", "Echo", b"y") == b"api.X/Echo:y")


def hub_away():
    """CDH is not there, comes, ends in the middle of a call, comes again: one connection of the agent's."""
    if os.path.exists(CDH):
        os.unlink(CDH)
    agent = Client(LISTEN)
    expect(refused(agent.call, "api.X", "Echo", b"").code == UNAVAILABLE)
    server = start_hub()
    expect(agent.call("api.X", "Echo", b"1") == b"api.X/Echo:1")
    failed = []
    thread = threading.Thread(target=lambda: failed.append(refused(agent.call, "api.X", "Slow", b"5000")))
    thread.start()
    time.sleep(0.2)
    server.close()
    thread.join()
    expect(failed[0].code == UNAVAILABLE, failed)
    start_hub()
    expect(agent.call("api.X", "Echo", b"2") == b"api.X/Echo:2")


def pulls():
    """The image is there, writable, with the digest that the registry has; and gone when the agent unmounts."""
    agent = Client(LISTEN)
    begin = time.monotonic()
    digest = pull(agent, "one")
    took = time.monotonic() - begin
    expect(digest.startswith("sha256:") and len(digest) == 71, digest)
    with open(os.path.join(rootfs("one"), "data/random"), "rb") as f:
        noise = hashlib.sha256(f.read()).hexdigest()
    expect(noise == os.environ["NOISE"], "another content")
    with open(os.path.join(rootfs("one"), "written"), "w", encoding="ascii") as f:
        f.write("by the container")
    expect(pull(agent, "one") == digest, "the same pull again")
    expect(refused(pull, agent, "one", DENIED).code == EXISTS, "another image in the same bundle")
    teardown("one")
    print(f"pulled in {took * 1000:.0f} ms")


def many_pulls():
    agent = Client(LISTEN)
    digests = {}
    names = [f"many-{n}" for n in range(8)]

    def one(name):
        digests[name] = pull(agent, name)

    begin = time.monotonic()
    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(len(set(digests.values())) == 1 and len(digests) == 8, digests)
    for name in names:
        expect(os.path.exists(os.path.join(rootfs(name), "bin/busybox")))
        teardown(name)
    print(f"8 at once in {time.monotonic() - begin:.2f} s")


def refuses():
    agent = Client(LISTEN)
    failure = refused(pull, agent, "denied", DENIED)
    expect("policy" in failure.words, failure)
    expect(not os.path.ismount(rootfs("denied")))
    for name in ("../escape", "a/b", "", ".", "..", ".hidden", "x" * 200, "with space"):
        expect(refused(pull, agent, name).code == INVALID, name)
    expect(refused(agent.call, *PULL, field(1, IMAGE) + field(2, "/etc/one")).code == INVALID)
    expect(refused(pull, agent, "image", "oci:/etc").code == INVALID)
    expect(refused(pull, agent, "image", "UPPER CASE").code == INVALID)
    expect(refused(agent.call, *PULL, b"\x0a\xff").code not in (0, UNAVAILABLE))
    os.symlink("/etc", os.path.join(BUNDLES, "link"))
    refused(pull, agent, "link")
    os.mkdir(os.path.join(BUNDLES, "full"))
    os.mkdir(rootfs("full"))
    with open(os.path.join(rootfs("full"), "file"), "w", encoding="ascii"):
        pass
    expect(refused(pull, agent, "full").code == EXISTS)


def stays_behind():
    """For a restart: it is mounted here and looked at by gone()."""
    expect(pull(Client(LISTEN), "stays"))


def stayed():
    agent = Client(LISTEN)
    with open(os.path.join(rootfs("stays"), "data/random"), "rb") as f:
        expect(hashlib.sha256(f.read()).hexdigest() == os.environ["NOISE"])
    expect(pull(agent, "stays").startswith("sha256:"), "the same pull, asked of another process")
    teardown("stays")


if __name__ == "__main__":
    globals()[CASE]()
