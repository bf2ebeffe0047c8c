#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's side, and the Confidential Data Hub's, of `cocoon-guestfs serve`. One case for each argument.

pods.py LISTEN CDH BUNDLES IMAGE DENIED CASE
In the environment: NOISE, what is in the image; SERVE_PID; HOST_PID, which is stopped now and then; WORK.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import key_provider
from ttrpc import Client, Failure, Server, field, fields

LISTEN, CDH, BUNDLES, IMAGE, DENIED, CASE = sys.argv[1:]
PULL = ("api.ImagePullService", "PullImage")
INVALID, DEADLINE, NOT_FOUND, EXISTS, DENIED_CODE, EXHAUSTED, PRECONDITION, UNAVAILABLE, DATA_LOSS = (
    3, 4, 5, 6, 7, 8, 9, 14, 15)


def hub(service, method, payload):
    if method == "Slow":
        time.sleep(int(payload) / 1000)
        return payload
    if method == "Fail":
        raise Failure(5, "no such resource")
    if method == "Large":
        return b"L" * int(payload)
    return f"{service}/{method}:".encode() + payload


def start_hub(handler=hub):
    if os.path.exists(CDH):
        os.unlink(CDH)
    return Server(CDH, handler)


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


def door():
    """The process that does the work, behind the one that keeps the connections."""
    keeper = os.environ["SERVE_PID"]
    with open(f"/proc/{keeper}/task/{keeper}/children", encoding="ascii") as f:
        (pid,) = f.read().split()
    return int(pid)


def in_thread(call, *args):
    """Begin a call that is to be refused; what it returns gives the refusal."""
    result = []
    thread = threading.Thread(target=lambda: result.append(refused(call, *args)))
    thread.start()

    def wait():
        thread.join(60)
        expect(result, "neither answered nor refused")
        return result[0]

    return wait


@contextlib.contextmanager
def host_stopped():
    os.kill(int(os.environ["HOST_PID"]), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(os.environ["HOST_PID"]), signal.SIGCONT)


