"""Pictures by a pipeline of diffusers, in a program of mgpu's own that is written before the start.

Facts read at diffusers 0.42.1. The program is templates/text_to_image.py; nothing of it is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from math import prod
from typing import TYPE_CHECKING

from mgpu.catalog.flags import numbers
from mgpu.catalog.repositories import local, pipeline
from mgpu.memory import estimates_of
from mgpu.resources import folder
from mgpu.values.engine import Complaint, Engine, Hub, Spelling, threads
from mgpu.values.plan import Task
from mgpu.values.said import degree, said, written
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

PROGRAM = "text_to_image.py"
OLDEST = (0, 40)
"""Since this release `dtype` is what torch_dtype was, and ContextParallelConfig is exported."""


def degrees(job: Job) -> dict[str, int]:
    """The parts that a picture's sequence is split into."""
    sizes = {"ulysses": degree(job, "ulysses-degree"), "ring": degree(job, "ring-degree")}
    return {name: size for name, size in sizes.items() if size > 1}


def check(job: Job) -> Iterable[Complaint]:
    """One process with whole components on several GPUs, or several processes: not both. And words to draw."""
    stages, count = job.parallel.pipeline or 1, job.gpus.count
    others = {"data": job.parallel.data or 1} | degrees(job)
    other = next((name for name, size in others.items() if size > 1), None)
    if stages > 1 and other:
        message = f"components on several GPUs (pipeline) are one process, and {other} needs several"
        yield Complaint(message, ("parallel", "pipeline"), "keep one of them")
    elif stages > 1 and count != stages:
        what = "all GPUs" if count is None else f"{count} GPUs"
        message = f"one process has every GPU of the job, {what} and not {stages}"
        yield Complaint(message, ("parallel", "pipeline"), f"gpus: {stages}")
    if stages > 1 and said(job, "cpu-offload"):
        message = "diffusers refuses to offload what lies on several GPUs"
        yield Complaint(message, ("args", written(job, "cpu-offload")), "keep one of them", key=True)
    if count == 0 and degrees(job):
        yield Complaint("diffusers shares a sequence among GPUs alone", ("gpus",), "parallel: {data: ...}")
    if not said(job, "prompt") and not said(job, "prompt-file"):
        yield Complaint("there is nothing to draw", ("args",), "args: {prompt: [a lighthouse at dusk]}")


def fits(task: Task) -> Iterable[Complaint]:
    """An older diffusers has other names for what the program uses."""
    if () < numbers(task.version) < OLDEST:
        message = f"mgpu's program needs diffusers 0.40, and this is {task.version}"
        yield Complaint(message, ("version" if task.job.version else "engine",), "pip install 'diffusers>=0.40'")


def hub(task: Task) -> Hub | None:
    """The components of a pipeline."""
    model, revision, variant = task.job.model or "", said(task.job, "revision"), said(task.job, "variant")
    if local(model):
        return None
    named = str(variant) if variant else None
    return Hub(model, lambda files, content: pipeline(files, content, named), str(revision) if revision else None)


@cache
def _program() -> str:
    return (folder("templates") / PROGRAM).read_text("utf-8")


def files(_: Task) -> Mapping[str, str]:
    """The program, to the letter."""
    return {PROGRAM: _program()}


def variables(task: Task) -> Mapping[str, int]:
    """As many processes as there are copies and parts of a sequence."""
    return {"processes": task.layout.data * prod(degrees(task.job).values())}


def environment(task: Task) -> Mapping[str, str]:
    """Each has its share of the cores."""
    return threads(task, variables(task)["processes"])


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.diffusers(task)


ENGINE = Engine(
    name="diffusers",
    kinds=("inference",),
    version="0.42.1",
    package="diffusers",
    dimensions=("data", "pipeline"),
    revision="revision",
    takes=frozenset(("args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "text-to-image@1"},
    owned={
        "model": "model",
        "device-map": "parallel: {pipeline: ...}",
    },
    config=PROGRAM,
    finite=True,
    shm=16 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    degrees=degrees,
    check=check,
    fits=fits,
    files=files,
    variables=variables,
    environment=environment,
    hub=hub,
    memory=estimates_of("diffusion"),
    knobs=knobs,
)
