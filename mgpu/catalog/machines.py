"""A shorthand as ``8xh100`` in, the Machine it means out: a count, a product, and links as that product has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from mgpu.catalog.gpus import Product, by_name, products
from mgpu.errors import UsageError
from mgpu.values.machine import Docker, Gpu, Link, Machine

SHORTHAND = re.compile(r"([0-9]{1,4})x([a-z0-9][a-z0-9 ._-]*)(?::(nvlink-pairs))?", re.IGNORECASE)
MOST = 1024
BOARD = 8
CUBE = frozenset(
    divmod(pair, 8) for pair in (1, 2, 3, 4, 0o12, 0o13, 0o15, 0o23, 0o26, 0o37, 0o45, 0o46, 0o47, 0o56, 0o57, 0o67)
)
"""Which of a DGX-1V's eight GPUs have NVLink to each other (NVIDIA DGX-1 with Tesla V100 whitepaper, figure 4)."""


def shorthand(text: str) -> Machine:
    """The machine that `text` means: nothing runs on it, and where it stands is not known (home and folder None).

    GPUs without NVLink between them are joined by PHB: through the host's PCIe, and that much is true of any board.
    Raises UsageError for what is no shorthand, or names no product of the catalogue.
    """
    found = SHORTHAND.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is neither a machine file nor a shorthand", "write a count and a GPU: 2xrtx-4090")
    count, product, pairs = int(found[1]), by_name(found[2]), bool(found[3])
    if product is None:
        raise UsageError(f"{found[2]!r} is no GPU of the catalogue", _meant(found[2]))
    if not 1 <= count <= MOST:
        raise UsageError(f"{text!r} has {count} GPUs", f"give a count from 1 to {MOST}")
    if pairs and product.nvlink != "bridge":
        raise UsageError(f"{product.id} takes no NVLink bridge", f"leave it out: {count}x{product.id}")
    name = f"{count}x{product.id}" + (":nvlink-pairs" if pairs else "")
    gpus = tuple(_gpu(index, product) for index in range(count))
    return Machine(name, gpus, tuple(_links(product, count, pairs)), docker=Docker())


def _meant(name: str) -> str:
    import difflib

    ids = [product.id for product in products()]
    close = (
        difflib.get_close_matches(name.lower(), ids, n=3, cutoff=0.5) or [i for i in ids if name.lower()[:2] in i][:3]
    )
    return f"did you mean {' or '.join(close)}?" if close else f"one of: {', '.join(ids)}"


def _gpu(index: int, product: Product) -> Gpu:
    return Gpu(
        index,
        product.name,
        product.memory,
        product.memory,
        product=product.id,
        compute_capability=product.compute_capability,
        mig=False,
        pcie_generation=product.pcie_generation,
        pcie_width=16,
    )


def _links(product: Product, count: int, pairs: bool) -> Iterator[Link]:
    for a, b in _together(count):
        if _nvlinked(product, a, b, pairs):
            yield Link(a, b, "NVLINK", 0, product.nvlink_bandwidth, True)
        else:
            yield Link(a, b, "PHB", 0, product.pcie_bandwidth, product.p2p)


def _together(count: int) -> Iterator[tuple[int, int]]:
    """The pairs of each board. How boards of eight are joined with each other, a shorthand does not say."""
    for first in range(0, count, BOARD):
        yield from combinations(range(first, min(first + BOARD, count)), 2)


def _nvlinked(product: Product, a: int, b: int, pairs: bool) -> bool:
    if product.nvlink == "switch":
        return True
    if product.nvlink == "cube":
        return (a % BOARD, b % BOARD) in CUBE
    return pairs and a // 2 == b // 2
