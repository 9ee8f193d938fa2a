"""A Plan in, the picture of it out: each GPU a bar of its memory, what the bar is made of, the verdict, the price."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from mgpu.catalog.prices import Prices
from mgpu.cli.bars import rows, short
from mgpu.cli.legend import legend
from mgpu.plan import sums
from mgpu.plan.bill import Bill, bill
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.plan import Layout, Plan, Task
from mgpu.values.speed import Speed

GREEN, YELLOW, RED = "\033[32m", "\033[33m", "\033[31m"
PAINT = {"fits": GREEN, "tight": YELLOW, "does not fit": RED}
LABEL = 9
OTHERS = 6
"""More layouts that were not taken are counted only."""
PIPE = 100
"""How wide a bar's row is where no terminal says."""

Facts = Iterator[tuple[str, str]]


def picture(plan: Plan, width: int | None = None, prices: Prices | None = None, *, colour: bool = False) -> list[str]:
    """The plan in lines of `width` columns (None: reasons are not wrapped). Replicas of a job are drawn together."""
    jobs: dict[str, list[Task]] = {}
    for task in plan.tasks:
        jobs.setdefault(task.job.name, []).append(task)
    blocks = [_job(tasks, plan, width, prices, colour) for tasks in jobs.values()]
    lines = [f"{plan.name} on {plan.machine.name}", *(line for block in blocks for line in ("", *block))]
    if len(plan.tasks) > 1:
        lines += ["", *_facts((("price", words) for words in _price(bill(plan, prices), None)), width)]
    return lines


def _job(tasks: Sequence[Task], plan: Plan, width: int | None, prices: Prices | None, colour: bool) -> list[str]:
    first = tasks[0]
    lines = [_headline(tasks)]
    known = [task.memory for task in tasks if task.memory and not isinstance(task.memory, Unknown)]
    pairs = [
        (gpu, estimate)
        for task in tasks
        if task.memory and not isinstance(task.memory, Unknown)
        for gpu, estimate in zip(task.gpus, task.memory, strict=False)
    ]
    if pairs:
        lines += ["", *(f"  {row}" for row in rows(pairs, (width or PIPE) - 2, colour=colour)), ""]
        inner = width - 2 if width else None
        lines += [f"  {line}" for line in legend([estimate for _, estimate in pairs], inner, colour=colour)] + [""]
    facts = [*_memory(first, known), *_reasons(first), *_speed(first)]
    facts += [("price", words) for words in _price(bill(plan, prices, first.job.name), speed_of(first))]
    painted = sums.worst([estimate for memory in known for estimate in memory]) if known else None
    return lines + [_coloured(line, painted if colour else None) for line in _facts([*facts, *_others(first)], width)]


def _headline(tasks: Sequence[Task]) -> str:
    task = tasks[0]
    version = f" {task.version}" if task.version else ""
    gpus = [gpu for each in tasks for gpu in each.gpus]
    names = " and ".join(dict.fromkeys(short(gpu) for gpu in gpus))
    count = f", {len(gpus)} GPU{'s' * (len(gpus) != 1)} ({names})" if gpus else ", no GPU"
    copies = f" x {len(tasks)}" if len(tasks) > 1 else ""
    return f"{task.job.name}{copies}: {task.job.engine}{version} ({task.runtime}){count}"


def layout_words(layout: Layout) -> str:
    """A layout as people say it."""
    return " x ".join(f"{name} {size}" for name, size in layout._asdict().items() if size > 1) or "one GPU"


def speed_of(task: Task) -> Speed | None:
    """How fast the layout is that was chosen."""
    return task.decision.chosen.speed if task.decision and task.decision.chosen else None


def _memory(task: Task, known: Sequence[Sequence[Estimate]]) -> Facts:
    """The verdict with its sum, and what the cache holds."""
    if isinstance(task.memory, Unknown):
        hint = f" ({task.memory.hint})" if task.memory.hint else ""
        yield "memory", f"not known: {task.memory.why}{hint}"
    estimates = [estimate for memory in known for estimate in memory]
    if not estimates:
        return
    yield "memory", f"{sums.worst(estimates)}: {sums.words(sums.biggest(estimates))}"
    caches = [estimate.cache for estimate in estimates if estimate.cache]
    if caches:
        least = min(caches, key=lambda cache: cache.tokens)
        many = least.tokens / least.context if least.context else 0.0
        at_once = f"{many:,.1f} requests of {least.context:,} at once"
        yield "cache", f"{least.tokens:,} tokens: {at_once}, or one of up to {least.tokens:,}"


def _reasons(task: Task) -> Facts:
    """Why it is so: the reasons begin with what they are about."""
    if task.gpu_count > 1 and not any(reason.startswith("layout: ") for reason in task.because):
        yield "layout", layout_words(task.layout)
    for reason in task.because:
        about, colon, why = reason.partition(": ")
        yield (about, why) if colon and len(about) < LABEL else ("", reason)


def _speed(task: Task) -> Facts:
    found = speed_of(task)
    if found is None:
        return
    load = f" with {task.decision.workload}" if task.decision and task.decision.workload else ""
    band = f"{found.low:,.0f}-{found.high:,.0f}"
    yield (
        "speed",
        (
            f"about {found.tokens_per_second:,.0f} tokens/s ({band}){load}; "
            f"{found.tpot * 1e3:.0f} ms a token, the first after {found.ttft:.1f} s"
        ),
    )


def _price(asked: Bill | None, speed: Speed | None) -> Iterator[str]:
    if asked is None:
        return
    if asked.price is None:
        yield f"not known for {asked.missing}: --prices FILE gives it"
        return
    dated = f"prices of {asked.price.date}: {asked.price.source}"
    per_million = f", {money(asked.per_million)} USD per million tokens written" if asked.per_million else ""
    band = f" ({money(asked.cheapest)}-{money(asked.dearest)})" if speed and asked.cheapest and asked.dearest else ""
    yield f"{money(asked.price.usd_per_hour)} USD/h{per_million}{band}; {dated}"


def money(amount: float | None) -> str:
    """USD, with as many digits as mean something."""
    if amount is None:
        return "-"
    return f"{amount:,.2f}" if amount >= 0.1 else f"{amount:.2g}"


def _others(task: Task) -> Facts:
    others = task.decision.others if task.decision else ()
    for at, choice in enumerate(others[:OTHERS]):
        yield ("others" if not at else ""), choice.why
    if len(others) > OTHERS:
        yield "", f"and {len(others) - OTHERS} more"


def _facts(facts: Sequence[tuple[str, str]] | Facts, width: int | None) -> list[str]:
    """Every fact on a line after its label, wrapped below itself."""
    lines: list[str] = []
    for label, text in facts:
        start = f"  {label:<{LABEL}}"
        if width:
            room = max(24, width - len(start))
            first, *more = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
            lines += [start + first, *(" " * len(start) + part for part in more)]
        else:
            lines.append(start + text)
    return lines


def _coloured(line: str, verdict: str | None) -> str:
    """The line of the verdict with that word in its colour."""
    start = f"  {'memory':<{LABEL}}{verdict}"
    if verdict is None or not line.startswith(start):
        return line
    return f"  {'memory':<{LABEL}}{PAINT[verdict]}{verdict}\033[0m{line[len(start) :]}"
