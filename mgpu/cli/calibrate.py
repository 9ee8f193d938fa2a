"""Keep what the boot log of a server shows of memory, for the plans of this host."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mgpu.errors import UsageError

if TYPE_CHECKING:
    from mgpu.memory.bootlog import BootLog
    from mgpu.values.memory import Correction

LONGEST = 64 * 2**20
"""Bytes that are read of a log, from its beginning: a start stands there."""
HINT = "a log of vLLM, SGLang or llama-server, from its start on; vLLM says most with VLLM_LOGGING_LEVEL=DEBUG"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log", metavar="LOG", help="a file with what the server wrote at its start; - is standard input"
    )
    parser.add_argument("--gpu", metavar="NAME", help="the GPU that it ran on; left out: the one of this host")
    parser.add_argument("--version", metavar="VERSION", help="the engine's, where the log does not say it")
    parser.add_argument("--dry-run", action="store_true", help="only show what the log says")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    from mgpu.memory.bootlog import corrections, read

    found = read(_text(options.log))
    if found is None or not found.figures:
        raise UsageError(f"{options.log} says nothing of memory", HINT)
    found = found._replace(version=found.version or options.version)
    product = _product(_named(options.gpu) or found.product)
    kept = corrections(found, product, "" if options.log == "-" else Path(options.log).name)
    if not options.dry_run and kept:
        from mgpu.machine.measured import keep_corrections

        keep_corrections(kept)
    _print(found, product, kept, options)
    return 0


def _text(name: str) -> str:
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as file:
            return file.read(LONGEST).decode("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None


def _named(given: str | None) -> str | None:
    """The GPU of --gpu, which the catalogue must know: what is kept under another name no plan would find."""
    from mgpu.catalog.gpus import by_name, products
    from mgpu.spec.nearest import did_you_mean

    if given and by_name(given) is None:
        hint = did_you_mean(given, [product.id for product in products()])
        raise UsageError(f"{given!r} is no GPU of the catalogue", hint or "--gpu h100-sxm")
    return given


def _product(given: str | None) -> str:
    """The product's id where the catalogue knows it, as plans name it. Raises UsageError where nothing says it."""
    from mgpu.catalog.gpus import by_name

    if given:
        known = by_name(given)
        return known.id if known else given
    from mgpu.machine.snapshot import read

    names = {gpu.product or gpu.name for gpu in read(".").gpus}
    if len(names) != 1:
        seen = ", ".join(sorted(names)) or "none"
        raise UsageError(f"the log does not say which GPU it ran on, and this host has {seen}", "--gpu h100-sxm")
    return names.pop()


def _print(found: BootLog, product: str, kept: Sequence[Correction], options: argparse.Namespace) -> None:
    if options.json:
        import json

        figures = {"figures": dict(found.figures), "kept": [] if options.dry_run else [one._asdict() for one in kept]}
        print(json.dumps({**found._asdict(), "product": product, **figures}, indent=2, ensure_ascii=False))
        return
    layout = f"tensor {found.tensor}, pipeline {found.pipeline}"
    print(f"{found.engine} {found.version or '(version not said)'} on {product}, {layout}")
    lines = {one.line for one in kept}
    for line, size in found.figures.items():
        what = "" if line not in lines else "  kept" if not options.dry_run else "  would be kept"
        print(f"  {line:<16} {size / 2**30:8.2f} GiB{what}")
    if not kept:
        print("nothing of it holds for other models: nothing was kept")
