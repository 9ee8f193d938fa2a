"""A task of a server's in; its flags as numbers, its formats, and lines as this host has measured them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

from mgpu.catalog.engine_memory import constant
from mgpu.catalog.flags import numbers
from mgpu.memory.weights import format_of, on_gpu
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, MIB, Correction, Estimate, Line, Source, Span, Unknown, exactly, span
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.memory import Estimating

CALIBRATED = 0.03
"""By how much a line may differ from the same one of a boot log, up and down: allocators round."""
OF_A_MODEL = ("CUDA graphs",)
"""Lines that differ between models, so a log of another one says less of them."""
SIZES = {"": 1, "k": 1000, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
SIXTEEN = ("bf16", "fp16")
"""Formats that engines can quantize as they load."""
USUAL_CONTEXT = 8192
"""Tokens of a sequence where neither the spec nor the model says."""


def number(job: Job, *names: str) -> float | None:
    """What the job gives the first of these flags that it has, as a number (``8k`` is 8000, ``8Ki`` 8192)."""
    for name in names:
        value = said(job, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and (parsed := _parsed(value)) is not None:
            return parsed
    return None


def _parsed(text: str) -> float | None:
    digits = text.strip().rstrip("kKmMgGiIbB")
    unit = text.strip()[len(digits) :].lower().removesuffix("b")
    try:
        return float(digits) * SIZES[unit]
    except (ValueError, KeyError):
        return None


def whole(job: Job, default: int, *names: str) -> int:
    """A count that the job gives a flag, or the default; never less than one."""
    value = number(job, *names)
    return max(1, int(value)) if value is not None else default


def on(job: Job, name: str) -> bool:
    """Whether a switch is on."""
    return said(job, name) in (True, "true", "True", 1)


def cache_element(kind: object) -> float:
    """Bytes of an element of keys or values, by the word that engines have for its kind."""
    text = str(kind or "auto").lower()
    if text.startswith(("fp8", "int8", "turboquant_8")):
        return 1.0
    return 0.5625 if "fp4" in text or "int4" in text else 4.0 if text in ("float32", "fp32") else 2.0


def weight_format(task: Task, model: Model) -> str:
    """The format of the weights on the GPU: as the job's flags have them converted at load, else as they are stored."""
    job = task.job
    asked = str(said(job, "quantization") or said(job, "quantize") or "").lower().replace("-", "_")
    if asked.startswith("fp8"):
        return format_of("fp8", None, model) if not job.quantization else format_of(job.model, job.quantization, model)
    if asked in ("bitsandbytes", "bitsandbytes_nf4"):
        return "nf4"
    if str(said(job, "dtype") or "") in ("float32", "float"):
        return "fp32"
    return format_of(job.model, job.quantization, model)


def unconverted(task: Task, model: Model, place: tuple[int, int, int], gpu: Gpu, free: float) -> str | None:
    """Why weights that are quantized at load do not even get so far, in words: engines that convert them when all are
    there need room for them as they are stored. `place` is (tensor, pipeline, stage); `free` in bytes."""
    job = task.job
    stored = format_of(job.model, job.quantization, model)
    if weight_format(task, model) == stored or stored not in SIXTEEN or said(job, "load-format") == "layered":
        return None
    size = on_gpu(model, stored, *place)
    if constant(job.engine, "converts_layerwise", task.version) or size <= free:
        return None
    who = f"{job.engine} {task.version or ''}".strip()
    there = f"{words(size)} of {stored} on GPU {gpu.index}, of which {words(free)} are free then"
    return f"{who} quantizes the weights once all are loaded: {there}"


def context_of(job: Job, model: Model) -> int:
    """Tokens of the longest sequence: what the spec says, else what the model knows."""
    return job.context_length or model.context or USUAL_CONTEXT


