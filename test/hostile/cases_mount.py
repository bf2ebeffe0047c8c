# SPDX-License-Identifier: Apache-2.0
#
# Lies that a host tells while a mount is made: documents, identity, keys. Each is refused, most before a single
# chunk was asked for. No key is needed to tell them.

import json
import os

import guest
import liar
from case import MOUNT_LIMIT, case, require
from liar import Status

FRONT = ("tree",)  # nothing here is reached by a front


def refused(name, words, image, chunks=0, **options):
    @case("mount-" + name, "M", words, fronts=FRONT)
    def run(context):
        more = {k: v(context) if callable(v) else v for k, v in options.items()}
        context.refused(image(context), chunks=chunks, **more)


def document(name, words, change, chunks=0):
    """change(manifest as dict) returns another document, or bytes."""

    def image(context):
        other = change(json.loads(context.image.manifest))
        return context.image.but(manifest=other if isinstance(other, bytes) else json.dumps(other).encode())

    refused("manifest-" + name, words, image, chunks)


def changed(**fields):
    return lambda m: {**m, **fields}


def layers(change):
    return lambda m: {**m, "layers": change(m["layers"])}


def of_layer(k, **fields):
    return layers(lambda all_layers: [{**x, **(fields if i == k % len(all_layers) else {})} for i, x in enumerate(all_layers)])


EMPTY = {"mediaType": "application/vnd.oci.image.layer.cocoon.v1", "digest": "sha256:" + "e3" * 32, "size": 0}
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

document("empty", "0 bytes", lambda m: b"")
document("not-json", "no JSON", lambda m: b"<html>")
document("cut", "cut in half", lambda m: json.dumps(m).encode()[:-300])
document("trailing", "bytes behind the document", lambda m: json.dumps(m).encode() + b"{}")
document("array", "a list", lambda m: b"[]")
document("nul", "a zero byte inside", lambda m: json.dumps(m).encode().replace(b'"size"', b'"size\0"', 1))
document("not-utf-8", "a string that is not UTF-8", lambda m: json.dumps(m).encode().replace(b"cocoon.v1", b"cocoon\xff\xfe", 1))
document("nested", "hundred thousands of levels, as many as fit", lambda m: b'{"a":' * 120000 + b"1" + b"}" * 120000)
document("nested-lists", "half a million lists in each other", lambda m: b"[" * 500000 + b"]" * 500000)
document("key-twice", "a key twice", lambda m: json.dumps(m).encode().replace(b'"schemaVersion"', b'"layers":[],"schemaVersion"', 1))
document("key-twice-inside", "a layer's digest twice", lambda m: json.dumps(m).encode().replace(b'"digest"', b'"digest":"x","digest"'))
document("schema-1", "schema version 1", changed(schemaVersion=1))
document("no-schema", "no schema version", lambda m: {k: v for k, v in m.items() if k != "schemaVersion"})
document("index", "an index where a manifest was expected", lambda m: {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []})
document("both", "manifest and index in one document", changed(manifests=[]))
document("called-an-index", "a manifest that calls itself an index", changed(mediaType=INDEX_TYPE))
document("no-config", "no config", lambda m: {k: v for k, v in m.items() if k != "config"})
document("layers-none", "no layers: CVE-2026-24054", layers(lambda x: []))
document("layers-null", "layers: null", changed(layers=None))
document("layers-no-data", "only the index", layers(lambda x: x[-1:]))
document("layers-no-index", "only data", layers(lambda x: x[:-1]))
document("layers-reordered", "data blobs exchanged", layers(lambda x: [x[1], x[0], x[2]]))
document("layers-index-first", "the index first", layers(lambda x: x[-1:] + x[:-1]))
document("layers-dropped", "one dropped", layers(lambda x: x[1:]))
document("layers-repeated", "one twice", layers(lambda x: x[:1] + x))
document("layers-one-more", "an empty one more", layers(lambda x: x[:-1] + [EMPTY, x[-1]]))
document("layers-two-indexes", "the index twice", layers(lambda x: x + x[-1:]))
document("layers-index-as-data", "the index once more, as data", layers(lambda x: [{**x[-1], "mediaType": EMPTY["mediaType"]}] + x[1:]))
document("layers-500", "500", layers(lambda x: [EMPTY] * 499 + x[-1:]))
document("layers-5000", "5000, as many as fit into a mebibyte", layers(lambda x: [EMPTY] * 5000 + x[-1:]))
document("layer-digest", "another digest of a data blob", of_layer(0, digest="sha256:" + "ab" * 32))
document("layer-digest-sha512", "a digest of another kind", of_layer(0, digest="sha512:" + "ab" * 64))
document("layer-digest-short", "a digest too short", of_layer(0, digest="sha256:ab"))
document("layer-size-negative", "a size of −1", of_layer(0, size=-1))
document("layer-size-2-to-63", "a size of 2^63", of_layer(0, size=2**63))
document("layer-size-2-to-53", "a size over 2^53", of_layer(0, size=2**53 + 1))
document("layer-size-float", "a size of 1e3", of_layer(0, size=1000.0))
document("layer-size-text", "a size as text", of_layer(0, size="1000"))
document("index-size-0", "an index of no bytes: no chunk of metadata lies in it", of_layer(-1, size=0))
document("plain", "an unsealed image under the same name", layers(lambda x: [{**y, "mediaType": "application/vnd.oci.image.layer.v1.tar"} for y in x]))
document("plain-and-sealed", "one layer unsealed", of_layer(0, mediaType="application/vnd.oci.image.layer.v1.tar+gzip"))
document("media-type-long", "a media type of 10,000 bytes", of_layer(0, mediaType="a" * 10000))
document("keys-huge", "300 KiB of wrapped keys", of_layer(-1, annotations={"org.opencontainers.image.enc.keys.jwe": "x" * 300000}))
document("identity-missing", "no note of the descriptor: [M4]", lambda m: {**m, "layers": m["layers"][:-1] + [{**m["layers"][-1], "annotations": {}}]})
document("identity-of-another", "the note of another descriptor", of_layer(-1, annotations={"dev.cocoon.descriptor": "sha256:" + "ab" * 32}))
document("identity-short", "a note that is no digest", of_layer(-1, annotations={"dev.cocoon.descriptor": "sha256:ab"}))
document("many-objects", "300,000 empty objects, which a JSON library makes 74 MiB of", lambda m: json.dumps({**m, "x": 0}).encode().replace(b'"x": 0', b'"x": [' + b"{}," * 300000 + b"0]"))
document("keys-not-text", "wrapped keys that are a number", of_layer(-1, annotations={"org.opencontainers.image.enc.keys.jwe": 1}))


