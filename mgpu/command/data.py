"""Plan and Commands in, plain data for JSON out. Secrets are named, never held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mgpu.command.text import named
from mgpu.plan import sums
from mgpu.values.command import Command
from mgpu.values.memory import Estimate, Line, Unknown
from mgpu.values.plan import Plan, Task

if TYPE_CHECKING:
    from mgpu.catalog.prices import Prices
    from mgpu.values.choice import Choice, Decision

VERSION = 1


def plain(
    plan: Plan, commands: tuple[Command, ...], prices: Prices | None = None, *, priced: bool = False
) -> dict[str, Any]:
    """The plan and its commands as JSON-ready data; where it is to be `priced`, with what it costs by `prices`, or else
    by the list that comes with mgpu."""
    return {
        "version": VERSION,
        "name": plan.name,
        "machine": plan.machine.name,
        **({"price": _bill(plan, prices)} if priced else {}),
        "tasks": [_task(task) for task in plan.tasks],
        "warnings": [problem.message for problem in plan.warnings],
        "commands": [command_data(command) for command in commands],
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "job": task.job.name,
        "engine": task.job.engine,
        "engine_version": task.version,
        "runtime": task.runtime,
        "gpus": [{"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name} for gpu in task.gpus],
        "gpu_count": task.gpu_count,
        "port": task.port,
        "layout": task.layout._asdict(),
        "split": list(task.split),
        "because": list(task.because),
        "verdict": sums.verdict(task),
        "memory": _memory(task.memory),
        "decision": _decision(task.decision),
    }


def _memory(memory: tuple[Estimate, ...] | Unknown | None) -> Any:
    """What is needed on each GPU, in bytes, with every line; or why that is not known."""
    if memory is None or isinstance(memory, Unknown):
        return {"unknown": memory.why, "hint": memory.hint} if memory else None
    return [_estimate(estimate) for estimate in memory]


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "gpu": estimate.index,
        "verdict": estimate.verdict,
        "fault": estimate.fault,
        "room": estimate.room,
        "budget": estimate.budget,
        "lines": [_line(line) for line in estimate.lines],
        "total": estimate.total._asdict(),
        "taken": estimate.taken._asdict(),
        "missing": max(0, estimate.over()),
        "cache": estimate.cache and {**estimate.cache._asdict(), "pool": estimate.cache.pool._asdict()},
    }


def _line(line: Line) -> dict[str, Any]:
    return {"name": line.name, **line.bytes._asdict(), "source": line.source, "why": line.why, "outside": line.outside}


def _decision(decision: Decision | None) -> dict[str, Any] | None:
    """How the layout was chosen, with those that were not taken."""
    if decision is None:
        return None
    return {
        "policy": decision.policy,
        "workload": _data(decision.workload),
        "chosen": decision.chosen and _choice(decision.chosen),
        "others": [_choice(other) for other in decision.others],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "layout": choice.layout._asdict(),
        "gpus": [gpu.index for gpu in choice.gpus],
        "verdict": choice.verdict,
        "why": choice.why,
        "speed": _data(choice.speed),
    }


def _bill(plan: Plan, prices: Prices | None) -> dict[str, Any] | None:
    """What all its GPUs cost."""
    from mgpu.plan.bill import bill

    found = bill(plan, prices)
    if found is None:
        return None
    price = found.price._asdict() if found.price else {"usd_per_hour": None, "unknown": found.missing}
    names = ("per_million", "cheapest", "dearest")
    return {**price, **{f"usd_{name}": getattr(found, name) for name in names}}


def command_data(command: Command) -> dict[str, Any]:
    """One command as JSON-ready data, with nothing of it left out but the values of secrets."""
    fields = {name: _data(getattr(command, name)) for name in command.__dataclass_fields__ if name != "lines"}
    return {**fields, "env": _data(dict(command.env))}


def _data(value: Any) -> Any:
    if isinstance(value, str):
        return named(value)
    if isinstance(value, Mapping):
        return {key: _data(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _data(value._asdict())
    if hasattr(value, "__dataclass_fields__"):
        return {name: _data(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (tuple, list)):
        return [_data(item) for item in value]
    return value
