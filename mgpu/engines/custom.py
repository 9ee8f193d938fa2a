"""Any program at all as a server or a training job, so that nobody waits for a release: an argv, and an image if boxed."""

from __future__ import annotations

from mgpu.values.engine import Engine

ENGINE = Engine(
    name="custom",
    kinds=("inference", "training"),
    takes=frozenset(("model", "parallel", "version")),
    requires=frozenset(("command",)),
    dimensions=("tensor", "pipeline", "data", "expert"),
)
