"""Say which machines hold a model, in which format and layout, how fast, and at what price."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mgpu.catalog.models import by_name, models
from mgpu.cli import source
from mgpu.errors import UsageError
from mgpu.plan import fit, guide, sums
from mgpu.plan.bill import sold_as
from mgpu.plan.fit import WAYS, Fitting, Wanted, Way
from mgpu.plan.reasons import named
from mgpu.spec.language import POLICIES
from mgpu.values.machine import Machine
from mgpu.values.memory import Unknown
from mgpu.values.plan import Layout

if TYPE_CHECKING:
    from mgpu.catalog.prices import Prices


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
        if options.machines or options.quantization:
            said = "--machine" if options.machines else "--quantization"
            raise UsageError(f"{said} wants a model", f"mgpu fit llama-3.1-8b {said} ...")
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
    else:
        width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
        print(text(wanted, rows, prices.date, width, everything=bool(options.all or options.machines)))
    return int(all(row["verdict"] == "does not fit" for row in rows))


def _ways(form: str | None) -> Sequence[Way]:
    """What is tried: every way, or those that store the weights in this format."""
    if form is None:
        return WAYS
    from mgpu.catalog.formats import formats, gguf_mix
    from mgpu.spec.nearest import did_you_mean

    if gguf_mix(form) and form.lower() not in formats():
        return (Way("llamacpp", gguf_mix(form)),)
    if form.lower() not in formats():
        known = (*formats(), "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")
        kin = [name for name in known if name.lower().startswith(form.lower())]
        hint = f"did you mean {' or '.join(kin)}?" if kin else did_you_mean(form, known)
        raise UsageError(f"{form!r} is no format of weights", hint)
    return (Way("vllm", form.lower()),)


def _found(wanted: Wanted, ways: Sequence[Way], options: argparse.Namespace) -> list[Fitting]:
    from mgpu.machine.file import resolve
    from mgpu.machine.models import attached

    here = attached(Machine("here"), [wanted.model], os.getcwd(), online=options.online)
    for note in here.notes:
        print(f"mgpu: {note}", file=sys.stderr)
    model = dict(here.models).get(wanted.model) or by_name(wanted.model)
    if model is None:
        hint = f"{_meant(wanted.model)}--online asks the hub, and a folder is read for its config.json or GGUF files"
        raise UsageError(f"the sizes of {wanted.model} are not known", hint)
    if model.kind != "llm":
        raise UsageError(f"{model.id} is no language model, and fit tries vLLM and llama.cpp", "mgpu plan SPEC")
    if model.context and wanted.context > model.context:
        message = f"{wanted.context:,} tokens are more than the {model.context:,} that {model.id} is made for"
        print(f"mgpu: {message}: vLLM refuses them unless it is told otherwise", file=sys.stderr)
    machines = [replace(resolve(text), models=here.models) for text in options.machines] or None
    return fit.everywhere(wanted, ways, machines, here.models)


def _meant(name: str) -> str:
    """The models of the catalogue whose names begin like this one, else the nearest, as the start of a hint."""
    from mgpu.spec.nearest import nearest

    ids = [model.id for model in models()]
    start = _letters(name.rpartition("/")[2])
    kin = [known for known in ids if start and _letters(known).startswith(start)][:MEANT]
    close = nearest(name, ids)
    found = kin or ([close] if close else [])
    return f"did you mean {' or '.join(found)}? " if found else ""


MEANT = 5


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


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
    budget = largest.budget
    return {
        "machine": one.machine.name,
        "gpus": len(one.task.gpus),
        "engine": one.way.engine,
        "format": one.format,
        "repository": one.repository,
        "layout": one.task.layout._asdict(),
        "verdict": one.verdict,
        "needs_bytes": largest.total.expected if budget is None else largest.inside.expected,
        "room_bytes": largest.room if budget is None else budget,
        "sum": sums.told(memory, one.task.layout),
        "cache_tokens": one.cache.tokens if one.cache else None,
        "longest_context": one.longest,
        "tokens_per_second": one.speed.tokens_per_second if one.speed else None,
        "tokens_per_second_band": [one.speed.low, one.speed.high] if one.speed else None,
        "workload": str(one.workload) if one.workload else None,
        "usd_per_hour": price.usd_per_hour if price else None,
        "usd_per_million_tokens": million,
    }


SHOWN = 20
HEAD = ("machine", "USD/h", "format", "engine", "layout", "verdict", "GiB a GPU", "context up to", "tok/s", "USD/M tok")
RIGHT = frozenset((1, 7, 8, 9))
"""Columns of numbers."""
SPARED = (9, 6, 7, 3)
"""Columns that a narrow terminal does without, the first that goes first."""


def text(wanted: Wanted, rows: list[dict[str, Any]], date: str, width: int | None, *, everything: bool) -> str:
    """The table, cheapest first, in `width` columns (None: as wide as it is), and what its figures mean."""
    if not rows:
        return f"{wanted.model} fits on no machine that mgpu knows, up to {max(fit.COUNTS)} GPUs"
    shown = rows if everything else rows[:SHOWN]
    table = [HEAD, *map(_cells, shown)]
    kept = _kept(table, width)
    below = [f"{row['machine']}: {row['sum']}" for row in shown if row["verdict"] == "does not fit"]
    if len(rows) > len(shown):
        below.append(f"... and {len(rows) - len(shown)} more, dearer or of no known price: --all")
    below += ["", *_cheapest(rows)]
    load = next((row["workload"] for row in rows if row["workload"]), None)
    speed = f"; tok/s: {load}, give or take a third" if load else ""
    below.append(f"{wanted.context:,} tokens a request{speed}")
    if HEAD.index("GiB a GPU") in kept:
        below.append("GiB a GPU: what is needed, of what the engine may use")
    below.append(f"prices of {date}: they move; --prices FILE takes yours")
    if len(kept) < len(HEAD):
        left = ", ".join(name for at, name in enumerate(HEAD) if at not in kept)
        below.append(f"no room here for {left}: a wider terminal has them, and --json")
    wrapped = [part for line in below for part in (textwrap.wrap(line, width) if width and line else [line])]
    return "\n".join([*_columns(table, kept), *wrapped])


def _cheapest(rows: list[dict[str, Any]]) -> list[str]:
    """The sentence that names the machine to take: what is tight only where nothing fits for sure, or beside it."""
    priced = [row for row in rows if row["usd_per_hour"] is not None]
    firsts = [next((row for row in priced if row["verdict"] == verdict), None) for verdict in ("fits", "tight")]
    fits, tight = (
        (row, f"{row['machine']} at {row['usd_per_hour']:.2f} USD an hour") if row else None for row in firsts
    )
    if fits and tight and tight[0]["usd_per_hour"] < fits[0]["usd_per_hour"]:
        return [f"the cheapest that fits is {fits[1]}; {tight[1]} is tight"]
    if fits:
        return [f"the cheapest that fits is {fits[1]}"]
    return [f"none fits for sure; the cheapest that is tight is {tight[1]}"] if tight else []


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    layout = named(Layout(**row["layout"]))
    hour, million = row["usd_per_hour"], row["usd_per_million_tokens"]
    speed, tokens = row["tokens_per_second"], row["longest_context"]
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


def _kept(rows: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """The columns that `width` has room for."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    kept = list(range(len(HEAD)))
    for at in SPARED:
        if width is None or sum(widths[at] for at in kept) + 2 * (len(kept) - 1) <= width:
            break
        kept.remove(at)
    return kept


def _columns(rows: Sequence[Sequence[str]], kept: Sequence[int]) -> Iterable[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    for row in rows:
        cells = [f"{row[at]:{'>' if at in RIGHT else '<'}{widths[at]}}" for at in kept]
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
