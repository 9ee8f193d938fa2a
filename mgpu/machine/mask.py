"""An inherited CUDA_VISIBLE_DEVICES and the GPUs of the host in, the GPUs that it leaves and a note about it out.

The rules are CUDA's own, as driver 580 carries them out: entries end at the first that names no GPU, a GPU named twice
hides them all, an index may have anything behind it, and a UUID may be cut short but not be ambiguous.
"""

from __future__ import annotations

import re

from mgpu.values.machine import Gpu

INDEX = re.compile(r"\s*[+-]?[0-9]+")


def left(mask: str, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """The GPUs that a process with CUDA_VISIBLE_DEVICES=`mask` could use, in its order. Indices count by bus id."""
    words = mask.split(",")
    named = _by_uuid if words[0].startswith("GPU-") else _by_index
    found: list[Gpu] = []
    for word in words:
        gpu = named(word, gpus)
        if gpu is None:
            break
        if gpu in found:
            return ()
        found.append(gpu)
    return tuple(found)


def note(mask: str, gpus: tuple[Gpu, ...]) -> str:
    """What the mask means for mgpu, in words."""
    kept = ", ".join(str(gpu.index) for gpu in left(mask, gpus))
    if not kept:
        return f"CUDA_VISIBLE_DEVICES={mask!r} leaves no GPU: unset it, or name GPUs that are there"
    counted = "" if mask.startswith("GPU-") else ", counted in the order of bus ids"
    return f"CUDA_VISIBLE_DEVICES={mask} bounds mgpu to GPU {kept}{counted}"


def _by_index(word: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    number = INDEX.match(word)
    return next((gpu for gpu in gpus if number and gpu.index == int(number[0])), None)


def _by_uuid(word: str, gpus: tuple[Gpu, ...]) -> Gpu | None:
    start = word.rstrip().lower()
    found = [gpu for gpu in gpus if len(start) > len("GPU-") and (gpu.uuid or "").lower().startswith(start)]
    return found[0] if len(found) == 1 and word.startswith("GPU-") else None
