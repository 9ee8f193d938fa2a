"""A model's burden, a layout, its GPUs and their links in, how fast it serves out.

A step of decoding reads what the GPUs hold and adds up twice a layer (Pope et al., arXiv 2211.05102, section 3): per
stage (weights / tensor + cache / key heads' share) / (bandwidth x eta) + 2 x layers x all-reduce(batch x hidden x 2),
and what each layer and step take besides. A prompt takes 2 x parameters operations a token, and adds up what it makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import NamedTuple

from mgpu.catalog.engine_speed import Pace
from mgpu.memory.weights import stages
from mgpu.plan.burden import Burden
from mgpu.plan.cards import Card, slowest
from mgpu.plan.collective import HANDED, Fabric, Wire, through_host
from mgpu.values.machine import Gpu
from mgpu.values.plan import Layout
from mgpu.values.speed import Part, Speed, Workload

BAND = (0.65, 1.3)
"""What was measured, as a share of the estimate, nine times in ten: 120 points of ai-dynamo/aiconfigurator@095f58a,
systems/silicon_sample.csv, on H100, H200, B200 and B300, whose mean error is 17 %."""
NAMES = ("reading weights", "reading the KV cache", "all-reduces", "prefill", "pipeline hops", "the engine")


class Seconds(NamedTuple):
    """What a step, a prompt or a request takes, by what it goes to."""

    weights: float = 0.0
    cache: float = 0.0
    adding: float = 0.0
    arithmetic: float = 0.0
    handing: float = 0.0
    engine: float = 0.0

    def plus(self, other: Seconds, times: float = 1.0) -> Seconds:
        """This and `times` the other."""
        return Seconds(*(a + times * b for a, b in zip(self, other, strict=True)))


def _summed(many: Iterable[tuple[Seconds, int]]) -> Seconds:
    """So many times each."""
    total = Seconds()
    for one, times in many:
        total = total.plus(one, times)
    return total


class Stage(NamedTuple):
    """The GPUs that share whole layers: `tensor` of them with the slowest `card`, `part` of all layers, on `wire`;
    attention is split over `attention` of them, and experts over `experts` GPUs, which meet on `meeting` where they
    are more than share the attention. What it is handed by the stage before takes `lag` s and is `rate` bytes/s."""

    card: Card
    tensor: int
    layers: int
    part: float
    wire: Wire
    last: bool
    attention: int
    experts: int
    meeting: Wire | None
    lag: float = 0.0
    rate: float = 0.0


def speed(
    burden: Burden,
    layout: Layout,
    gpus: tuple[Gpu, ...],
    fabric: Fabric,
    pace: Pace,
    workload: Workload,
    attention: int = 1,
) -> Speed | None:
    """How fast `layout` is on `gpus`, in the order of ranks (data outermost, tensor innermost); `attention`: into how
    many replicas the attention within a tensor parallel group is divided. None where a GPU is not known."""
    size = layout.tensor * layout.pipeline
    copies = [gpus[at : at + size] for at in range(0, len(gpus), size)]
    shares = _shared_out(workload.concurrency, len(copies))
    together = bool(burden.many and len(copies) > 1 and pace.experts_over_data)
    found, known = [], dict[tuple[object, ...], Speed]()
    for copy, share in zip(copies, shares, strict=True):
        made = _stages(burden, layout, copy, fabric, pace, attention, gpus if together else copy)
        if made is None:
            return None
        key = (*made, share)
        if key not in known:
            known[key] = _of_copy(burden, made, pace, workload, share, workload.concurrency if together else share)
        found.append(known[key])
    return _together(found, [share for share in shares if share], workload, len(gpus))


def _shared_out(requests: int, copies: int) -> list[int]:
    """How many requests each copy has at once."""
    whole, left = divmod(requests, copies)
    return [whole + (at < left) for at in range(copies)]


def _together(found: list[Speed], shares: list[int], workload: Workload, gpus: int) -> Speed:
    """The speed of several copies: a request's mean, and the sum of what they give."""
    busy = found[: len(shares)]
    whole = sum(shares)
    weigh = [share / whole for share in shares]
    request = sum(one.request * part for one, part in zip(busy, weigh, strict=True))
    rate = sum(one.tokens_per_second for one in busy)
    worst = max(busy, key=lambda one: one.request)
    return Speed(
        sum(one.ttft * part for one, part in zip(busy, weigh, strict=True)),
        sum(one.tpot * part for one, part in zip(busy, weigh, strict=True)),
        request,
        rate,
        rate * workload.prompt / max(1, workload.output),
        gpus,
        rate * BAND[0],
        rate * BAND[1],
        worst.parts,
    )


