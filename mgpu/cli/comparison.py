"""Plans of one spec on several machines in, a table to compare them out, and which is the cheapest that fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mgpu.catalog.prices import Prices
from mgpu.cli.drawing import PAINT, money, speed_of
from mgpu.plan import sums
from mgpu.plan.bill import bill
from mgpu.plan.reasons import named
from mgpu.values.memory import GIB, Unknown
from mgpu.values.plan import Plan

HEADS = ("MACHINE", "GPUS", "LAYOUT", "VERDICT", "GiB A GPU", "CONTEXT", "TOKENS/S", "USD/h", "USD/M")
RIGHT = frozenset((1, 4, 5, 6, 7, 8))
"""The columns of numbers."""


class Row(NamedTuple):
    """A machine in the table; `plan` is None where the spec has no place there, and `why` then says so."""

    machine: str
    plan: Plan | None
    why: str = ""


def compared(rows: Sequence[Row], width: int | None = None, prices: Prices | None = None, *, colour: bool = False
             ) -> list[str]:  # fmt: skip
    """The table; where `width` is too little for it, in two. Below it the cheapest machine that fits."""
    cells = [_cells(row, prices) for row in rows]
    widths = [max(len(line[at]) for line in (HEADS, *cells)) for at in range(len(HEADS))]
    wide = not width or sum(widths) + 2 * (len(HEADS) - 1) <= width
    parts = [range(len(HEADS))] if wide else [range(5), (0, *range(5, len(HEADS)))]
    tables = [[_line(line, widths, part, colour) for line in (HEADS, *cells)] for part in parts]
    lines = [line for at, table in enumerate(tables) for line in (*([""] if at else []), *table)]
    said = [f"{row.machine}: {row.why}" for row in rows if row.why]
    return [*lines, *(["", *said] if said else []), "", cheapest(rows, prices)]


def cheapest(rows: Sequence[Row], prices: Prices | None = None) -> str:
    """The sentence that names the machine to take."""
    fitting = [row for row in rows if row.plan and _verdict(row.plan) == "fits"]
    tight = [row for row in rows if row.plan and _verdict(row.plan) == "tight"]
    good, how = (fitting, "fits") if fitting else (tight, "is tight, and none fits")
    if not good:
        unsure = [row.machine for row in rows if row.plan and _verdict(row.plan) is None]
        return f"whether it fits is not known of {', '.join(unsure)}" if unsure else "it fits on none of them"
    bills = {row.machine: bill(row.plan, prices) for row in good if row.plan}
    known = {name: found.price for name, found in bills.items() if found and found.price}
    if not known:
        return f"{how}: {', '.join(row.machine for row in good)}; the price of none is known"
    name = min(known, key=lambda machine: known[machine].usd_per_hour)
    price = known[name]
    return f"the cheapest that {how}: {name}, {money(price.usd_per_hour)} USD/h (prices of {price.date})"


def _verdict(plan: Plan) -> str | None:
    """The worst of all its tasks; None where one is not known."""
    found = [sums.verdict(task) for task in plan.tasks if task.gpus]
    known = [verdict for verdict in found if verdict]
    return max(known, key=sums.ORDER.index) if known and len(known) == len(found) else None


def _cells(row: Row, prices: Prices | None) -> tuple[str, ...]:
    plan = row.plan
    if plan is None:
        return (row.machine, "-", "-", "no place", *("-",) * 5)
    taken = {gpu.id for task in plan.tasks for gpu in task.gpus}
    layouts = ", ".join(dict.fromkeys(named(task.layout) for task in plan.tasks if task.gpus))
    every = [e for task in plan.tasks if task.memory and not isinstance(task.memory, Unknown) for e in task.memory]
    worst = sums.biggest(every) if every else None
    memory = f"{max(worst.taken.expected, worst.total.expected) / GIB:.1f} of {worst.room / GIB:.1f}" if worst else "-"
    contexts = [room for e in every if (room := e.longest) is not None and _verdict(plan) != "does not fit"]
    speeds = [speed.tokens_per_second for speed in map(speed_of, plan.tasks) if speed]
    speeds = [] if _verdict(plan) == "does not fit" else speeds
    found = bill(plan, prices)
    return (
        row.machine,
        f"{len(taken)} of {len(plan.machine.gpus)}",
        layouts or "-",
        _verdict(plan) or "not known",
        memory,
        f"{min(contexts):,}" if contexts else "-",
        f"{sum(speeds):,.0f}" if speeds else "-",
        money(found.price.usd_per_hour) if found and found.price else "-",
        money(found.per_million) if found else "-",
    )


def _line(cells: Sequence[str], widths: Sequence[int], part: Iterable[int], colour: bool) -> str:
    padded = [f"{cell:{'>' if at in RIGHT else '<'}{widths[at]}}" for at, cell in enumerate(cells)]
    if colour and cells[3] in PAINT:
        padded[3] = f"{PAINT[cells[3]]}{padded[3]}\033[0m"
    return "  ".join(padded[at] for at in part).rstrip()
