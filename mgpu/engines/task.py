"""A task: any argv that runs until it is done, for the glue between jobs."""

from __future__ import annotations

from mgpu.values.engine import Engine

ENGINE = Engine(
    name="task",
    kinds=("task",),
    requires=frozenset(("command",)),
)
