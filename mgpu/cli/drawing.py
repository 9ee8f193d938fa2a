"""A Plan in, the picture of it out: each GPU a bar of its memory, what the bar is made of, the verdict, the price."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from mgpu.catalog.prices import Prices
from mgpu.cli.bars import MISSING, rows, scale, short, used
from mgpu.cli.bars import OTHERS as OTHERS_HAVE
from mgpu.cli.legend import legend
from mgpu.engines import engine_named
from mgpu.plan import sums
from mgpu.plan.bill import Bill, bill
from mgpu.plan.models import model_of
from mgpu.plan.reasons import named
from mgpu.values.machine import Gpu
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Plan, Task
from mgpu.values.speed import Speed

GREEN, YELLOW, RED = "\033[32m", "\033[33m", "\033[31m"
PAINT = {"fits": GREEN, "tight": YELLOW, "does not fit": RED}
LABEL = 9
OTHERS = 6
"""More layouts that were not taken are counted only."""
PIPE = 100
"""How wide a bar's row is where no terminal says."""

NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
Facts = Iterator[tuple[str, str]]


def picture(
    plan: Plan,
    width: int | None = None,
    prices: Prices | None = None,
    mends: Mapping[str, Sequence[str]] = NOTHING,
    *,
    colour: bool = False,
) -> list[str]:
    """The plan in lines of `width` columns (None: reasons are not wrapped). Replicas of a job are drawn together.
    `mends` say what would make a job fit, by its name."""
    jobs: dict[str, list[Task]] = {}
    for task in plan.tasks:
        jobs.setdefault(task.job.name, []).append(task)
    blocks = [_job(tasks, plan, width, prices, colour) for tasks in jobs.values()]
    for name, block in zip(jobs, blocks, strict=True):
        said = enumerate(mends.get(name, ()))
        block.extend(_facts([("" if at else "mend", sentence) for at, sentence in said], width))
    if len(jobs) == 1:
        return blocks[0]
    whole = [("price", f"of all jobs: {words}") for words in _price(bill(plan, prices))]
    inner = [line for block in blocks for line in ("", *block)]
    return [f"{plan.name} on {plan.machine.name}", *inner, "", *_facts(whole, width)]


def _job(tasks: Sequence[Task], plan: Plan, width: int | None, prices: Prices | None, colour: bool) -> list[str]:
    first = tasks[0]
    lines = _wrapped(_headline(tasks, plan), 2, width)
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
        table = legend(
            [estimate for _, estimate in pairs if estimate.total.high] or [pairs[0][1]], inner, colour=colour
        )
        lines += [*(f"  {line}".rstrip() for line in (*table, *_signs(pairs))), ""]
    model = model_of(first.job, plan.machine)
    facts = [("recipe", words) for words in _recipe(first)]
    facts += [*_memory(first, known, model), *_reasons(first), *_speed(first)]
    facts += [("price", words) for words in _price(bill(plan, prices, first.job.name))]
    painted = sums.worst([estimate for memory in known for estimate in memory]) if known else None
    return lines + [_coloured(line, painted if colour else None) for line in _facts([*facts, *_others(first)], width)]


def _headline(tasks: Sequence[Task], plan: Plan) -> str:
    task = tasks[0]
    version = f" {task.version}" if task.version else ""
    gpus = list(dict.fromkeys(gpu.index for each in tasks for gpu in each.gpus))
    names = " and ".join(dict.fromkeys(short(gpu) for each in tasks for gpu in each.gpus))
    every = len(plan.machine.gpus)
    count = f"{len(gpus)} of {every} GPU{'s' * (every != 1)} ({names})" if gpus else "no GPU"
    copies = f", {len(tasks)} replicas" if len(tasks) > 1 else ""
    return f"{task.job.name} on {plan.machine.name}: {task.job.engine}{version} ({task.runtime}){copies}, {count}"