@case("mount-manifest-json-100-mb", "M", "100 MB of JSON: no such frame exists", fronts=FRONT)
def json_100_mb(context):
    context.refused(context.image.but(manifest=b'{"a":"' + b"x" * 100_000_000 + b'"}'), chunks=0)


@case("mount-manifest-levels-1-million", "M", "a million levels of nesting", fronts=FRONT)
def levels(context):
    context.refused(context.image.but(manifest=b"[" * 1_000_000), chunks=0)


@case("mount-manifest-blobs-10000", "M", "10,000 blobs", fronts=FRONT)
def blobs(context):
    manifest = json.loads(context.image.manifest)
    manifest["layers"] = [EMPTY] * 10000 + manifest["layers"][-1:]
    context.refused(context.image.but(manifest=json.dumps(manifest).encode()), chunks=0)


# Identity ----------------------------------------------------------------------------------------------------

refused("pinned-digest", "another image than --digest says", lambda c: c.setup.tenant, options=lambda c: ("--digest", c.image.digest), key=lambda c: c.setup.path("image.key"))
refused("pinned-digest-either-sealed-again", "the same image sealed again with the same key, another digest", lambda c: c.setup.image.copy().sealed(), options=lambda c: ("--digest", c.image.digest))
refused("pinned-manifest-blank", "the pinned manifest with a blank behind it", lambda c: c.image.but(manifest=c.image.manifest + b" "), options=lambda c: ("--digest", c.image.digest))
refused("pinned-reference", "another image under a name with a digest", lambda c: c.setup.tenant, reference=lambda c: f"localhost:5000/hostile/image@{c.image.digest}")
refused("pinned-reference-sealed-again", "under a name with a digest that manifest, and descriptor, index and metadata of the same layers sealed another time: an older version whose data are the same",
        lambda c: c.setup.image.copy().sealed().but(manifest=c.image.manifest), reference=lambda c: f"localhost:5000/hostile/image@{c.image.digest}")
refused("manifest-of-another", "the manifest of another image", lambda c: c.image.but(manifest=c.setup.tenant.manifest))
refused("descriptor-of-another", "the descriptor of another image", lambda c: c.image.but(descriptor=c.setup.tenant.descriptor))
refused("index-of-another", "the public index of another image", lambda c: c.image.but(index=c.setup.tenant.index))
refused("chunks-of-another", "the chunks of another image", lambda c: c.image.but(chunks=c.setup.tenant.chunks + c.image.chunks), chunks=1)

