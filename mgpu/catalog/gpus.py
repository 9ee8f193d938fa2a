"""The GPUs that mgpu knows: a name in, the product's facts out (gpus.json; sources stand there beside each row)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

MIB = 2**20
MAKERS = frozenset(("nvidia", "geforce", "tesla", "rtx"))


class Product(NamedTuple):
    """A GPU as sold. `memory` is what CUDA can give out (bytes); `bandwidth` of its memory, `nvlink_bandwidth` (of all
    its `nvlinks` together) and `pcie_bandwidth` in GB/s, the latter two per direction; `nvlink` is how several are
    joined: switch, cube, bridge, none; `p2p` whether the driver allows it over PCIe, None where the board decides.
    `tflops` are dense rates by the format of the numbers (bf16, fp16, fp8, fp4) that its tensor cores have."""

    id: str
    name: str
    nvml_names: tuple[str, ...]
    aliases: tuple[str, ...]
    architecture: str
    compute_capability: tuple[int, int]
    memory: int
    bandwidth: float
    nvlink: str
    nvlinks: int
    nvlink_bandwidth: float | None
    pcie_generation: int
    pcie_bandwidth: float
    p2p: bool | None
    tflops: Mapping[str, float] = MappingProxyType({})


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("gpus.json").read_text("utf-8"))
    return data


@lru_cache(maxsize=1)
def products() -> tuple[Product, ...]:
    """Every product of the catalogue."""
    return tuple(_product(row) for row in _data()["gpus"])


def cube() -> dict[tuple[int, int], int]:
    """The NVLinks between the eight GPUs of a hybrid cube mesh, by pairs of indices."""
    return {(a, b): lanes for a, b, lanes in _data()["cube"]["links"]}


def pcie_bandwidth(generation: int | None, width: int | None) -> float | None:
    """GB/s per direction that a PCIe slot can carry at most, or None for a generation that is not known."""
    full = _data()["pcie_GBps_per_direction"].get(str(generation))
    return None if full is None or width is None else full * width / 16


def rated_power(product: str | None) -> float | None:
    """The watts that a product is rated for (TDP), by its id."""
    return next((float(row["tdp_W"]) for row in _data()["gpus"] if row["id"] == product), None)


def usable(total: int) -> int:
    """What CUDA can give out of `total` bytes where the driver's share is not known (gpus.json, conventions)."""
    return total - min(total // 50, max(490 * MIB, total * 6 // 1000))


def _product(row: dict[str, Any]) -> Product:
    cuda = row["cuda_total_MiB"]
    major, minor = row["compute_capability"].split(".")
    nvlink = row["nvlink_GBps_bidirectional"]
    return Product(
        row["id"],
        row["nvml_names"][0],
        tuple(row["nvml_names"]),
        tuple(row["aliases"]),
        row["architecture"],
        (int(major), int(minor)),
        (cuda or usable(row["nvml_total_MiB"] * MIB) // MIB) * MIB,
        row["mem_bandwidth_GBps"],
        row["nvlink"],
        row["nvlinks"] or 0,
        nvlink / 2 if nvlink else None,
        row["pcie_gen"],
        _data()["pcie_GBps_per_direction"][str(row["pcie_gen"])],
        row["p2p_over_pcie"],
        {name: rate for name, rate in row["tflops_dense"].items() if rate},
    )


@lru_cache(maxsize=1024)
def by_name(name: str) -> Product | None:
    """The product that `name` means: its id, an alias or the driver's name, in any case and order of the parts.

    The memory may be given beside a name that needs none, if it is right: ``h100-80gb``, ``rtx4090-24gb``.
    """
    parts = plain(name)
    sizes = [part for part in parts if part.isdigit() and len(part) < 4]
    found = _spellings().get(parts)
    if found or len(sizes) != 1:
        return found
    product = _spellings().get(parts - {sizes[0]})
    right = product and abs(product.memory / 2**30 / int(sizes[0]) - 1) < 0.12
    return product if right else None


def by_nvml_name(name: str, total: int | None = None) -> Product | None:
    """The product whose driver calls it `name` and, where it is given, that has about `total` bytes."""
    for product in products():
        if name in product.nvml_names or f"NVIDIA {name}" in product.nvml_names:
            return product if total is None or abs(total / product.memory - 1) < 0.2 else None
    return None


@lru_cache(maxsize=1)
def _spellings() -> dict[frozenset[str], Product]:
    known: dict[frozenset[str], Product] = {}
    for product in products():
        for name in (product.id, *product.aliases, *product.nvml_names):
            known.setdefault(plain(name), product)
    return known


def plain(name: str) -> frozenset[str]:
    """The parts of a name that tell products apart: the same for ``a100-80gb-sxm`` and ``NVIDIA A100-SXM4-80GB``."""
    apart = re.sub(r"(nvidia|geforce|tesla|rtx|pro)", r" \1 ", name.lower())
    apart = re.sub(r"([0-9]{4})(ti|ada)", r"\1 \2", apart)
    parts = re.findall(r"[a-z0-9]+", apart)
    return frozenset(re.sub(r"^(sxm)\d$|^(\d+)gb$", r"\1\2", part) for part in parts if part not in MAKERS)