def _signs(pairs: Sequence[tuple[Gpu, Estimate]]) -> Iterator[str]:
    """What the signs mean that stand in a bar in place of a letter."""
    if any(used(gpu, estimate) > gpu.memory // 100 for gpu, estimate in pairs):
        yield f"{OTHERS_HAVE}  in use by others"
    if any(scale([pair]) > pair[0].memory for pair in pairs):
        yield f"{MISSING}  more than the GPU has"


def speed_of(task: Task) -> Speed | None:
    """How fast the layout is that was chosen."""
    return task.decision.chosen.speed if task.decision and task.decision.chosen else None


def _memory(task: Task, known: Sequence[Sequence[Estimate]], model: Model | None) -> Facts:
    """The verdict with its sum, and what the cache holds."""
    if isinstance(task.memory, Unknown):
        hint = f" ({task.memory.hint})" if task.memory.hint else ""
        yield "memory", f"not known: {task.memory.why}{hint}"
    estimates = [estimate for memory in known for estimate in memory]
    if not estimates:
        return
    lacking = max(known, key=lambda memory: sums.biggest(memory).over())
    yield "memory", f"{sums.worst(estimates)}: {sums.told(lacking, task.layout)}"
    caches = [estimate.cache for estimate in estimates if estimate.cache]
    if caches and sums.worst(estimates) != "does not fit":
        least = min(caches, key=lambda cache: cache.tokens)
        many = least.tokens / least.context if least.context else 0.0
        at_once = f"{many:,.1f} requests of {least.context:,} at once"
        one = f"one of up to {sums.longest(estimates, model) or least.tokens:,}"
        yield "cache", f"{least.tokens:,} tokens: {at_once}, or {one}"


def _recipe(task: Task) -> Iterator[str]:
    """How a training is taken to go: by what its job says, and by its engine's own defaults where it is silent."""
    recipe = engine_named(task.job.engine).recipe(task.job) if isinstance(task.memory, tuple) else None
    if recipe:
        yield str(recipe)


def _reasons(task: Task) -> Facts:
    """Why it is so: the reasons begin with what they are about."""
    if task.gpu_count > 1 and not any(reason.startswith("layout: ") for reason in task.because):
        yield "layout", named(task.layout)
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
            f"TPOT {found.tpot * 1e3:.0f} ms, TTFT {found.ttft:.1f} s if they come at once; "
            f"most of it goes to {found.bottleneck}"
        ),
    )


def _price(asked: Bill | None) -> Iterator[str]:
    if asked is None:
        return
    if asked.price is None:
        yield f"not known for {asked.missing}: --prices FILE gives it"
        return
    who = "; ".join(dict.fromkeys(source.partition(" (")[0] for source in asked.price.source.split("; ")))
    text = f"{money(asked.price.usd_per_hour)} USD/h"
    if asked.per_million:
        text += f", {money(asked.per_million)} USD per million tokens written"
        text += f" ({money(asked.cheapest)}-{money(asked.dearest)})"
    yield f"{text}; as of {asked.price.date}, {who}; prices move"


def money(amount: float | None) -> str:
    """USD, with as many digits as mean something."""
    if amount is None:
        return "-"
    return f"{amount:,.2f}" if amount >= 0.1 else f"{amount:.2g}"


def _others(task: Task) -> Facts:
    decision = task.decision
    others = [one for one in decision.others if one.layout != task.layout] if decision and decision.workload else []
    for at, choice in enumerate(others[:OTHERS]):
        yield ("others" if not at else ""), choice.why
    if len(others) > OTHERS:
        yield "", f"and {len(others) - OTHERS} more"


def _facts(facts: Iterable[tuple[str, str]], width: int | None) -> list[str]:
    """Every fact on a line after its label, wrapped below itself."""
    return [line for label, text in facts for line in _wrapped(text, LABEL + 2, width, f"  {label:<{LABEL}}")]


def _wrapped(text: str, indent: int, width: int | None, start: str = "") -> list[str]:
    if not width:
        return [start + text]
    room = max(24, width - indent)
    lines = textwrap.wrap(text, room if start else width, break_on_hyphens=False) or [""]
    rest = lines[1:] if start else textwrap.wrap(" ".join(lines[1:]), room, break_on_hyphens=False)
    return [start + lines[0], *(" " * indent + line for line in rest)]


def _coloured(line: str, verdict: str | None) -> str:
    """The line of the verdict with that word in its colour."""
    start = f"  {'memory':<{LABEL}}{verdict}"
    if verdict is None or not line.startswith(start):
        return line
    return f"  {'memory':<{LABEL}}{PAINT[verdict]}{verdict}\033[0m{line[len(start) :]}"
