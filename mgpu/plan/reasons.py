"""Layouts with their speeds in, sentences out: why the best won, and what each other one loses its time to."""

from __future__ import annotations

from mgpu.plan.burden import Burden
from mgpu.plan.cards import slowest
from mgpu.plan.collective import product_of
from mgpu.plan.sums import biggest, gib
from mgpu.values.choice import Choice, Decision
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Unknown
from mgpu.values.plan import Layout
from mgpu.values.speed import Part, Policy, Speed, Workload

PLURAL = frozenset(("all-reduces",))


def named(layout: Layout) -> str:
    """A layout as people say it."""
    return " x ".join(f"{name} {size}" for name, size in layout._asdict().items() if size > 1) or "one GPU"


def best(one: Choice, count: int, policy: Policy, workload: Workload) -> str:
    """Why a layout won."""
    found = one.speed
    if found is None:
        return named(one.layout)
    what = {
        "latency": f"a request takes {seconds(found.request)}",
        "throughput": f"about {found.tokens_per_second:.0f} tokens/s",
        "capacity": "it holds the most tokens",
    }[policy]
    which = "that fit" if one.verdict else "of which it is not known what they need of memory"
    among = f", the best of {count} layouts {which}" if count > 1 else ""
    return f"{named(one.layout)}: {what} with {workload}{among}; most of it goes to {found.bottleneck}{_waits(one)}"


BEST = {"latency": "the fastest", "throughput": "the most tokens a second", "capacity": "the largest cache"}


def short(decision: Decision, count: int) -> str | None:
    """Why the layout was chosen, without figures; None where there was but one."""
    chosen = decision.chosen
    if chosen is None or not decision.others:
        return None
    if decision.workload is None:
        return f"{named(chosen.layout)}, the default for {count} GPUs"
    rivals = [other for other in decision.others if other.verdict in ("fits", "tight")]
    if not rivals:
        return f"{named(chosen.layout)}, the only one that fits"
    about = "about " if any(_beats(other, chosen, decision.policy) for other in rivals) else ""
    return f"{named(chosen.layout)}, {about}{BEST[decision.policy]} of {len(rivals) + 1} that fit"


def _beats(one: Choice, first: Choice, policy: Policy) -> bool:
    """Whether it is reckoned to be faster than what was taken, by more than nothing."""
    if policy == "capacity" or one.speed is None or first.speed is None:
        return False
    mine, theirs = _compared(one.speed, policy), _compared(first.speed, policy)
    return mine < 0.97 * theirs if policy == "latency" else theirs < 0.97 * mine


def lost(one: Choice, first: Choice, policy: Policy) -> str:
    """Why a layout that fits was not taken."""
    if one.speed is None or first.speed is None:
        return named(one.layout)
    if policy == "capacity":
        return f"{named(one.layout)}: it holds fewer tokens than {named(first.layout)}"
    mine, theirs = _compared(one.speed, policy), _compared(first.speed, policy)
    slower = mine / theirs if policy == "latency" else theirs / mine
    if slower <= 1.0 + 1e-9:
        gain = f"{100 / slower - 100:.0f} % faster as reckoned" if slower < 0.97 else "hardly faster"
        return f"{named(one.layout)}: {gain} than {named(first.layout)}, which is simpler or has a larger cache"
    part, more = _excess(one.speed, first.speed)
    what, verb = (f"its {part.what}", "take") if part.what in PLURAL else (part.what, "takes")
    where = f"{what} alone {verb} {seconds(part.seconds)} of {seconds(sum(p.seconds for p in one.speed.parts))}"
    worse = f"{slower:.1f} times slower" if slower >= 1.15 else "a little slower"
    return f"{named(one.layout)}: {worse} than {named(first.layout)}" + (f", {where}" if more > 0 else "") + _waits(one)


def unfit(one: Choice) -> str:
    """Why a layout does not fit."""
    if one.memory is None or isinstance(one.memory, Unknown):
        return one.why or f"{named(one.layout)}: does not fit"
    worst = biggest(one.memory)
    if worst.fault:
        return f"{named(one.layout)}: {worst.fault}"
    return f"{named(one.layout)}: GPU {worst.index} lacks {gib(max(0, worst.over()))} GiB"


def missing(one: Choice) -> int:
    """Bytes that the GPU lacks that lacks most; 0 where that is not known."""
    return 0 if one.memory is None or isinstance(one.memory, Unknown) else biggest(one.memory).over()


def overfull(burden: Burden, layout: Layout, gpus: tuple[Gpu, ...]) -> str | None:
    """For engines of whose memory nothing else is known: whether the weights alone are more than a GPU has free."""
    share = burden.weights / layout.tensor / layout.pipeline
    least = min(gpus, key=lambda gpu: gpu.room)
    if share <= least.room:
        return None
    return f"{named(layout)}: the weights alone are {share / GIB:.1f} GiB on each, and GPU {least.index} has less free"


def seconds(time: float) -> str:
    """A time with as many digits as mean something."""
    return f"{time:.1f} s" if time >= 1 else f"{time * 1e3:.0f} ms"


def _compared(found: Speed, policy: Policy) -> float:
    return found.request if policy == "latency" else found.tokens_per_second


def _excess(mine: Speed, theirs: Speed) -> tuple[Part, float]:
    """The part of a request's time that grows most, and by how much."""
    other = {part.what: part.seconds for part in theirs.parts}
    found = max(mine.parts, key=lambda part: part.seconds - other.get(part.what, 0.0))
    return found, found.seconds - other.get(found.what, 0.0)


def _waits(one: Choice) -> str:
    """What a group of unlike GPUs loses, in words."""
    said = slow_words(one.gpus, one.layout.tensor)
    return f"; {said}" if said else ""


def slow_words(gpus: tuple[Gpu, ...], tensor: int) -> str | None:
    """For the first tensor parallel group of unlike GPUs, whom it waits for."""
    for at in range(0, len(gpus), tensor):
        group = gpus[at : at + tensor]
        rates = {gpu.index: card.bandwidth for gpu in group if (card := slowest((gpu,)))}
        if len(rates) == len(group) > 1 and min(rates.values()) < 0.95 * max(rates.values()):
            slow = min(group, key=lambda gpu: rates[gpu.index])
            product = product_of(slow)
            who = product.id if product else slow.name
            least, most = min(rates.values()) / 1e9, max(rates.values()) / 1e9
            return f"tensor {tensor} goes at the pace of {who} (GPU {slow.index}, {least:.0f} of {most:.0f} GB/s)"
    return None
