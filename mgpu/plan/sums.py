"""Estimates in, the words for them out: the sum that a person can check, and the verdict of a whole task."""

from __future__ import annotations

from collections.abc import Sequence

from mgpu.values.memory import GIB, Estimate, Unknown, Verdict
from mgpu.values.model import Model
from mgpu.values.plan import Layout, Task

ORDER: tuple[Verdict, ...] = ("fits", "tight", "does not fit")
WEIGHTS = "weights"


def verdict(task: Task) -> Verdict | None:
    """The worst verdict of a task's GPUs; None where nothing is known."""
    return verdict_of(task.memory)


def verdict_of(memory: tuple[Estimate, ...] | Unknown | None) -> Verdict | None:
    """The worst verdict of what is known of several GPUs."""
    return None if not memory or isinstance(memory, Unknown) else worst(memory)


def worst(estimates: Sequence[Estimate]) -> Verdict:
    """The worst verdict of at least one estimate."""
    return max((estimate.verdict for estimate in estimates), key=ORDER.index)


def biggest(estimates: Sequence[Estimate]) -> Estimate:
    """The one that lacks the most."""
    return max(estimates, key=lambda estimate: (estimate.fault is not None, estimate.over()))


def told(estimates: Sequence[Estimate], layout: Layout) -> str:
    """The sum of the GPU that lacks the most, and where several share a copy of the model also how much its weights are
    in all: ``weights 94.5 (756.3 in all) + KV cache 0.49 = 95.0 GiB, ...``."""
    one = biggest(estimates)
    if one.budget is None and one.verdict != "does not fit":
        return f"{gib(one.total.expected)} of {_room(one, ' GiB')}"
    whole = shared(estimates, layout)
    return words(one, whole if whole > 1.05 * _weights(one) else None)


def shared(estimates: Sequence[Estimate], layout: Layout) -> float:
    """Bytes of the weights of one copy of the model, on all GPUs that tensor and pipeline parallelism share it among;
    0 without estimates."""
    return sum(map(_weights, estimates)) * layout.tensor * layout.pipeline / max(1, len(estimates))


def _weights(estimate: Estimate) -> int:
    return sum(line.bytes.expected for line in estimate.lines if line.name == WEIGHTS)


def longest(estimates: Sequence[Estimate], model: Model | None) -> int | None:
    """Tokens of the longest sequence that all of the GPUs have room for, and that the model knows."""
    rooms = [room for estimate in estimates if (room := estimate.longest) is not None]
    known = [model.context] if model and model.context else []
    return min(rooms + known) if rooms else None


def words(estimate: Estimate, whole: float | None = None) -> str:
    """The sum of one GPU's lines, and what there is: ``weights 65.7 + KV cache 1.3 = 67.0 GiB, and 39.4 are free``.
    `whole` are the bytes of weights that it has a part of."""
    if estimate.fault:
        return estimate.fault
    inside = [line for line in estimate.lines if not line.outside]
    outside = [line for line in estimate.lines if line.outside]
    all_ = f" ({gib(whole)} in all)" if whole else ""
    parts = [
        f"{line.name} {gib(line.bytes.expected)}{all_ if line.name == WEIGHTS else ''}"
        for line in inside
        if line.bytes.expected >= GIB // 100
    ]
    text = f"{' + '.join(parts)} = {gib(estimate.inside.expected)} GiB"
    free = f"GPU {estimate.index} has {gib(estimate.room)} free"
    if estimate.shared:
        free = f"the share of GPU {estimate.index} is {gib(estimate.room)}"
    if estimate.budget is None:
        more = "".join(f" + {line.name} {gib(line.bytes.expected)}" for line in outside)
        return f"{text}{more}, and {free}"
    if estimate.inside.expected > estimate.budget:
        allowed = f"{gib(estimate.budget)} of {_room(estimate)}"
        return f"{text}, and the engine allows itself {allowed}"
    rest = " + ".join(f"{line.name} {gib(line.bytes.expected)}" for line in outside)
    beside = f", beside it {rest}" if rest else ""
    return f"the engine fills {gib(estimate.budget)} GiB{beside}, and {free}"


def _room(estimate: Estimate, unit: str = "") -> str:
    """What there is for the task, in words."""
    where = f"shared GPU {estimate.index}" if estimate.shared else f"GPU {estimate.index}"
    return f"the {gib(estimate.room)}{unit} {'of' if estimate.shared else 'free on'} {where}"


def gib(size: float) -> str:
    """Bytes as GiB with one digit, and two below one."""
    amount = size / GIB
    return f"{amount:.1f}" if abs(amount) >= 0.95 else f"{amount:.2f}"