DESCRIPTOR_FIELDS = (
    ("magic", 0, 0), ("version", 8, 0), ("suite", 12, 0), ("image-size", 16, None), ("n-chunks", 24, None), ("n-blobs", 28, 0),
    ("max-chunk-size", 32, None), ("n-meta-chunks", 36, None), ("meta-offset", 40, 0), ("salt", 48, None), ("root-hash", 80, None),
    ("key-commitment", 112, 0), ("blobs-digest", 144, 0), ("reserved", 176, 0), ("reserved-end", 255, 0),
)
for _name, _at, _chunks in DESCRIPTOR_FIELDS:
    for _bit in (0, 6):
        # what the root chunk's key covers is found out with one chunk
        refused(f"descriptor-{_name}-bit-{_bit}", f"bit {_bit} of byte {_at} of the descriptor flipped",
                lambda c, at=_at, bit=_bit: c.image.but(descriptor=c.image.descriptor[:at] + bytes([c.image.descriptor[at] ^ 1 << bit]) + c.image.descriptor[at + 1 :]),
                chunks=1 if _chunks is None else _chunks)
refused("descriptor-short", "a descriptor a byte short", lambda c: c.image.but(descriptor=c.image.descriptor[:-1], n_meta=0))
refused("descriptor-long", "a descriptor a byte long", lambda c: c.image.but(descriptor=c.image.descriptor + b"\0"))
refused("descriptor-none", "no descriptor", lambda c: c.image.but(descriptor=b"", n_meta=0))
refused("root-flipped", "a bit of the root chunk flipped", lambda c: c.image.but(chunks=[c.image.chunks[0][:-1] + bytes([c.image.chunks[0][-1] ^ 1])] + c.image.chunks[1:]), chunks=1)
refused("root-of-another", "the root chunk of the same image sealed again", lambda c: c.image.but(chunks=[c.setup.image.copy().sealed().chunks[0]] + c.image.chunks[1:]), chunks=1)

# Keys --------------------------------------------------------------------------------------------------------


def by_descriptor(context):
    return "--digest", context.image.identity


def key_file(name, data):
    def make(context):
        path = os.path.join(context.setup.work, "key-" + name)
        with open(path, "wb") as f:
            f.write(data(open(context.setup.key_file, "rb").read()))
        os.chmod(path, 0o600)
        return path

    return make


BEGIN, END = b"-----BEGIN COCOON IMAGE KEY-----\n", b"\n-----END COCOON IMAGE KEY-----\n"
HONEST = lambda c: c.image  # noqa: E731
refused("key-of-another", "another image's key", HONEST, key=lambda c: c.setup.path("other.key"))
refused("key-of-0", "a key file of 0 bytes", HONEST, key=key_file("0", lambda k: b""))
refused("key-of-nothing", "a key of 0 bytes", HONEST, key=key_file("nothing", lambda k: BEGIN + END))
refused("key-of-31", "a key of 31 bytes", HONEST, key=key_file("31", lambda k: BEGIN + b"A" * 40 + b"AA==" + END))
refused("key-of-33", "a key of 33 bytes", HONEST, key=key_file("33", lambda k: BEGIN + b"A" * 44 + END))
refused("key-all-zero", "a key of zeros", HONEST, key=key_file("zero", lambda k: BEGIN + b"A" * 43 + b"=" + END))
refused("key-a-domain-secret", "a domain secret for a key", HONEST, key=lambda c: c.setup.path("domain.secret"))
refused("key-trailing", "the right key and a line more", HONEST, key=key_file("trailing", lambda k: k + b"more\n"))
refused("key-huge", "a key file of 16 MiB", HONEST, key=key_file("huge", lambda k: k + bytes(16 << 20)))
refused("key-is-a-directory", "a directory for a key file", HONEST, key=lambda c: c.setup.work)
refused("key-away", "no key file", HONEST, key=lambda c: c.setup.path("nowhere"))
refused("recipient-a-stranger", "a private key that the image was not sealed for", HONEST, key=lambda c: "recipient:" + c.setup.path("stranger.pem"), options=by_descriptor)


