"""Ollama. Facts read from ollama/ollama at fb3076099 (August 2026, 0.33).

It has no flags: what others say in flags it reads from the environment of its server, and under `args` stand the names
of those variables. On several GPUs a model lies on one of them if it fits there (packed), unless it is told to spread:
`parallel: {pipeline: 2}` does, for what it spreads are whole layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgpu.catalog.flags import flags
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import url
from mgpu.values.command import Probe, Trial
from mgpu.values.engine import Complaint, Engine
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

SPREAD = "OLLAMA_SCHED_SPREAD"
OWN = ("OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH")
"""The variables that mgpu sets, which must not be set once more under env."""
NAME = re.compile(r"[A-Z][A-Z0-9_]*")
TIMES = ("OLLAMA_KEEP_ALIVE", "OLLAMA_LOAD_TIMEOUT")
TIME = re.compile(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
"""A length of time as Go reads it (time.ParseDuration)."""
HINT = "its settings are variables: OLLAMA_NUM_PARALLEL, ..."
TAKE = 6 * 3600.0
"""Seconds that fetching a model may take."""


def check(job: Job) -> Iterable[Complaint]:
    """What is said twice, and what is no setting."""
    wide, spread = (job.parallel.pipeline or 1) > 1, said(job, SPREAD)
    if wide and spread is False:
        yield Complaint(f"{SPREAD}: false packs the model, and pipeline spreads it", ("args", SPREAD), "keep one")
    for name in TIMES:
        value = said(job, name)
        if isinstance(value, str) and not (TIME.fullmatch(value) or value.lstrip("-").isdigit()):
            message = f"{name} wants a length of time, not {value!r}: Ollama then takes its default"
            yield Complaint(message, ("args", name), f"{name}: 10m, or -1 for always")
    unlisted = bool(job.image) if job.version is None else flags("ollama", job.version) is None
    for name in job.args:
        if unlisted and not NAME.fullmatch(name):
            yield Complaint(f"{name} is no variable of Ollama's, and it has no flags", ("args", name), HINT, key=True)
    for name in OWN:
        if name in job.env:
            key = "host and port" if name == "OLLAMA_HOST" else "context_length"
            yield Complaint(f"{name} is set by mgpu", ("env", name), f"use {key} instead", key=True)


def fits(task: Task) -> Iterable[Complaint]:
    """What is left open on several GPUs, unless one is known to be too small for the model."""
    used = [one for one in task.memory if one.total.expected] if isinstance(task.memory, tuple) else []
    if task.gpu_count > 1 and len(used) < 2 and task.job.parallel.pipeline is None and said(task.job, SPREAD) is None:
        message = "Ollama puts a model that fits on one GPU there, and leaves the others idle"
        hint = f"parallel: {{pipeline: {task.gpu_count}}} to spread it, args: {{{SPREAD}: false}} if that is meant"
        yield Complaint(message, ("gpus",), hint, warning=True)


def environment(task: Task) -> Mapping[str, str]:
    """The settings as Ollama reads them. Replicas share a store of models, and one that starts must not remove what
    another is just fetching (OLLAMA_NOPRUNE)."""
    job = task.job
    listen = "0.0.0.0" if task.secluded else job.host
    own = {"OLLAMA_HOST": f"{f'[{listen}]' if ':' in listen else listen}:{task.port}"}
    if (job.parallel.pipeline or 1) > 1:
        own[SPREAD] = "1"
    if job.context_length:
        own["OLLAMA_CONTEXT_LENGTH"] = str(job.context_length)
    if job.replicas > 1:
        own["OLLAMA_NOPRUNE"] = "1"
    return own | {name: _text(value) for name, value in job.args.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return ",".join(_text(item) for item in value)
    return str(value)


def arguments(_: Task) -> Mapping[str, Any]:
    """None of its settings is a flag."""
    return {}


def probe(task: Task) -> Probe:
    """Ready when the model writes a token. One that is not in the store yet is fetched by the server itself, which is
    asked to: a server that merely lives answers, and lists what it has."""
    model = task.job.model
    fetch = Trial(url(task, "/api/pull"), {"model": model, "stream": False}, TAKE)
    body = {"model": model, "prompt": "Hello", "stream": False, "options": {"num_predict": 1}}
    trial = Trial(url(task, "/api/generate"), body, 600.0, fetch)
    return Probe("http", url(task, "/api/tags"), "models", within=TAKE, trial=trial)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.ollama(task)


def spills(_: Task) -> bool:
    """Layers that no GPU holds are the CPU's (docs/faq.mdx: `ollama ps` shows the shares)."""
    return True


ENGINE = Engine(
    name="ollama",
    kinds=("inference",),
    gguf=True,
    version="0.33.0",
    image="ollama/ollama:{version}",
    entrypoint=("ollama",),
    port=11434,
    dimensions=("pipeline",),
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "ollama"},
    owned={
        "OLLAMA_HOST": "host and port",
        "OLLAMA_CONTEXT_LENGTH": "context_length",
        "CUDA_VISIBLE_DEVICES": "gpus",
    },
    cache="/root/.ollama",
    cache_home=".ollama",
    stop_grace=30.0,
    check=check,
    fits=fits,
    probe=probe,
    environment=environment,
    arguments=arguments,
    memory=estimates_of("ollama"),
    knobs=knobs,
    spills=spills,
    limit=limit_of("ollama", "OLLAMA_GPU_OVERHEAD", "OLLAMA_MAX_LOADED_MODELS"),
)
