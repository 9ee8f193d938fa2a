"""stable-diffusion-webui-forge. Facts read at dfdcbab6 (2025-06-26): A1111's server with a memory manager of its own.

It reads the flag --device-id and does nothing with it; its own is --gpu-device-id. mgpu gives neither.
"""

from __future__ import annotations

from mgpu.memory import estimates_of
from mgpu.values.engine import Engine
from mgpu.values.webui import OWNED, SPELLING, check, environment, probe, variables

ENGINE = Engine(
    name="forge",
    kinds=("inference",),
    version="2025.06.26",
    port=7860,
    takes=frozenset(("args", "version")),
    lists={"args": "forge"},
    owned=OWNED | {"device-id": "gpus", "gpu-device-id": "gpus"},
    spelling=SPELLING,
    check=check,
    probe=probe,
    variables=variables,
    environment=environment,
    memory=estimates_of("diffusion"),
)
