"""Plan and Commands in, plain data for JSON out. Secrets are named, never held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgpu.command.text import named
from mgpu.values.command import Command
from mgpu.values.plan import Plan, Task

VERSION = 1


def plain(plan: Plan, commands: tuple[Command, ...]) -> dict[str, Any]:
    """The plan and its commands as JSON-ready data."""
    return {
        "version": VERSION,
        "name": plan.name,
        "machine": plan.machine.name,
        "tasks": [_task(task) for task in plan.tasks],
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
        "because": list(task.because),
    }


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