def _stages(
    burden: Burden,
    layout: Layout,
    copy: tuple[Gpu, ...],
    fabric: Fabric,
    pace: Pace,
    attention: int,
    sharing: tuple[Gpu, ...],
) -> tuple[Stage, ...] | None:
    """The stages of one copy; experts are spread over the GPUs that are `sharing` them."""
    tensor = layout.tensor
    made = []
    wide = _wire(sharing, fabric, pace) if len(sharing) > len(copy) or attention > 1 else None
    for at, count in enumerate(stages(burden.layers, layout.pipeline)):
        group = copy[at * tensor : (at + 1) * tensor]
        card = slowest(group)
        if card is None:
            return None
        wire = _wire(group, fabric, pace)
        many = len(sharing) // layout.pipeline if wide else max(tensor, layout.expert)
        split = max(1, tensor // attention)
        last = at == layout.pipeline - 1
        part = count / burden.layers
        made.append(Stage(card, tensor, count, part, wire, last, split, many, wide))
        if at:
            way = _wire((copy[at * tensor - tensor], group[0]), fabric, pace)
            made[at] = made[at]._replace(lag=pace.hop + way.seconds[0], rate=way.rate * 1e9 * HANDED)
    return tuple(made)


def _wire(group: tuple[Gpu, ...], fabric: Fabric, pace: Pace) -> Wire:
    if pace.by_host and len(group) > 1:
        return through_host(len(group), pace.host_rate)
    return fabric.wire(group)


def _of_copy(
    burden: Burden, made: tuple[Stage, ...], pace: Pace, workload: Workload, share: int, everyone: int
) -> Speed:
    """One copy with `share` requests at once; where it shares experts, `everyone` are the requests of all copies."""
    if not share:
        return Speed(0, 0, 0, 0, 0, 0, 0, 0, ())
    depth = len(made)
    batch = ceil(share / depth)
    ratio = everyone / share
    kinds = Counter(made)
    step = _summed((_step(burden, stage, pace, batch, ratio, depth), many) for stage, many in kinds.items())
    first, steady = _prompts(burden, kinds, pace, workload.prompt, ratio)
    request = first.plus(steady, share - 1).plus(step, workload.output)
    seconds = sum(request)
    tpot = sum(step) + (share - 1) * sum(steady) / max(1, workload.output)
    rate = share * workload.output / seconds if seconds else 0.0
    ttft = sum(first) + (share - 1) / 2 * sum(steady)
    parts = tuple(sorted((Part(*pair) for pair in zip(NAMES, request, strict=True)), key=lambda part: -part.seconds))
    return Speed(ttft, tpot, seconds, rate, rate * workload.prompt / max(1, workload.output), 0, rate, rate, parts)


def _step(burden: Burden, stage: Stage, pace: Pace, batch: int, ratio: float, depth: int) -> Seconds:
    """One step of decoding `batch` sequences on one stage."""
    head = burden.head * stage.last
    split = stage.part / stage.tensor
    touched = burden.touched(batch * ratio) * stage.part / stage.experts
    read = burden.attention * stage.part / stage.attention + burden.mlp * split + head / stage.tensor + touched
    eta = pace.eta * (1 + pace.rest * 2 * (1 - 1 / depth))
    rate = stage.card.bandwidth * eta
    done = (burden.dense * split + burden.chosen * stage.part * ratio / stage.experts) * batch
    reckoned = done / (stage.card.rate(burden.format, pace.half) * pace.batch_arithmetic)
    replicas = stage.tensor // stage.attention
    keys = 1 if burden.latent else min(stage.attention, burden.kv_heads)
    cache = ceil(batch / replicas) * burden.sequence * stage.part / keys / rate
    engine = pace.step + stage.layers * (pace.layer + _narrow(burden, stage, pace))
    engine += stage.layers * pace.sync * (stage.tensor - 1)
    adding = _added(burden, stage, batch, ratio)
    handing = _handed(burden, stage, batch)
    return Seconds(read / rate, cache, adding, max(0.0, reckoned - read / rate), handing, engine)


def _narrow(burden: Burden, stage: Stage, pace: Pace) -> float:
    """What a layer takes more where experts in fp8 blocks are left with one block on a GPU."""
    return pace.one_block if 0 < burden.block / stage.tensor <= 128 and stage.experts == stage.tensor > 1 else 0.0


def _added(burden: Burden, stage: Stage, tokens: float, ratio: float) -> float:
    """Two all-reduces a layer. Where experts are spread wider than attention, one of them is among all who share the
    experts, of all their tokens (allgather and reduce-scatter, vLLM's default, are as much as it)."""
    size = tokens * burden.hidden * 2
    if stage.meeting is None:
        return 2 * stage.layers * stage.wire.all_reduce(size)
    spread = min(stage.layers, ceil(burden.sparse * stage.part))
    own = stage.wire.all_reduce(size) if stage.attention > 1 else 0.0
    return 2 * stage.layers * own - spread * own + spread * stage.meeting.all_reduce(size * ratio)


def _handed(burden: Burden, stage: Stage, tokens: float) -> float:
    """Taking `tokens` over from the stage before."""
    return stage.lag + tokens * burden.hidden * 2 / stage.rate if stage.rate else 0.0


def _prompts(
    burden: Burden, kinds: Mapping[Stage, int], pace: Pace, prompt: int, ratio: float
) -> tuple[Seconds, Seconds]:
    """What the first prompt takes, and each further one of a steady stream (the slowest stage's time, where stages
    work at once on several chunks)."""
    each = [(_prompt(burden, stage, pace, prompt, ratio), many) for stage, many in kinds.items()]
    whole = _summed(each)
    if sum(kinds.values()) == 1 or not pace.pipelined:
        return whole, whole
    worst = max((one for one, _ in each), key=sum)
    chunks = max(1, ceil(prompt / pace.chunk))
    first = worst.plus(worst, -1 / chunks).plus(whole, 1 / chunks)
    return first, worst


def _prompt(burden: Burden, stage: Stage, pace: Pace, prompt: int, ratio: float) -> Seconds:
    """One prompt on one stage."""
    split = stage.part / stage.tensor
    peak = stage.card.rate(burden.format, pace.half) * pace.arithmetic
    matrices = (burden.dense * split + burden.chosen * stage.part / stage.experts * _busy(stage)) * prompt
    looked = burden.scan * stage.part * prompt * prompt / 2 / (1 if burden.latent else stage.attention)
    reckoned = matrices / peak + looked / (stage.card.rate("bf16", pace.half) * pace.arithmetic)
    steps = ceil(prompt / pace.chunk)
    size = min(prompt, pace.chunk)
    read = steps * (burden.weights - burden.experts + burden.touched(size)) * split / (stage.card.bandwidth * pace.eta)
    engine = steps * (pace.step + stage.layers * (pace.layer + pace.sync * (stage.tensor - 1)))
    adding = prompt / size * _added(burden, stage, size, ratio)
    handing = steps * _handed(burden, stage, size)
    return Seconds(max(0.0, read - reckoned), 0.0, adding, reckoned, handing, engine)


def _busy(stage: Stage) -> float:
    """How many of those who share the experts send their tokens at the same time."""
    return max(1.0, stage.experts / stage.tensor)