def noise(name):
    with open(os.path.join(rootfs(name), "data/random"), "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


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
    failure = in_thread(agent.call, "api.X", "Slow", b"5000")
    time.sleep(0.2)
    server.close()
    expect(failure().code == UNAVAILABLE, failure())
    start_hub()
    expect(agent.call("api.X", "Echo", b"2") == b"api.X/Echo:2")


def pulls():
    """The image is there, writable, with the digest that the registry has; and gone when the agent unmounts."""
    agent = Client(LISTEN)
    begin = time.monotonic()
    digest = pull(agent, "one")
    took = time.monotonic() - begin
    expect(digest.startswith("sha256:") and len(digest) == 71, digest)
    expect(noise("one") == os.environ["NOISE"], "another content")
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
    expect(failure.code == DENIED_CODE and failure.words.startswith(DENIED + ": the policy does not allow"), failure)
    expect(not os.path.ismount(rootfs("denied")))
    nowhere = IMAGE.rsplit("/", 1)[0] + "/nowhere:1"
    failure = refused(pull, agent, "nowhere", nowhere)
    expect(failure.code == NOT_FOUND and failure.words.startswith(nowhere + ": the host says: "), failure)
    for name in ("../escape", "a/b", "", ".", "..", ".hidden", "x" * 200, "with space"):
        expect(refused(pull, agent, name).code == INVALID, name)
    expect(refused(agent.call, *PULL, field(1, IMAGE) + field(2, "/etc/one")).code == INVALID)
    expect(refused(pull, agent, "image", "oci:/etc").code == INVALID)
    expect(refused(pull, agent, "image", "UPPER CASE").code == INVALID)
    for request in (b"\x0a\xff", b"\x0b", field(1, 5), field(1, IMAGE.encode() + b"\x1b[31m"), b""):
        expect(refused(agent.call, *PULL, request).code == INVALID, request)
    os.symlink("/etc", os.path.join(BUNDLES, "link"))
    refused(pull, agent, "link")
    os.mkdir(os.path.join(BUNDLES, "full"))
    os.mkdir(rootfs("full"))
    with open(os.path.join(rootfs("full"), "file"), "w", encoding="ascii"):
        pass
    expect(refused(pull, agent, "full").code == EXISTS)


def no_key():
    """Another key than the image's, in words for who reads the pod's events."""
    failure = refused(pull, Client(LISTEN), "no-key")
    expect(failure.code == DENIED_CODE and "opens none of the 1 wrapped keys" in failure.words, failure)


def host_away():
    failure = refused(pull, Client(LISTEN), "host-away")
    expect(failure.code == UNAVAILABLE and "connecting to the host" in failure.words, failure)


def unsealed():
    """Neither mounted nor given to the hub, which would pull it: that is not asked for."""
    server, agent = start_hub(), Client(LISTEN)
    failure = refused(pull, agent, "unsealed", os.environ["UNSEALED_REF"])
    expect(failure.code == PRECONDITION and "not a sealed image" in failure.words, failure)
    expect(not server.seen, "the hub was asked")


def unsealed_to_hub():
    """Where it is asked for the hub gets the very call; what the policy denies still goes nowhere."""
    server, agent = start_hub(), Client(LISTEN)
    image = os.environ["UNSEALED_REF"]
    answer = agent.call(*PULL, field(1, image) + field(2, os.path.join(BUNDLES, "unsealed")), 9.0)
    expect(answer.startswith(b"api.ImagePullService/PullImage:") and image.encode() in answer, answer)
    expect(refused(pull, agent, "denied", DENIED).code == DENIED_CODE)
    expect(pull(agent, "sealed").startswith("sha256:"))
    expect(len(server.seen) == 1, server.seen)
    teardown("sealed")


def in_time():
    """A host that hangs: the agent gets an answer before it gives up, and nothing is left of the pull."""
    agent = Client(LISTEN)
    with host_stopped():
        begin = time.monotonic()
        failure = refused(pull, agent, "hangs", IMAGE, 3.0)
        took = time.monotonic() - begin
        expect(failure.code == DEADLINE and IMAGE in failure.words, failure)
        expect(2.0 < took < 3.0, took)
    expect(not os.path.ismount(rootfs("hangs")))
    expect(pull(agent, "hangs").startswith("sha256:"), "the same bundle again")
    teardown("hangs")
    print(f"refused after {took:.2f} s of 3")


def hub_in_time():
    """A call that the hub never answers ends when the caller gives up; those beside it and after it do not care."""
    start_hub(lambda service, method, payload: time.sleep(30) if method == "Never" else hub(service, method, payload))
    agent = Client(LISTEN)
    try:
        agent.call("api.X", "Never", b"", 1.0)
        raise AssertionError("answered")
    except TimeoutError:
        pass
    expect(agent.call("api.X", "Echo", b"") == b"api.X/Echo:")


def key_from_hub():
    """The key comes from the hub behind the door, asked by UnWrapKey; pulls and calls go on beside it."""
    directory = os.path.join(os.environ["WORK"], "hub")
    with open(os.path.join(os.environ["WORK"], "kek"), "rb") as f:
        keys = key_provider.hub(f.read(), directory)

    def both(service, method, payload):
        return keys(service, method, payload) if service.startswith("keyprovider.") else hub(service, method, payload)

    server, agent = start_hub(both), Client(LISTEN)
    expect(pull(agent, "hub").startswith("sha256:"))
    expect(noise("hub") == os.environ["NOISE"])
    asked = [fields(raw)[2] for _, _, raw in server.seen]
    expect(asked == [b"UnWrapKey"], asked)
    failure = refused(pull, agent, "denied", DENIED)
    expect(failure.code == DENIED_CODE and "policy" in failure.words and len(server.seen) == 1, "asked for a key", failure)
    server.close()
    expect(noise("hub") == os.environ["NOISE"], "without the hub")
    failure = refused(pull, agent, "away")
    expect(failure.code == UNAVAILABLE and "the Confidential Data Hub" in failure.words, failure)
    for style, code in (("refuse", DENIED_CODE), ("away", UNAVAILABLE), ("garbage", DATA_LOSS)):
        with open(os.path.join(directory, "style"), "w", encoding="ascii") as f:
            f.write(style)
        server = start_hub(both)
        failure = refused(pull, agent, style)
        expect(failure.code == code, style, failure)
        server.close()
    teardown("hub")


def hub_restarts():
    """Again and again, under calls: each is answered or refused, none is lost, the connection is the same."""
    server, agent = start_hub(), Client(LISTEN)
    counts = {"answered": 0, "refused": 0}
    stop = threading.Event()

    def caller():
        while not stop.is_set():
            try:
                expect(agent.call("api.X", "Slow", b"5", 10.0) == b"5")
                counts["answered"] += 1
            except Failure as failure:
                expect(failure.code == UNAVAILABLE, failure)
                counts["refused"] += 1

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.05)
        server.close()
        server = start_hub()
    stop.set()
    for thread in threads:
        thread.join()
    expect(counts["answered"] > 50, counts)
    print(counts)


