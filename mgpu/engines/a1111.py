"""AUTOMATIC1111's stable-diffusion-webui. Facts of its level 1.10 (f4cb21bb, and e26abf87 of Forge's history)."""

from __future__ import annotations

from mgpu.memory import estimates_of
from mgpu.values.engine import Engine
from mgpu.values.webui import OWNED, SPELLING, check, environment, probe, variables

ENGINE = Engine(
    name="a1111",
    kinds=("inference",),
    version="1.10.1",
    port=7860,
    takes=frozenset(("args", "version")),
    lists={"args": "a1111"},
    owned=OWNED | {"device-id": "gpus"},
    spelling=SPELLING,
    check=check,
    probe=probe,
    variables=variables,
    environment=environment,
    memory=estimates_of("diffusion"),
)
