"""The GPUs that mgpu knows: a name in, the product's facts out (gpus.json; sources stand there beside each row)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

MIB = 2**20
RESERVED = 0.02, 0.006
"""The driver's share of a card's memory where CUDA's own total is not known: below and above 40 GiB (gpus.json)."""


class Product(NamedTuple):
    """A GPU as sold. `memory` is what CUDA can give out (bytes); `bandwidth` of its memory, `nvlink_bandwidth` and
    `pcie_bandwidth` in GB/s, the latter two per direction; `nvlink` is how several of them are joined: switch, cube,
    bridge or none."""

    id: str
    name: str
    nvml_names: tuple[str, ...]
    aliases: tuple[str, ...]
    architecture: str
    compute_capability: tuple[int, int]
    memory: int
    bandwidth: float
    nvlink: str
    nvlink_bandwidth: float | None
    pcie_generation: int
    pcie_bandwidth: float
    p2p: bool


@lru_cache(maxsize=1)
def products() -> tuple[Product, ...]:
    """Every product of the catalogue."""
    data = json.loads(Path(__file__).with_name("gpus.json").read_text("utf-8"))
    return tuple(_product(row, data["pcie_GBps_per_direction"]) for row in data["gpus"])


def _product(row: dict[str, Any], pcie: dict[str, float]) -> Product:
    total = row["nvml_total_MiB"]
    usable = row["cuda_total_MiB"] or int(total * (1 - RESERVED[total > 40 * 1024]))
    major, minor = row["compute_capability"].split(".")
    nvlink = row["nvlink_GBps_bidirectional"]
    return Product(
        row["id"],
        row["nvml_names"][0],
        tuple(row["nvml_names"]),
        tuple(row["aliases"]),
        row["architecture"],
        (int(major), int(minor)),
        usable * MIB,
        row["mem_bandwidth_GBps"],
        row["nvlink"],
        nvlink / 2 if nvlink else None,
        row["pcie_gen"],
        pcie[str(row["pcie_gen"])],
        row["p2p_over_pcie"],
    )


def spellings() -> dict[str, Product]:
    """Every name that a product goes by, in plain form: ids and aliases, also with their parts in another order."""
    known: dict[str, Product] = {}
    for product in products():
        for name in (product.id, *product.aliases):
            known.setdefault(plain(name), product)
    return known


def plain(name: str) -> str:
    """A name with its parts sorted, so that ``a100-80gb-sxm`` and ``A100-SXM4-80GB`` are the same."""
    parts = re.findall(
        r"[0-9]+gb|[a-z]*[0-9]+[a-z]*|[a-z]+", name.lower().replace("rtx-", "rtx").replace("rtx ", "rtx")
    )
    known = {"sxm2": "sxm", "sxm4": "sxm", "sxm5": "sxm"}
    return "-".join(
        sorted(known.get(part, part).removesuffix("gb") for part in parts if part not in ("nvidia", "geforce"))
    )


def by_name(name: str) -> Product | None:
    """The product that `name` means, by id or alias, in any case and order of its parts."""
    return spellings().get(plain(name))


def by_nvml_name(name: str) -> Product | None:
    """The product whose driver calls it `name`."""
    return next((product for product in products() if name in product.nvml_names), None)
