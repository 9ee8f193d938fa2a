"""The name of an NVML call in, its answer out, or None where the driver, the card or this NVML does not give one."""

from __future__ import annotations

from typing import Any, NamedTuple

from mgpu.values.machine import Gpu


class Device(NamedTuple):
    """A GPU and NVML's handle of it; None for one that cannot be asked."""

    handle: Any
    gpu: Gpu


def ask(call: str, *arguments: Any) -> Any:
    """What NVML answers. A card without NVLink, an older driver or a GPU that is lost answers no call of some kind."""
    import pynvml

    try:
        return getattr(pynvml, call)(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError, AttributeError):
        return None