def unknown(task: Task, model: Model | None) -> Unknown | None:
    """Why nothing can be said of this task, if that is so."""
    if not task.gpus:
        return Unknown("it has no GPU of its own, so nothing is reckoned for one")
    if model is None:
        if task.job.model is None:
            return Unknown("the spec names no model: what it loads is chosen while it runs")
        why = f"the sizes of {task.job.model} are not known"
        return Unknown(why, "model_facts: gives them, or --online asks the hub")
    return None


def answered(reckon: Callable[[Task, Model, Sequence[Correction]], tuple[Estimate, ...]]) -> Estimating:
    """`reckon` for a task with GPUs and a model that is known; else, and where it raises ValueError, the reason."""

    @wraps(reckon)
    def estimates(
        task: Task, model: Model | None, corrections: Sequence[Correction] = ()
    ) -> tuple[Estimate, ...] | Unknown:
        reason = unknown(task, model)
        if reason or model is None:
            return reason or Unknown("its model is not known")
        try:
            return reckon(task, model, corrections)
        except ValueError as error:
            return Unknown(f"{error}", "model_facts: gives the sizes of a model")

    return estimates


def about(name: str, size: float, off: float, source: Source, why: str, outside: bool = False) -> Line:
    """A line of about `size` bytes, that may be `off` (a share of it) less or more."""
    return Line(name, span(size * (1 - off), size, size * (1 + off)), source, why, outside)


def known(name: str, size: float, why: str, source: Source = "source") -> Line:
    """A line that is counted."""
    return Line(name, exactly(size), source, why)


def corrected(lines: Sequence[Line], task: Task, gpu: Gpu, corrections: Sequence[Correction]) -> tuple[Line, ...]:
    """The lines, with those replaced that a boot log of this host has: of the same engine, release, product and
    layout."""
    mine = {correction.line: correction for correction in corrections if _meant(correction, task, gpu)}
    return tuple(_as_measured(line, mine[line.name]) if line.name in mine else line for line in lines)


def _meant(correction: Correction, task: Task, gpu: Gpu) -> bool:
    same = numbers(correction.version)[:2] == numbers(task.version)[:2] or not (correction.version and task.version)
    sizes = (correction.tensor, correction.pipeline) == (task.layout.tensor, task.layout.pipeline)
    return same and sizes and correction.engine == task.job.engine and correction.product in (gpu.product, gpu.name)


def _as_measured(line: Line, correction: Correction) -> Line:
    size, where = correction.bytes, f" ({correction.log})" if correction.log else ""
    off = 10 * CALIBRATED if line.name in OF_A_MODEL else CALIBRATED
    bounds = span(size * (1 - off), size, size * (1 + off))
    return line._replace(bytes=bounds, source="calibrated", why=f"as a boot log of this host had it{where}")


def left(budget: int, lines: Sequence[Line]) -> Span:
    """What of a budget these lines leave, in bytes; never below nothing."""
    used = [line.bytes for line in lines if not line.outside]
    columns = (sum(size.high for size in used), sum(size.expected for size in used), sum(size.low for size in used))
    return Span(*(max(0, budget - column) for column in columns))


def words(size: float) -> str:
    """A size in words."""
    return f"{size / GIB:.2f} GiB" if abs(size) >= GIB else f"{size / MIB:.0f} MiB"


def on_each(task: Task, reckoned: Callable[[int], Estimate]) -> tuple[Estimate, ...]:
    """What is `reckoned` for each position of the task's GPUs: once for equal ones of a stage, which need the same. (A
    fault names its GPU, so it is reckoned for each.)"""
    known: dict[tuple[object, ...], Estimate] = {}
    found = []
    for at, gpu in enumerate(task.gpus):
        alike = (stage_of(task, at), gpu.memory, gpu.free, gpu.budget, gpu.product, gpu.name)
        one = known.get(alike)
        if one is None or one.fault:
            one = known[alike] = reckoned(at)
        found.append(replace(one, index=gpu.index))
    return tuple(found)


def stage_of(task: Task, position: int) -> int:
    """The stage of the pipeline that the task's GPU at `position` belongs to: ranks are counted through each tensor
    group first, then through the stages."""
    return position // task.layout.tensor % task.layout.pipeline
