"""Checked jobs in, the powers that they ask for out: what `run` gives only where its command line allows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.engines import engine_named
from mgpu.spec.container import NAMESPACES
from mgpu.spec.mounts import reason
from mgpu.spec.notes import called
from mgpu.values.document import Document
from mgpu.values.flag import plain
from mgpu.values.mark import Path
from mgpu.values.spec import Bounds, Job, Power

TRUST = "trust-remote-code"
MOUNT = "mount"
NAMES = ("privileged", "cap_add", "devices", *NAMESPACES, MOUNT, TRUST)
"""What --allow takes."""
SHARED = {
    "ipc": "shares the shared memory of every process of the host",
    "network": "shares the network of the host, with all that listens there for itself alone",
    "pid": "shows every process of the host",
}
PLACES = ("args", "script_args", "config", "env", "command")
"""The keys of a job whose content engines and scripts read."""
TRUSTING = re.compile(r"(?<![a-z])(no[-_])?trust[-_]remote[-_]code(?!\W*[=:]\W*(false|0|no|off)\b)", re.IGNORECASE)
OFF = ("", "false", "0", "no", "off", "none")


def powers(jobs: tuple[Job, ...], document: Document) -> tuple[Power, ...]:
    """Every power that the jobs ask for, in their order, each with its place in the document."""
    return tuple(
        power(document, name, message, (*job.path, *path)) for job in jobs for name, message, path in _wanted(job)
    )


def power(document: Document, name: str, message: str, path: Path) -> Power:
    """A power with the place that asks for it."""
    return Power(name, document.problem(message, path, f"run gives it with --allow {name}"))


def _wanted(job: Job) -> Iterator[tuple[str, str, Path]]:
    yield from _of_container(job.container or Bounds())
    if boxable(job):
        yield from _of_files(job)
    for place in PLACES:
        for path in _trusting(getattr(job, place), (place,)):
            yield TRUST, f"{called(path)} runs code that comes with the model", path


def boxable(job: Job) -> bool:
    """Whether it may come to run in a container, as far as the spec tells."""
    own = job.image or job.container or engine_named(job.engine).image
    return bool(own) and job.runtime != "process" and not job.python


def _of_container(bounds: Bounds) -> Iterator[tuple[str, str, Path]]:
    if bounds.privileged:
        yield "privileged", "privileged gives the container all of the host", ("container", "privileged")
    if bounds.cap_add:
        names = ", ".join(bounds.cap_add)
        yield "cap_add", f"cap_add gives powers over the kernel of the host: {names}", ("container", "cap_add")
    for at, device in enumerate(bounds.devices):
        yield "devices", f"{device} is a device of the host", ("container", "devices", at)
    for namespace in bounds.namespaces:
        yield namespace, f"{namespace}: host {SHARED[namespace]}", ("container", namespace)


def _of_files(job: Job) -> Iterator[tuple[str, str, Path]]:
    """What of the host's files the container gets to see that is not the job's own business."""
    for at, volume in enumerate(job.volumes):
        if why := reason(volume.source, read_only=volume.read_only):
            yield MOUNT, f"{volume.source} {why}", ("volumes", at)
    for at, secret in enumerate(job.secrets):
        kept = secret.file and not secret.file.startswith(("/run/secrets/", "~/.config/"))
        why = reason(secret.file, read_only=True) if secret.file and kept else None
        if why:
            yield MOUNT, f"{secret.file}, whose content the container is given, {why}", ("secrets", at, "file")


def _trusting(value: Any, path: Path) -> Iterator[Path]:
    """Where plain data turns on the flag of this name, whatever program has it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            name = plain(str(key)).lower()
            if name.endswith(TRUST):
                on = str(item).lower() not in OFF
                yield from [(*path, key)] if on != name.startswith("no-") else []
            else:
                yield from _trusting(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        words = [item if isinstance(item, str) else "" for item in value]
        for at, item in enumerate(value):
            off = at + 1 < len(words) and words[at + 1].lower() in OFF[1:]
            if not (isinstance(item, str) and off and item.startswith("-")):
                yield from _trusting(item, (*path, at))
    elif isinstance(value, str) and any(not found[1] for found in TRUSTING.finditer(value)):
        yield path
