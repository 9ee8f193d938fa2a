"""A Command with a Container in, the `docker run` words out that a person can paste, and the SDK's arguments.

Both ask the engine for the same container, but for ``--rm``: mgpu removes it itself, once it has its exit status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mgpu.values.command import Command, Container

SECURITY = "no-new-privileges"
LOGS = "local"
"""Docker's log driver that rotates by itself: five files of 20 MB, the older ones compressed."""


def docker_lines(command: Command, box: Container) -> list[list[str]]:
    """The words of each line of ``docker run`` for this command."""
    lines = [["docker", "run"], ["--rm"], ["--init"], ["--name", box.name], ["--security-opt", SECURITY]]
    lines += [["--log-driver", LOGS], *_gpus(box)]
    lines += [["--label", f"{name}={value}"] for name, value in box.labels]
    lines += [["--user", box.user]] if box.user else []
    lines += [["--network", box.network], ["--network-alias", box.alias]] if box.network and box.alias else []
    lines += [["--privileged"]] if box.privileged else []
    lines += [["--cap-add", name] for name in box.cap_add]
    lines += [["--device", path] for path in box.devices]
    lines += [[f"--{namespace}", "host"] for namespace in box.namespaces]
    lines += [["--shm-size", _size(box.shm)]] if box.shm else []
    lines += [["--ulimit", f"{name}={limit}"] for name, limit in box.ulimits]
    lines += [["--publish", f"{_bracketed(host)}:{outer}:{inner}"] for host, outer, inner in box.publish]
    lines += [["--volume", f"{v.source}:{v.target}" + (":ro" if v.read_only else "")] for v in box.volumes]
    lines += [["--workdir", box.workdir]] if box.workdir else []
    lines += [["--env", f"{name}={value}"] for name, value in command.env]
    lines += [["--env", secret.name] for secret in command.secrets]
    return [*lines, [box.image]]


def _size(size: int) -> str:
    """Bytes in the largest unit that holds them whole."""
    unit = next((unit for unit in (30, 20, 10) if size % 2**unit == 0), 0)
    return f"{size >> unit}{'bkmg'[unit // 10]}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _gpus(box: Container) -> list[list[str]]:
    """Exactly these GPUs. The inner quotes are part of the value: Docker reads it as CSV, and a comma parts fields."""
    if not box.gpus:
        return []
    if box.cdi:
        return [["--device", gpu] for gpu in box.gpus]
    return [["--gpus", f'"device={",".join(box.gpus)}"']]


def create_arguments(argv: list[str], env: Mapping[str, str], box: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the SDK's ``create_container`` for a command and its container as JSON has them; those of its
    ``create_host_config`` are under ``host_config``."""
    published = {f"{inner}/tcp": (host, outer) for host, outer, inner in box["publish"]}
    volumes = [f"{v['source']}:{v['target']}" + (":ro" if v["read_only"] else "") for v in box["volumes"]]
    devices = {"driver": "cdi"} if box["cdi"] else {"capabilities": [["gpu"]]}
    return {
        "image": box["image"],
        "command": argv,
        "name": box["name"],
        "environment": dict(env),
        "labels": dict(box["labels"]),
        "user": box["user"],
        "working_dir": box["workdir"],
        "networking_config": {"EndpointsConfig": {box["network"]: {"Aliases": [box["alias"]]}}}
        if box["network"]
        else None,
        "ports": [(inner, "tcp") for _, _, inner in box["publish"]],
        "host_config": {
            "init": True,
            "network_mode": "host" if "network" in box["namespaces"] else box["network"],
            "ipc_mode": "host" if "ipc" in box["namespaces"] else None,
            "pid_mode": "host" if "pid" in box["namespaces"] else None,
            "privileged": box["privileged"],
            "cap_add": box["cap_add"] or None,
            "devices": box["devices"] or None,
            "security_opt": [SECURITY],
            "log_config": {"Type": LOGS, "Config": {}},
            "device_requests": [{"device_ids": list(box["gpus"]), **devices}] if box["gpus"] else None,
            "shm_size": box["shm"],
            "ulimits": [{"name": name, "soft": limit, "hard": limit} for name, limit in box["ulimits"]] or None,
            "port_bindings": published or None,
            "binds": volumes,
        },
    }