def door_killed():
    """The door ends in the middle: what was under way is refused, the same connection goes on, mounts stay."""
    start_hub()
    agent = Client(LISTEN)
    digest = pull(agent, "before")
    failure = in_thread(agent.call, "api.X", "Slow", b"5000")
    time.sleep(0.2)
    old, begin = door(), time.monotonic()
    os.kill(old, signal.SIGKILL)
    expect(failure().code == UNAVAILABLE and "image puller" in failure().words, failure())
    expect(agent.call("api.X", "Echo", b"1") == b"api.X/Echo:1")
    took = time.monotonic() - begin
    expect(door() != old)
    expect(noise("before") == os.environ["NOISE"] and pull(agent, "before") == digest)
    expect(pull(agent, "after") == digest)
    teardown("before")
    teardown("after")
    print(f"answers {took * 1000:.0f} ms after it was killed")


def door_killed_in_a_pull():
    """Nobody knows of what was being pulled: it is given up, and can be pulled again."""
    agent = Client(LISTEN)
    with host_stopped():
        failure = in_thread(pull, agent, "half")
        time.sleep(0.5)
        os.kill(door(), signal.SIGKILL)
        expect(failure().code == UNAVAILABLE, failure())
        expect(not os.path.ismount(rootfs("half")))
    expect(pull(agent, "half").startswith("sha256:"))
    teardown("half")


def door_killed_often():
    """Under calls and pulls: no connection is lost, every answer is right or a refusal."""
    start_hub()
    agent = Client(LISTEN)
    counts = {"answered": 0, "refused": 0, "pulled": 0}
    stop = threading.Event()

    def caller():
        while not stop.is_set():
            try:
                expect(agent.call("api.X", "Echo", b"x" * 100000, 20.0) == b"api.X/Echo:" + b"x" * 100000)
                counts["answered"] += 1
            except Failure as failure:
                expect(failure.code == UNAVAILABLE, failure)
                counts["refused"] += 1

    def puller():
        n = 0
        while not stop.is_set():
            n += 1
            try:
                pull(agent, f"often-{n}", timeout=20.0)
                expect(noise(f"often-{n}") == os.environ["NOISE"])
                teardown(f"often-{n}")
                counts["pulled"] += 1
            except Failure as failure:
                expect(failure.code == UNAVAILABLE, failure)

    errors = []

    def guarded(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(call,)) for call in (caller, caller, puller)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(0.4)
        os.kill(door(), signal.SIGKILL)
        time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    expect(not errors, errors)
    expect(counts["answered"] > 20 and counts["pulled"] > 1, counts)
    print(counts)


def door_replaced():
    start_hub()
    agent = Client(LISTEN)
    pull(agent, "over")
    old = door()
    os.kill(int(os.environ["SERVE_PID"]), signal.SIGHUP)
    for _ in range(100):
        with contextlib.suppress(ValueError):
            if door() != old:
                break
        time.sleep(0.05)
    expect(door() != old)
    expect(agent.call("api.X", "Echo", b"1") == b"api.X/Echo:1")
    expect(noise("over") == os.environ["NOISE"])
    teardown("over")


def torn():
    """Agents that break off in the middle of a message, or send what is none, disturb nobody else."""
    start_hub()
    agent = Client(LISTEN)
    for junk in (b"\0", b"\0\0\0\x10\0\0\0\1\1", b"\xff" * 10, b"\0\0\0\4\0\0\0\2\1\0abcd",
                 b"\0\0\0\4\0\0\0\1\7\0abcd", b"\0\0\x10\0\0\0\0\1\1\0" + b"x" * 100):
        other = Client(LISTEN)
        other.sock.sendall(junk)
        other.close()
    others = [Client(LISTEN) for _ in range(20)]
    for other in others:
        expect(other.call("api.X", "Echo", b"") == b"api.X/Echo:")
    for other in others:
        other.close()
    expect(agent.call("api.X", "Echo", b"") == b"api.X/Echo:")


def stays_behind():
    """For a restart: it is mounted here and looked at by gone()."""
    expect(pull(Client(LISTEN), "stays"))


def stayed():
    agent = Client(LISTEN)
    expect(noise("stays") == os.environ["NOISE"])
    expect(pull(agent, "stays").startswith("sha256:"), "the same pull, asked of another process")
    teardown("stays")


if __name__ == "__main__":
    globals()[CASE]()
