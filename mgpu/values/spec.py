"""A checked job spec: no short form survives, every default that is the language's own is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mgpu.errors import Problem
from mgpu.values.document import Document
from mgpu.values.mark import Path

if TYPE_CHECKING:
    from mgpu.values.model import Model
    from mgpu.values.speed import Policy

CONFIG = "${config}"
"""Stands, in what a script is given, for the path of the config file that mgpu writes."""


class Secret(NamedTuple):
    """The name of a secret and the file that holds it (None: the caller's environment). The value is never in here."""

    name: str
    file: str | None = None


@dataclass(frozen=True)
class Gpus:
    """What a job wants of GPUs, per replica. `count` None is all that are free, or the `fewest` of them that the model
    fits on; `memory` is free bytes per GPU; `share` are bytes of each GPU, where the rest of it is for others."""

    count: int | None = 1
    memory: int | None = None
    name: str | None = None
    link: str | None = None
    ids: tuple[str, ...] = ()
    fewest: bool = False
    share: int | None = None


class Parallel(NamedTuple):
    """A parallel layout; None is 'mgpu decides'. tensor: within each layer, pipeline: whole layers, data: replicas."""

    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    expert: int | None = None


class Volume(NamedTuple):
    """A folder of the host inside the container."""

    source: str
    target: str
    read_only: bool = False


class Bounds(NamedTuple):
    """What a job's container may do beyond every other, and its own limits: it is `privileged`, has capabilities and
    devices of the host, shares `namespaces` (ipc, network, pid) with it; `shm` in bytes, `ulimits` -1 for none."""

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    shm: int | None = None
    ulimits: tuple[tuple[str, int], ...] = ()


class Power(NamedTuple):
    """What a job gets only where the command line allows it by `name`, with the place in the spec that asks for it."""

    name: str
    problem: Problem


class Ready(NamedTuple):
    """How a job shows that it is ready: one of http (a path), tcp (True), log (a pattern), command (its words);
    `within` in seconds."""

    http: str | None = None
    tcp: bool = False
    log: str | None = None
    command: tuple[str, ...] = ()
    within: float | None = None


class Restart(NamedTuple):
    """When a job that has ended is started anew: `no`, `on-failure`, or `always`; at most `max` times in any `within`
    seconds, or in a row where that is None."""

    policy: Literal["no", "on-failure", "always"] = "no"
    max: int = 3
    within: float | None = None


@dataclass(frozen=True)
class Job:
    """One job. Durations in seconds, sizes in bytes; `path` is where it stands in the document; `recipe` are fields of
    a Recipe; `digest` is that of its image, where a lock file pins it; it `serves` if it runs until stopped (a server)
    rather than until done."""

    kind: str
    name: str
    engine: str
    serves: bool = False
    path: Path = ()
    model: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    model_facts: Model | None = None
    gpus: Gpus = Gpus()
    parallel: Parallel = Parallel()
    policy: Policy = "latency"
    port: int | None = None
    host: str = "127.0.0.1"
    runtime: str | None = None
    version: str | None = None
    image: str | None = None
    python: str | None = None
    script: str | None = None
    script_args: Mapping[str, Any] | tuple[str, ...] = ()
    trainer: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    container: Bounds | None = None
    digest: str | None = None
    command: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    volumes: tuple[Volume, ...] = ()
    workdir: str | None = None
    timeout: float | None = None
    stop_grace: float | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    ready: Ready = Ready()
    restart: Restart = Restart()
    max_idle: float | None = None


@dataclass(frozen=True)
class Spec:
    """A whole spec: one job, or a pipeline's jobs in the order written. `warnings` do not keep it from running;
    `powers`, which are among them, do where nobody allows them."""

    name: str
    jobs: tuple[Job, ...]
    document: Document
    pipeline: bool = False
    machine: str | None = None
    warnings: tuple[Problem, ...] = ()
    powers: tuple[Power, ...] = ()
