"""A Command with a Container in, the `docker run` words out: what a person can paste."""

from __future__ import annotations

from mgpu.values.command import Command, Container


def docker_lines(command: Command, box: Container) -> list[list[str]]:
    """The words of each line of ``docker run`` for this command."""
    lines = [["docker", "run"], ["--rm"], ["--init"], ["--name", box.name], ["--security-opt", "no-new-privileges"]]
    lines += [["--log-driver", "local"], *_gpus(box)]
    if box.shm:
        lines += [["--shm-size", f"{box.shm // 2**30}g"]]
    lines += [["--publish", f"{_bracketed(host)}:{outer}:{inner}"] for host, outer, inner in box.publish]
    lines += [["--volume", f"{v.source}:{v.target}" + (":ro" if v.read_only else "")] for v in box.volumes]
    lines += [["--workdir", box.workdir]] if box.workdir else []
    lines += [["--env", f"{name}={value}"] for name, value in command.env]
    lines += [["--env", secret.name] for secret in command.secrets]
    return [*lines, [box.image]]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _gpus(box: Container) -> list[list[str]]:
    """Exactly these GPUs. The inner quotes are part of the value: Docker reads it as CSV, and a comma parts fields."""
    if not box.gpus:
        return []
    if box.cdi:
        return [["--device", f"nvidia.com/gpu={gpu}"] for gpu in box.gpus]
    return [["--gpus", f'"device={",".join(box.gpus)}"']]
