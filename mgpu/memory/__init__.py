"""The arithmetic of memory: a model, a format and a layout in, bytes on a GPU out. Sources stand at the formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mgpu.values.memory import Correction, Estimate, Unknown
    from mgpu.values.model import Model
    from mgpu.values.plan import Task

    Estimating = Callable[[Task, Model | None, Sequence[Correction]], tuple[Estimate, ...] | Unknown]


def estimates_of(module: str) -> Estimating:
    """What the module of this name says that a task needs on each of its GPUs. It is read when it is asked: checking a
    spec must not pay for it."""

    def estimates(task: Task, model: Model | None, corrections: Sequence[Correction]) -> tuple[Estimate, ...] | Unknown:
        found: tuple[Estimate, ...] | Unknown = import_module(f"{__name__}.{module}").estimates(
            task, model, corrections
        )
        return found

    return estimates