def recipients(name, words, change):
    def image(context):
        annotation = "org.opencontainers.image.enc.keys.jwe"
        manifest = json.loads(context.image.manifest)
        of_other = json.loads(context.setup.tenant.manifest)["layers"][-1]["annotations"][annotation]
        annotations = manifest["layers"][-1]["annotations"]
        annotations[annotation] = change(annotations.get(annotation), of_other)
        if annotations[annotation] is None:
            del annotations[annotation]
        return context.image.but(manifest=json.dumps(manifest).encode())

    refused("recipient-" + name, words, image, key=lambda c: "recipient:" + c.setup.path("guest.pem"), options=by_descriptor)


recipients("none", "the wrapped keys taken away", lambda mine, other: None)
recipients("of-another-image", "the wrapped key of another image: [W1]", lambda mine, other: other)
recipients("flipped", "a character of the wrapped key exchanged", lambda mine, other: mine[:400] + ("A" if mine[400] != "A" else "B") + mine[401:])
recipients("cut", "half a wrapped key", lambda mine, other: mine[: len(mine) // 2])
recipients("garbage", "no base64", lambda mine, other: "%%%%,,,,")
recipients("many", "thousands of empty recipients", lambda mine, other: "e30=," * 40000 + "e30=")


@case("mount-recipient-good", "R", "the right private key, told for comparison", fronts=FRONT)
def recipient_good(context):
    with context.mount(key="recipient:" + context.setup.path("guest.pem"), options=by_descriptor(context)) as (g, _):
        g.all_right()


@case("mount-recipient-by-tag", "M", "an image for this recipient under a tag: anybody could have sealed it", fronts=FRONT)
def recipient_by_tag(context):
    context.refused(chunks=0, codes=(1, 32), key="recipient:" + context.setup.path("guest.pem"))


# The policy ---------------------------------------------------------------------------------------------------


def policy(context, name, text):
    path = os.path.join(context.setup.work, "policy-" + name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text if isinstance(text, str) else json.dumps(text))
    return "--policy", path


def listing(*digests):
    return {"version": 1, "images": [{"digest": d} for d in digests]}


def allows(name, words, of, allowed):
    @case("policy-" + name, "R" if allowed else "M", words, fronts=FRONT)
    def run(context):
        options = policy(context, name, listing(*of(context)))
        if allowed:
            with context.mount(options=options) as (g, _):
                g.all_right()
            return
        with context.host() as h, context.guest(h, options=options, key=context.setup.path("nowhere")) as g:
            require(not g.mounted(MOUNT_LIMIT) and g.status == 32, "mounted, or another exit code")
            require(h.asked == [] and h.indexes == [], "something was asked for")
            require(b"nowhere" not in g.log(), "the key was looked for before the policy was asked")
            g.status = 0  # a good end of this guest


ANOTHER = "sha256:" + "ab" * 32
allows("manifest", "the policy lists the manifest", lambda c: [ANOTHER, c.image.digest], True)
allows("descriptor", "the policy lists the descriptor", lambda c: [c.image.identity], True)
allows("nothing", "the policy lists nothing: not a chunk, not a byte of the index is asked for", lambda c: [], False)
allows("others", "the policy lists other images", lambda c: [ANOTHER, c.setup.tenant.digest], False)
allows("a-blob", "the policy lists a blob of the image, which is no name of it", lambda c: [json.loads(c.image.manifest)["layers"][0]["digest"]], False)


def bad_policy(name, words, text):
    @case("policy-" + name, "M", words, fronts=FRONT)
    def run(context):
        spoiled = text(json.dumps(listing(context.image.digest)))
        context.refused(chunks=0, codes=(1, 2, 32), options=policy(context, name, spoiled))


bad_policy("empty", "an empty policy", lambda t: "")
bad_policy("cut", "half a policy", lambda t: t[:-2])
bad_policy("version-2", "a policy of another version", lambda t: t.replace('"version": 1', '"version": 2'))
bad_policy("unknown-member", "a condition that this version does not know", lambda t: t.replace('"version"', '"minimum": 7, "version"'))
bad_policy("unknown-condition", "a condition on an image that this version does not know", lambda t: t.replace('{"digest"', '{"before": "2026", "digest"'))
bad_policy("key-twice", "a key twice", lambda t: t.replace('"images"', '"images": [], "images"'))
bad_policy("digest-short", "a digest too short", lambda t: t.replace("sha256:", "sha256:ab"))
bad_policy("digest-upper", "a prefix for a digest", lambda t: t[:-20] + '"}]}')
bad_policy("array", "a list", lambda t: "[]")
bad_policy("huge", "a policy of 2 MiB", lambda t: t + " " * (2 << 20))
bad_policy("nested", "a policy of many levels", lambda t: '{"version":1,"images":' + "[" * 300000)


@case("policy-away", "M", "no policy file where one was named", fronts=FRONT)
def policy_away(context):
    context.refused(chunks=0, codes=(1, 2, 32), options=("--policy", context.setup.path("nowhere")))


@case("policy-tag-moves", "E", "the policy lists what the tag had first; on the next connection it is another image", fronts=("block", "tree"))
def policy_tag_moves(context):
    with context.mount(options=policy(context, "moves" + context.front, listing(context.image.digest)), cache="1") as (g, h):
        h.image = context.setup.tenant
        h.drop()
        require(not g.read("replaced"), "readable")
        require(h.asked == [], "chunks were asked for")
        h.image = context.image
        g.recovers()
        g.all_right()


# The first connection ----------------------------------------------------------------------------------------


def first(name, words, within=MOUNT_LIMIT, **lies):
    @case("first-" + name, "M", words, fronts=FRONT)
    def run(context):
        context.refused(lies=lies, chunks=0, within=within)


def hello_lie(payload):
    def lie(c, a):
        if a.kind == liar.HELLO:
            a.payload = payload
        return a.raw()

    return lie


def closing(c):
    raise liar.Hangup


def instead(kind, data):
    return lambda c, a: data if a.kind == kind else a.raw()


first("version-2", "a host of version 2", frame=hello_lie(b"COCOONW1\2\0\0\0\1\0\0\0"))
first("weaker-suite", "an offer of something weaker behind hello", frame=hello_lie(liar.WELCOME + b"\0\0\0\0"))
first("magic", "another magic", frame=hello_lie(b"COCOONW0" + liar.WELCOME[8:]))
first("closed", "the connection is closed at once", connection=closing)
first("silent", "nothing is said", connection=lambda c: c.receive(1 << 20))
first("random", "random bytes", frame=lambda c, a: os.urandom(500))
first("http", "an HTTP server", frame=lambda c, a: b"HTTP/1.1 400 Bad Request\r\n\r\n")
first("drips", "hello, one byte a second", frame=lambda c, a: [c.send(a.raw()[k : k + 1]) or guest.time.sleep(1) for k in range(30)] and b"")
first("open-silent", "OPEN is not answered", open=lambda reference: liar.SILENCE)
first("open-not-found", "no such image", open=lambda reference: Status(1))
first("open-denied", "denied", open=lambda reference: Status(3))
first("open-invalid", "invalid", open=lambda reference: Status(4))
first("open-unavailable", "unavailable until the deadline", open=lambda reference: Status(2))
first("open-busy", "busy until the deadline", open=lambda reference: Status(5))
first("open-words", "a refusal with control characters", open=lambda reference: Status(3, b"\x1b[2J\nerror: root\n"))
first("open-random", "random bytes for an answer to OPEN", frame=instead(liar.OPEN, bytes(range(256))))
first("index-silent", "the index is not given", index=lambda offset, data: liar.SILENCE)
first("index-not-found", "the index is not found", index=lambda offset, data: Status(1))
first("index-short", "the index a byte short", index=lambda offset, data: data[:-1])
first("index-long", "the index a byte long", index=lambda offset, data: data + b"\0")
first("index-zeros", "an index of zeros", index=lambda offset, data: bytes(len(data)))


@case("first-nobody", "M", "no host at all: refused at once", fronts=FRONT)
def nobody(context):
    with context.host() as h:
        h.away()
        with context.guest(h) as g:
            require(not g.mounted(1.5) and g.status == 32, "mounted, or another exit code")
            g.status = 32
            g.stop = lambda: g.check_log()


@case("first-open-unavailable-passing", "R", "unavailable twice, then good", fronts=FRONT)
def unavailable_passing(context):
    lies = liar.Times(2, lambda reference: Status(2), lambda reference: context.image)
    with context.host(open=lies) as h, context.guest(h) as g:
        require(g.mounted(), "not mounted")
        g.all_right()


@case("first-changes-between-calls", "M", "the first OPEN gives one image, a later one another: no byte of the other is shown", fronts=("block", "tree"))
def changes(context):
    answers = liar.Times(1, lambda reference: context.image, lambda reference: context.setup.tenant)

    def cut(c, a):
        if a.kind == liar.OPEN:
            c.send(a.raw())
            raise liar.Hangup
        return a.raw()

    context.refused(lies={"open": answers, "frame": liar.Times(2, cut, lambda c, a: a.raw())}, chunks=0)
