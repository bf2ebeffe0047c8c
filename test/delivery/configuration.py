#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""configuration.py KIND FILE: is FILE what KIND's reader takes?

The schemas have the names and types of the fields that these programs read, as far as our files go; a field that is not
among them is an error, as a typing mistake is silently ignored by most of the readers.
"""
import sys
import tomllib

import jsonschema
import yaml

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
BOOL = {"type": "boolean"}
NUMBER = {"type": "integer", "minimum": 0}
ANY = {}


def table(fields, required=()):
    return {"type": "object", "properties": fields, "additionalProperties": False, "required": list(required)}


def each(schema):
    return {"type": "object", "additionalProperties": schema}


def only(*values):
    return {"enum": list(values)}


# containerd: type Runtime, ImagePlatform, ProxyPlugin, StreamProcessor and where they stand, by version
RUNTIME_1_6 = {
    "runtime_type": TEXT, "runtime_path": TEXT, "runtime_engine": TEXT, "runtime_root": TEXT,
    "pod_annotations": TEXTS, "container_annotations": TEXTS, "options": each(ANY),
    "privileged_without_host_devices": BOOL, "base_runtime_spec": TEXT, "cni_conf_dir": TEXT, "cni_max_conf_num": NUMBER,
}
RUNTIME_1_7 = RUNTIME_1_6 | {
    "privileged_without_host_devices_all_devices_allowed": BOOL, "snapshotter": TEXT, "sandbox_mode": TEXT,
}
RUNTIME_2 = {k: v for k, v in RUNTIME_1_7.items() if k not in ("runtime_engine", "runtime_root", "sandbox_mode")} | {
    "sandboxer": TEXT,
}
STREAM_PROCESSORS = each(table({"accepts": TEXTS, "returns": TEXT, "path": TEXT, "args": TEXTS, "env": TEXTS},
                               ["accepts", "returns", "path"]))
PROXY = {"type": only("snapshot"), "address": {"type": "string", "pattern": "^/"}}


def containerd_1(runtime, proxy):
    cri = table({"containerd": table({
        "snapshotter": TEXT, "default_runtime_name": TEXT, "disable_snapshot_annotations": only(False),
        "discard_unpacked_layers": only(False), "runtimes": each(table(runtime, ["runtime_type"])),
    }, ["disable_snapshot_annotations"])})
    return table({
        "version": only(2), "proxy_plugins": each(table(proxy, ["type", "address"])),
        "stream_processors": STREAM_PROCESSORS, "plugins": table({"io.containerd.grpc.v1.cri": cri}),
    }, ["version", "proxy_plugins"])


CONTAINERD_2 = table({
    "version": only(3), "stream_processors": STREAM_PROCESSORS,
    "proxy_plugins": each(table(PROXY | {"platform": TEXT, "exports": each(TEXT), "capabilities": TEXTS}, ["type", "address"])),
    "plugins": table({
        "io.containerd.cri.v1.images": table({
            "snapshotter": TEXT, "disable_snapshot_annotations": only(False), "discard_unpacked_layers": only(False),
            "runtime_platforms": each(table({"platform": TEXT, "snapshotter": TEXT})),
        }, ["disable_snapshot_annotations"]),
        "io.containerd.cri.v1.runtime": table({"containerd": table({
            "default_runtime_name": TEXT, "runtimes": each(table(RUNTIME_2, ["runtime_type"])),
        })}),
    }),
}, ["version", "proxy_plugins"])

# Kata: type hypervisor, runtime and agent of the runtime's configuration
KATA = table({
    "hypervisor": table({"qemu": table({
        "path": TEXT, "kernel": TEXT, "initrd": TEXT, "image": TEXT, "rootfs_type": TEXT, "firmware": TEXT, "kernel_params": TEXT,
        "kernel_verity_params": TEXT, "shared_fs": only("none"), "default_vcpus": {"type": "number"}, "default_memory": NUMBER,
        "enable_annotations": TEXTS, "confidential_guest": BOOL,
    })}),
    "agent": table({"kata": table({"dial_timeout": NUMBER, "cdh_api_timeout": NUMBER, "launch_process_timeout": NUMBER})}),
    "runtime": table({"create_container_timeout": NUMBER, "experimental_force_guest_pull": BOOL, "static_sandbox_resource_mgmt": BOOL}),
})
KATA_PARAMETERS = {
    "agent.guest_components_procs": {"none", "attestation-agent", "confidential-data-hub", "api-server-rest"},
    "agent.guest_components_rest_api": {"all", "attestation", "resource"},
    "agent.image_pull_timeout": None, "agent.cdh_api_timeout": None, "agent.launch_process_timeout": None, "agent.log": None,
}
# Kata's agent: type ExtensionManifest
VARIANT = {"path": TEXT, "args": TEXTS, "env": each(TEXT)}
KATA_COMPONENTS = table({
    "schema_version": only(1), "paths": each(TEXT),
    "process": {"type": "array", "items": table(VARIANT | {
        "id": TEXT, "level": NUMBER, "select": TEXT, "variants": each(table(VARIANT)), "config": TEXT, "wait_socket": TEXT,
        "timeout_secs": TEXT, "optional_args": {"type": "array", "items": table({"when": TEXT, "args": TEXTS}, ["when", "args"])},
    }, ["id"])},
}, ["schema_version"])

# Kubernetes: io.k8s.api.node.v1.RuntimeClass, io.k8s.api.core.v1.Pod
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
QUANTITY = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
METADATA = table({"name": NAME, "namespace": NAME, "labels": each(TEXT), "annotations": each(TEXT)}, ["name"])
RUNTIME_CLASS = table({
    "apiVersion": only("node.k8s.io/v1"), "kind": only("RuntimeClass"), "metadata": METADATA, "handler": NAME,
    "overhead": table({"podFixed": each(QUANTITY)}),
    "scheduling": table({"nodeSelector": each(TEXT), "tolerations": {"type": "array"}}),
}, ["apiVersion", "kind", "metadata", "handler"])
CONTAINER = table({
    "name": NAME, "image": {"type": "string", "pattern": "@sha256:[0-9a-f]{64}$"}, "command": TEXTS, "args": TEXTS,
    "env": {"type": "array", "items": table({"name": TEXT, "value": TEXT}, ["name"])},
    "imagePullPolicy": only("Always", "IfNotPresent", "Never"),
    "resources": table({"limits": each(QUANTITY), "requests": each(QUANTITY)}),
}, ["name", "image"])
POD = table({
    "apiVersion": only("v1"), "kind": only("Pod"), "metadata": METADATA,
    "spec": table({
        "runtimeClassName": NAME, "restartPolicy": only("Always", "OnFailure", "Never"),
        "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
        "imagePullSecrets": {"type": "array", "items": table({"name": NAME})},
    }, ["runtimeClassName", "containers"]),
}, ["apiVersion", "kind", "metadata", "spec"])

SCHEMAS = {
    "containerd-1.6": containerd_1(RUNTIME_1_6, PROXY),
    "containerd-1.7": containerd_1(RUNTIME_1_7, PROXY | {"platform": TEXT, "exports": each(TEXT), "capabilities": TEXTS}),
    "containerd-2": CONTAINERD_2,
    "kata": KATA,
    "kata-components": KATA_COMPONENTS,
    "runtimeclass": RUNTIME_CLASS,
    "pod": POD,
}


def kata_parameters(document):
    words = document.get("hypervisor", {}).get("qemu", {}).get("kernel_params", "")
    for word in words.split():
        name, _, value = word.partition("=")
        if name.startswith("agent.") and name not in KATA_PARAMETERS:
            sys.exit(f"the agent has no parameter {name}")
        values = KATA_PARAMETERS.get(name)
        if values and value not in values:
            sys.exit(f"{name} is one of {', '.join(sorted(values))}")


def snapshotters(document):
    """Every snapshotter that is named is one that is configured."""
    known = set(document.get("proxy_plugins", {}))

    def named(node):
        for key, value in node.items() if isinstance(node, dict) else ():
            if key == "snapshotter":
                yield value
            else:
                yield from named(value)

    for name in named(document.get("plugins", {})):
        if name not in known:
            sys.exit(f"there is no snapshotter {name}")


def main():
    kind, path = sys.argv[1:]
    with open(path, "rb") as file:
        document = yaml.safe_load(file) if path.endswith(".yaml") else tomllib.load(file)
    try:
        jsonschema.validate(document, SCHEMAS[kind], cls=jsonschema.Draft202012Validator)
    except jsonschema.ValidationError as error:
        sys.exit(f"{path}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
    if kind == "kata":
        kata_parameters(document)
    if kind.startswith("containerd"):
        snapshotters(document)


if __name__ == "__main__":
    main()
