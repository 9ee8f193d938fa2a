"""Say which machines hold a model, in which format and layout, how fast, and at what price."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mgpu.catalog.models import by_name, models
from mgpu.cli import source
from mgpu.errors import UsageError
from mgpu.plan import fit, guide, sums
from mgpu.plan.bill import sold_as
from mgpu.plan.fit import WAYS, Fitting, Wanted, Way
from mgpu.values.machine import Machine
from mgpu.values.memory import Unknown

if TYPE_CHECKING:
    from mgpu.catalog.prices import Prices

POLICIES = ("latency", "throughput", "capacity")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model; without one, a guide's table of sizes and GPUs, checked"
    )
    parser.add_argument(
        "--machine", dest="machines", action="append", default=[], metavar="MACHINE", help="only these machines"
    )
    parser.add_argument("--context", type=int, default=fit.CONTEXT, metavar="N", help="tokens of one request")
    parser.add_argument("--quantization", metavar="Q", help="only this format: bf16, fp8, awq-int4, Q4_K_M, ...")
    parser.add_argument("--policy", choices=POLICIES, default="latency", help="what layouts are chosen for")
    source.add_prices(parser)
    parser.add_argument("--online", action="store_true", help="ask the hub about a model that is not known here")
    parser.add_argument("--all", action="store_true", help="print every line")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    if options.model is None:
        return _guide(options)
    if options.context < 1:
        raise UsageError(f"--context {options.context} is no number of tokens", f"--context {fit.CONTEXT}")
    ways = _ways(options.quantization)
    wanted = Wanted(options.model, options.context, options.policy)
    found = _found(wanted, ways, options)
    prices = source.prices(options.prices)
    rows = [_row(one, prices) for one in found]
    rows.sort(key=_order)
    if options.json:
        import json

        print(json.dumps({"version": 1, "model": wanted.model, "prices": prices.date, "machines": rows}, indent=2))
        return 0
    print(_text(wanted, rows, prices.date, options))
    return 0


def _ways(form: str | None) -> Sequence[Way]:
    """What is tried: every way, or those that store the weights in this format."""
    if form is None:
        return WAYS
    from mgpu.catalog.formats import formats, gguf_mix
    from mgpu.spec.nearest import did_you_mean

    if gguf_mix(form) and form.lower() not in formats():
        return (Way("llamacpp", gguf_mix(form)),)
    if form.lower() not in formats():
        raise UsageError(f"{form!r} is no format of weights", did_you_mean(form, [*formats(), "Q4_K_M", "Q8_0"]))
    return (Way("vllm", form.lower()),)


def _found(wanted: Wanted, ways: Sequence[Way], options: argparse.Namespace) -> list[Fitting]:
    from mgpu.machine.file import resolve
    from mgpu.machine.models import attached

    here = attached(Machine("here"), [wanted.model], os.getcwd(), online=options.online)
    if not here.models and by_name(wanted.model) is None:
        from mgpu.spec.nearest import did_you_mean

        meant = did_you_mean(wanted.model, [model.id for model in models()])
        hint = f"{meant}; " if meant else ""
        raise UsageError(f"mgpu knows nothing of {wanted.model}", f"{hint}--online asks the hub; or name its folder")
    machines = [replace(resolve(text), models=here.models) for text in options.machines] or None
    return fit.everywhere(wanted, ways, machines, here.models)


def _order(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
    price = row["usd_per_hour"]
    return row["verdict"] == "does not fit", price is None, price or 0.0, row["machine"]


def _row(one: Fitting, prices: Prices) -> dict[str, Any]:
    """One line of the answer, as JSON has it: bytes, tokens, tokens/s, USD."""
    from mgpu.catalog.prices import per_million, together

    price = together([sold_as(gpu) for gpu in one.task.gpus], prices)
    million = per_million(price, one.speed.tokens_per_second) if price and one.speed else None
    memory = one.task.memory
    assert memory is not None
    assert not isinstance(memory, Unknown)
    largest = sums.biggest(memory)
    return {
        "machine": one.machine.name,
        "gpus": len(one.task.gpus),
        "engine": one.way.engine,
        "format": one.format,
        "repository": one.repository,
        "layout": one.task.layout._asdict(),
        "verdict": one.verdict,
        "needs_bytes": largest.total.expected,
        "room_bytes": largest.room if largest.budget is None else min(largest.room, largest.budget),
        "sum": sums.told(memory, one.task.layout),
        "cache_tokens": one.cache.tokens if one.cache else None,
        "tokens_per_second": one.speed.tokens_per_second if one.speed else None,
        "tokens_per_second_band": [one.speed.low, one.speed.high] if one.speed else None,
        "workload": str(one.workload) if one.workload else None,
        "usd_per_hour": price.usd_per_hour if price else None,
        "usd_per_million_tokens": million,
    }


SHOWN = 20
HEAD = ("machine", "USD/h", "format", "engine", "layout", "verdict", "GiB a GPU", "cache tokens", "tok/s", "USD/M tok")


def _text(wanted: Wanted, rows: list[dict[str, Any]], date: str, options: argparse.Namespace) -> str:
    """The table, cheapest first, and what its figures mean."""
    if not rows:
        return f"{wanted.model} fits on no machine that mgpu knows, up to {max(fit.COUNTS)} GPUs"
    shown = rows if options.all or options.machines else rows[:SHOWN]
    lines = list(_columns([HEAD, *map(_cells, shown)]))
    lines += [f"{row['machine']}: {row['sum']}" for row in shown if row["verdict"] == "does not fit"]
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown)} more, dearer or of no known price: --all")
    first = next((row for row in rows if row["verdict"] != "does not fit" and row["usd_per_hour"] is not None), None)
    lines.append("")
    if first:
        lines.append(
            f"the cheapest is {first['machine']} at {first['usd_per_hour']:.2f} USD an hour{_roomy(rows, first)}"
        )
    load = next((row["workload"] for row in rows if row["workload"]), None)
    lines.append(f"{wanted.context} tokens a request; tok/s: {load or 'not known'}, give or take a third")
    lines.append(f"prices of {date}: they move; --prices FILE takes yours")
    return "\n".join(lines)


def _roomy(rows: list[dict[str, Any]], first: dict[str, Any]) -> str:
    """Where the cheapest is tight, the cheapest that is not."""
    if first["verdict"] == "fits":
        return ""
    known = (row for row in rows if row["verdict"] == "fits" and row["usd_per_hour"] is not None)
    found = next(known, None)
    return f", but tight; with room {found['machine']} at {found['usd_per_hour']:.2f}" if found else ", but tight"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    layout = " x ".join(f"{name} {size}" for name, size in row["layout"].items() if size > 1) or "one GPU"
    hour, million = row["usd_per_hour"], row["usd_per_million_tokens"]
    speed, tokens = row["tokens_per_second"], row["cache_tokens"]
    return (
        row["machine"],
        "?" if hour is None else f"{hour:.2f}",
        row["format"],
        row["engine"],
        layout,
        row["verdict"],
        f"{sums.gib(row['needs_bytes'])} of {sums.gib(row['room_bytes'])}",
        "?" if tokens is None else f"{tokens:,}",
        "?" if speed is None else f"{speed:.0f}",
        "?" if million is None else f"{million:.2f}",
    )


RIGHT = frozenset((1, 7, 8, 9))
"""Columns of numbers."""


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) if at in RIGHT else cell.ljust(width)
                 for at, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        yield "  ".join(cells).rstrip()


def _guide(options: argparse.Namespace) -> int:
    """The guide's table, with what is true of each row."""
    rows = guide.checked(options.context)
    if options.json:
        import json

        print(json.dumps({"version": 1, "rows": [row._asdict() for row in rows]}, indent=2))
        return 0
    print("What a widely copied guide says, reckoned:\n")
    for row in rows:
        print(f"{'wrong' if row.wrong else 'right':<6} {row.says}\n         {row.found}")
        if row.instead:
            print(f"         {row.instead}")
    return 0
