"""Any program at all as a server or a training job, so that nobody waits for a release."""

from __future__ import annotations

from mgpu.values.engine import Engine

ENGINE = Engine(
    name="custom",
    kinds=("inference", "training"),
    requires=frozenset(("command",)),
)
