"""Estimates in, the words for them out: the sum that a person can check, and the verdict of a whole task."""

from __future__ import annotations

from collections.abc import Sequence

from mgpu.values.memory import GIB, Estimate, Unknown, Verdict
from mgpu.values.plan import Task

ORDER: tuple[Verdict, ...] = ("fits", "tight", "does not fit")


def verdict(task: Task) -> Verdict | None:
    """The worst verdict of a task's GPUs; None where nothing is known."""
    if task.memory is None or isinstance(task.memory, Unknown) or not task.memory:
        return None
    return worst(task.memory)


def worst(estimates: Sequence[Estimate]) -> Verdict:
    """The worst verdict of at least one estimate."""
    return max((estimate.verdict for estimate in estimates), key=ORDER.index)


def biggest(estimates: Sequence[Estimate]) -> Estimate:
    """The one that lacks the most."""
    return max(estimates, key=lambda estimate: (estimate.fault is not None, estimate.over()))


def words(estimate: Estimate) -> str:
    """The sum of one GPU's lines, and what there is: ``weights 65.7 + KV cache 1.3 = 67.0 GiB, and 39.4 are free``."""
    if estimate.fault:
        return estimate.fault
    inside = [line for line in estimate.lines if not line.outside]
    outside = [line for line in estimate.lines if line.outside]
    parts = [f"{line.name} {gib(line.bytes.expected)}" for line in inside if line.bytes.expected >= GIB // 100]
    text = f"{' + '.join(parts)} = {gib(estimate.inside.expected)} GiB"
    if estimate.budget is None:
        more = "".join(f" + {line.name} {gib(line.bytes.expected)}" for line in outside)
        return f"{text}{more}, and GPU {estimate.index} has {gib(estimate.room)} free"
    if estimate.inside.expected > estimate.budget:
        return f"{text}, and the engine allows itself {gib(estimate.budget)} of GPU {estimate.index}"
    rest = " + ".join(f"{line.name} {gib(line.bytes.expected)}" for line in outside)
    free = f"GPU {estimate.index} has {gib(estimate.room)} free"
    beside = f", beside it {rest}" if rest else ""
    return f"the engine fills {gib(estimate.budget)} GiB{beside}, and {free}"


def gib(size: float) -> str:
    """Bytes as GiB with one digit, and two below one."""
    amount = size / GIB
    return f"{amount:.1f}" if abs(amount) >= 0.95 else f"{amount:.2f}"
