"""A shorthand as ``8xh100`` in, the Machine it means out: a count, a product, and links as that product has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from mgpu.catalog.gpus import Product, by_name, cube, plain, products
from mgpu.errors import UsageError
from mgpu.values.machine import Docker, Gpu, Link, Machine

SHORTHAND = re.compile(r"([0-9]{1,9}) ?x ?([a-z0-9][a-z0-9 ._-]*)(?::([a-z0-9-]+))?", re.IGNORECASE)
MOST = 1024
BOARD = 8
"""GPUs that share a board: how several boards of one machine are joined, a shorthand does not say."""
PAIRS = "nvlink-pairs"


def shorthand(text: str) -> Machine:
    """The machine that `text` means: nothing runs on it, and where it stands is not known (home and folder None).

    GPUs without NVLink between them are joined by PHB: through the host's PCIe, and that much is true of any board.
    Raises UsageError for what is no shorthand, or names no product of the catalogue.
    """
    found = SHORTHAND.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"{text!r} is neither a machine file nor a shorthand", f"write a count and a GPU: {_once(text)}"
        )
    product = by_name(found[2])
    if product is None:
        raise UsageError(f"{found[2]!r} is no GPU of the catalogue", _meant(found[2]))
    pairs = _joined(product, found[3], f"{found[1]}x{product.id}")
    count = int(found[1])
    if not 1 <= count <= MOST:
        raise UsageError(f"{text!r} has {count} GPUs", f"give a count from 1 to {MOST:,}: 1x{product.id}")
    name = f"{count}x{product.id}" + (f":{PAIRS}" if pairs else "")
    gpus = tuple(_gpu(index, product) for index in range(count))
    return Machine(name, gpus, tuple(_links(product, count, pairs)), docker=Docker(gpus=True))


def _once(text: str) -> str:
    """A shorthand as it is written, of a GPU without a count or with the count behind it where `text` is one."""
    word = text.strip().lower()
    turned = re.fullmatch(r"(.+?) ?[x*] ?([0-9]{1,4})", word)
    if turned and by_name(turned[1]):
        return f"{turned[2]}x{turned[1]}"
    return f"1x{word}" if by_name(word) else "2xrtx-4090"


def _joined(product: Product, word: str | None, without: str) -> bool:
    """Whether `word` asks for bridges between pairs."""
    if word is None:
        return False
    if word.lower() != PAIRS:
        raise UsageError(f"{word!r} is no way to join GPUs", f"leave it out, or write {without}:{PAIRS}")
    if product.nvlink != "bridge":
        what = "has NVLink without saying so" if product.nvlink in ("switch", "cube") else "takes no NVLink bridge"
        raise UsageError(f"{product.id} {what}", f"leave it out: {without}")
    return True


def _meant(name: str) -> str:
    import difflib

    parts = plain(name)
    ids = [product.id for product in products()]
    kin = [name for name in sorted(ids, key=lambda name: -len(parts & plain(name))) if parts & plain(name)]
    close = kin[:3] or difflib.get_close_matches(name.lower(), ids, n=3, cutoff=0.5)
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
    joined = _nvlinks(product, pairs)
    one = product.nvlink_bandwidth / product.nvlinks if product.nvlink_bandwidth else 0.0
    for first in range(0, count, BOARD):
        for a, b in combinations(range(min(BOARD, count - first)), 2):
            nvlinks = joined.get((a, b), 0)
            if nvlinks:
                yield Link(first + a, first + b, "NVLINK", nvlinks, one * nvlinks, True)
            else:
                yield Link(first + a, first + b, "PHB", 0, product.pcie_bandwidth, product.p2p)


def _nvlinks(product: Product, pairs: bool) -> dict[tuple[int, int], int]:
    """How many NVLinks join which GPUs of a board. Through a switch each pair can use all that a GPU has."""
    if product.nvlink == "cube":
        return cube()
    whole = product.nvlink == "switch"
    return {(a, b): product.nvlinks for a, b in combinations(range(BOARD), 2) if whole or (pairs and a // 2 == b // 2)}
