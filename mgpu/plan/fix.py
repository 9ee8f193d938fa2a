"""A spec that does not fit, and what estimates one, in; the cheapest change to it that makes it fit out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple, Union

from mgpu.catalog.formats import formats
from mgpu.catalog.variants import variants
from mgpu.engines import engine_named
from mgpu.errors import NoRoom, SpecError, UsageError
from mgpu.memory.weights import checkpoint, format_of
from mgpu.plan import sums
from mgpu.plan.models import model_of
from mgpu.spec.check import check
from mgpu.spec.override import changed
from mgpu.values.engine import nothing_of_the_hub
from mgpu.values.machine import Machine
from mgpu.values.mark import Path
from mgpu.values.memory import Estimate, Unknown, Verdict
from mgpu.values.plan import Task
from mgpu.values.said import said, written
from mgpu.values.spec import Spec

Estimating = Callable[[Spec], Union[tuple[Estimate, ...], Unknown]]
"""Places a spec and says what its tasks need; raises NoRoom or SpecError where it cannot be placed."""

STEP = 1024
"""Contexts are lowered to a multiple of this many tokens."""
USEFUL = 2048
"""Tokens of context below which a smaller model, or one in fewer bits, serves better."""
SPEED, CONTEXT, ACCURACY, GPU = 1, 3, 4, 5
"""What a change costs the user, as Knob.cost counts it."""
MOST = 400
"""Specs that are looked at before it is given up."""


class Fix(NamedTuple):
    """A change that makes a spec fit: what to set at which path of the document (None: take the key away), in words,
    the `verdict` then, and what it costs the user, as Knob.cost counts it."""

    changes: Mapping[Path, Any]
    words: str
    verdict: Verdict
    cost: int


class _Move(NamedTuple):
    """One thing that could be changed. `lowers` the context: how far is found by trying."""

    changes: dict[Path, Any]
    words: str
    cost: int
    lowers: bool = False


def fixes(spec: Spec, machine: Machine, task: Task, estimating: Estimating) -> Fix | None:
    """The cheapest change to the task's job: one thing before two, what costs the user less before what costs more,
    one that fits before one that is tight or leaves little of the context. None where nothing known of helps."""
    trial = _Trial(spec, machine, task, estimating)
    moves = sorted(_moves(spec, machine, task), key=lambda move: move.cost)
    pairs = sorted(combinations(moves, 2), key=lambda pair: pair[0].cost + pair[1].cost)
    second: Fix | None = None
    for tried in (*((move,) for move in moves), *pairs):
        fix = trial.fix(tried)
        if fix and fix.verdict == "fits" and not trial.meagre(fix):
            return fix
        second = second or fix
    return second


def smaller(spec: Spec, machine: Machine, task: Task, estimating: Estimating) -> list[Fix]:
    """Every repository with the same model in fewer bits that makes it fit, the most bits first."""
    trial = _Trial(spec, machine, task, estimating)
    found = [trial.fix((move,)) for move in _fewer_bits(machine, task)]
    return [fix for fix in found if fix]


def context_of(task: Task) -> int | None:
    """The tokens of one sequence that the task is planned for: the spec's, else the model's own."""
    if task.job.context_length:
        return task.job.context_length
    known = () if task.memory is None or isinstance(task.memory, Unknown) else task.memory
    return next((estimate.cache.context for estimate in known if estimate.cache), None)


class _Trial:
    """Looks at specs with changes, each once, and no more of them than MOST. `useful` are the tokens of the context
    that is asked for, as far as the model is made for them."""

    def __init__(self, spec: Spec, machine: Machine, task: Task, estimating: Estimating) -> None:
        self.spec, self.task, self.estimating = spec, task, estimating
        model, asked = model_of(task.job, machine), context_of(task) or 0
        self.useful = min(asked, model.context) if model and model.context else asked
        self.context: Path = (*task.job.path, "context_length")
        self.known: dict[str, Verdict | None] = {}
        fewest = task.job.gpus.fewest
        self.most: dict[Path, Any] = {_count_path(spec, task): task.gpu_count} if fewest else {}
        """Where the number of GPUs is left open, the most of them: trying each for every change would take long."""

    def verdict(self, changes: Mapping[Path, Any]) -> Verdict | None:
        """What is said of the spec with these changes; None where it cannot be placed or is not known."""
        name = repr(sorted(changes.items(), key=repr))
        if name not in self.known:
            self.known[name] = self._looked(changes) if len(self.known) < MOST else None
        return self.known[name]

    def _looked(self, changes: Mapping[Path, Any]) -> Verdict | None:
        try:
            return sums.verdict_of(self.estimating(check(changed(self.spec.document, {**self.most, **changes}))))
        except (SpecError, NoRoom, UsageError):
            return None

    def fix(self, moves: tuple[_Move, ...]) -> Fix | None:
        """These moves together, where they make it fit."""
        changes = {path: value for move in moves if not move.lowers for path, value in move.changes.items()}
        if sum(len(move.changes) for move in moves if not move.lowers) > len(changes):
            return None
        words = [move.words for move in moves if not move.lowers]
        if any(move.lowers for move in moves):
            tokens = self.longest(changes)
            if tokens is None:
                return None
            changes[self.context] = tokens
            words.append(f"a context of {tokens:,} tokens in place of {context_of(self.task) or 0:,}")
        verdict = self.verdict(changes)
        good = verdict if verdict in ("fits", "tight") else None
        return Fix(changes, " and ".join(words), good, sum(move.cost for move in moves)) if good else None

    def meagre(self, fix: Fix) -> bool:
        """Whether it leaves less context than people can use, or less than half of what the spec itself asks for."""
        tokens = fix.changes.get(self.context)
        asked = self.useful if self.task.job.context_length else 0
        return tokens is not None and tokens < max(USEFUL, asked // 2)

    def longest(self, changes: Mapping[Path, Any]) -> int | None:
        """The longest context that fits with these changes, shorter than now and no longer than the model is made for;
        else the longest that is tight."""
        most = min((context_of(self.task) or 0) - 1, self.useful) // STEP
        for good in (("fits",), ("fits", "tight")):
            low, high = 0, most
            while low < high:
                middle = (low + high + 1) // 2
                fits = self.verdict({**changes, self.context: middle * STEP}) in good
                low, high = (middle, high) if fits else (low, middle - 1)
            if low:
                return low * STEP
        return None


def _moves(spec: Spec, machine: Machine, task: Task) -> Iterator[_Move]:
    """Everything that could be changed on its own."""
    engine, path = engine_named(task.job.engine), task.job.path
    for knob in engine.knobs(task):
        yield _Move({(*path, *knob.path): knob.value}, knob.what, knob.cost)
    yield from _fewer_bits(machine, task)
    if "context_length" in engine.takes:
        yield _Move({}, "", CONTEXT, lowers=True)
    if "parallel" in engine.takes:
        yield from _splits(task, path, engine.dimensions)
    yield from _more(spec, machine, task)


def _fewer_bits(machine: Machine, task: Task) -> Iterator[_Move]:
    """The same model's weights as others have quantized them, where a repository with them is known and the engine
    reads such files: not those that read GGUF."""
    job, model, engine = task.job, model_of(task.job, machine), engine_named(task.job.engine)
    if model is None or "quantization" not in engine.takes or engine.hub is nothing_of_the_hub:
        return
    now = format_of(job.model, job.quantization, model)
    if now not in formats():
        return
    for variant in variants(model.id):
        if variant.repository != job.model and checkpoint(model, variant.format) < checkpoint(model, now):
            changes: dict[Path, Any] = {(*job.path, "model"): variant.repository}
            changes |= {(*job.path, "quantization"): None} if job.quantization else {}
            flag: Path = (*job.path, "args", written(job, "quantization"))
            changes |= {flag: None} if said(job, "quantization") is not None else {}
            yield _Move(changes, f"its weights in {variant.format} ({variant.repository})", ACCURACY)


def _splits(task: Task, path: Path, dimensions: tuple[str, ...]) -> Iterator[_Move]:
    """Other ways to share the model among as many GPUs, the most tensor parallel first."""
    count = task.gpu_count
    for tensor in (size for size in range(count, 0, -1) if count % size == 0):
        for pipeline in (size for size in range(1, count // tensor + 1) if (count // tensor) % size == 0):
            sizes = {"tensor": tensor, "pipeline": pipeline, "data": count // tensor // pipeline}
            said = {name: size for name, size in sizes.items() if size > 1}
            if any(name not in dimensions for name in said) or sizes.items() <= task.layout._asdict().items():
                continue
            words = " x ".join(f"{name} {size}" for name, size in said.items())
            yield _Move({(*path, "parallel"): said}, f"the split {words}", SPEED)


def _more(spec: Spec, machine: Machine, task: Task) -> Iterator[_Move]:
    """More GPUs; where the spec says how the model is split, split over all of them."""
    job = task.job
    if job.gpus.count is None or job.gpus.ids or not job.gpus.count:
        return
    path = _count_path(spec, task)
    for count in range(job.gpus.count + 1, len(machine.gpus) // job.replicas + 1):
        changes: dict[Path, Any] = {path: count}
        for name in ("tensor", "pipeline", "data"):
            if getattr(job.parallel, name) == job.gpus.count > 1:
                changes |= {(*job.path, "parallel", name): count}
        yield _Move(changes, f"{count} GPUs in place of {job.gpus.count}", GPU + count - job.gpus.count - 1)


def _count_path(spec: Spec, task: Task) -> Path:
    """Where the document says how many GPUs the task wants."""
    path: Path = (*task.job.path, "gpus")
    return (*path, "count") if isinstance(_at(spec.document.data, path), dict) else path


def _at(data: Any, path: Path) -> Any:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data
