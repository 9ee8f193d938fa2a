"""GPUs in, what the slowest of them can do out: a tensor parallel group waits for it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mgpu.plan.collective import product_of
from mgpu.values.machine import Gpu

FORMATS = {"fp8": "fp8", "fp8-block": "fp8", "int8": "fp8", "nvfp4": "fp4"}
"""The rate that a format is reckoned at, where the card has it; what only stores weights small reckons in 16 bits."""


class Card(NamedTuple):
    """A GPU: `bandwidth` of its memory in bytes/s, operations a second by the format of the numbers."""

    bandwidth: float
    bf16: float
    fp16: float
    fp8: float
    fp4: float

    def rate(self, stored: str, half: bool = False) -> float:
        """Operations a second with weights in this format; `half`: sums are kept in 16 bits too."""
        kind = FORMATS.get(stored, "fp16" if half else "bf16")
        return {"fp4": self.fp4, "fp8": self.fp8, "fp16": self.fp16, "bf16": self.bf16}[kind]


def slowest(group: tuple[Gpu, ...]) -> Card | None:
    """The least of everything that the GPUs of a group have; None where one is not known."""
    cards = [_card(gpu.product, gpu.name) for gpu in group]
    known = [card for card in cards if card]
    if not known or len(known) < len(cards):
        return None
    return known[0] if len(set(known)) == 1 else Card(*(min(column) for column in zip(*known, strict=True)))


@lru_cache(maxsize=128)
def _card(product: str | None, name: str) -> Card | None:
    found = product_of(Gpu(0, name, 0, 0, product=product))
    if found is None:
        return None
    rates = {kind: rate * 1e12 for kind, rate in found.tflops.items()}
    sixteen = rates.get("bf16") or rates.get("fp16") or 0.0
    eight = rates.get("fp8") or sixteen
    if not sixteen:
        return None
    half = rates.get("fp16") or sixteen
    return Card(found.bandwidth * 1e9, sixteen, half, eight, rates.get("fp4") or eight)
