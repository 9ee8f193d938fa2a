"""Which layout was chosen on which GPUs, how fast it is there, and why every other one was not."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.values.machine import Gpu
from mgpu.values.memory import Estimate, Unknown, Verdict
from mgpu.values.plan import Layout
from mgpu.values.speed import Policy, Speed, Workload


class Choice(NamedTuple):
    """A layout with its GPUs in the order of the engine's ranks, what it needs of memory and gives of speed (None:
    not known). `why` is a sentence: of the chosen one why it won, of a runner-up why it lost."""

    layout: Layout
    gpus: tuple[Gpu, ...]
    speed: Speed | None
    memory: tuple[Estimate, ...] | Unknown | None
    verdict: Verdict | None
    why: str


class Decision(NamedTuple):
    """The chosen layout, or None where none fits; `others` best first, those that do not fit or cannot run last.
    `workload` is what they were compared under, None where only the table of defaults was asked."""

    chosen: Choice | None
    others: tuple[Choice, ...]
    policy: Policy
    workload: Workload | None
