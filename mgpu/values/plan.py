"""What was decided: which job runs where, with which GPUs, ports and layout, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mgpu.errors import Problem
from mgpu.values.machine import Gpu, Machine
from mgpu.values.spec import Bounds, Job

if TYPE_CHECKING:
    from mgpu.values.choice import Decision
    from mgpu.values.memory import Estimate, Unknown


class Layout(NamedTuple):
    """A decided parallel layout; the product of tensor, pipeline and data, and of what the engine's own flags
    add (its `degrees`), is the number of GPUs or ranks."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1


@dataclass(frozen=True)
class Task:
    """One start of a job (a job with n replicas is n tasks). Where a scheduler
    places by itself, `gpus` is empty and `gpu_count` says how many; `rendezvous` is the port at which its ranks meet;
    `cpus` are the cores of the machine; `split` are whole layers a GPU, where the planner chose them; `memory` is what
    the task needs on each of its GPUs, or why that is not known (None: it has no GPU); `decision` is how its layout was
    chosen, where there was a choice. In `network` the
    containers of one spec reach each other by the names of their tasks."""

    name: str
    job: Job
    gpus: tuple[Gpu, ...] = ()
    gpu_count: int = 0
    port: int | None = None
    rendezvous: int | None = None
    layout: Layout = Layout()
    runtime: str = "process"
    version: str | None = None
    cpus: int | None = None
    split: tuple[int, ...] = ()
    memory: tuple[Estimate, ...] | Unknown | None = None
    decision: Decision | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    because: tuple[str, ...] = ()

    @property
    def secluded(self) -> bool:
        """Whether it has a network of its own, with every port: it is in a container that does not share its host's."""
        return self.runtime == "docker" and "network" not in (self.job.container or Bounds()).namespaces


@dataclass(frozen=True)
class Plan:
    """Every task in the order of starting. Made by `plan.place`, which raises NoRoom where a task has no place.
    `shares` are the GPUs (by id) that the run does not need alone, each with the bytes that its tasks take there at
    once; `warnings` are about the spec on this machine."""

    name: str
    machine: Machine
    tasks: tuple[Task, ...]
    shares: tuple[tuple[str, int], ...] = ()
    warnings: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        for task in self.tasks:
            ids = [gpu.id for gpu in task.gpus]
            if len(set(ids)) != len(ids):
                raise AssertionError(f"{task.name} was given a GPU twice: {ids}")
