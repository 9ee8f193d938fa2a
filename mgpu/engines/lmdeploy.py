"""LMDeploy's API server. Facts read from the parser of 0.18.0, and its repository at 1263d5cd (August 2026)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mgpu.catalog.repositories import local
from mgpu.catalog.shards import equal_shares, fp8, heads_as_placed, heads_as_said, on_gpus
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import listed_and_asked
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Hub, Spelling, key_in_sight
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob


def check(job: Job) -> Iterable[Complaint]:
    """Its heads must divide (InternLM/lmdeploy#4128); it reads its keys from nowhere else than its command line."""
    yield from heads_as_said(job, "LMDeploy", "any")
    yield from key_in_sight(job, ("api-keys",), "LMDeploy", "serve it on 127.0.0.1, behind a proxy that asks for one")


def fits(task: Task) -> Iterable[Complaint]:
    """TurboMind has kernels that read FP8 weights from 7.0 on, and compute in FP8 on Hopper (kernels/gemm/arch)."""
    yield from on_gpus(task, "LMDeploy")
    yield from heads_as_placed(task, "LMDeploy", "any")
    if task.layout.tensor > 1:
        yield from equal_shares(task, "LMDeploy")
    yield from fp8(task, "LMDeploy", ("model-format",), (7, 0))


def probe(task: Task) -> Probe:
    """Ready when the model itself is listed and writes a token."""
    return listed_and_asked(task, "model-name", within=1800.0)


def hub(task: Task) -> Hub | None:
    """All of a repository but its .pth files (get_model in lmdeploy/utils.py)."""
    model, revision = task.job.model or "", said(task.job, "revision")
    if local(model):
        return None
    instead = "LMDeploy is told to keep it in download-dir, and fetches it at its start"
    return Hub(
        model,
        lambda files, _: [file for file in files if not file.endswith(".pth")],
        str(revision) if revision else None,
        instead=instead if said(task.job, "download-dir") else None,
    )


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.filling(task)


ENGINE = Engine(
    name="lmdeploy",
    kinds=("inference",),
    version="0.18.0",
    image="openmmlab/lmdeploy:v{version}-cu12.8",
    package="lmdeploy",
    port=23333,
    dimensions=("tensor",),
    revision="revision",
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "lmdeploy"},
    owned={
        "tp": "parallel: {tensor: ...}",
        "dp": "replicas",
        "session-len": "context_length",
        "server-name": "host",
        "server-port": "port",
        "nnodes": "nothing: one machine",
    },
    shm=32 * 2**30,
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    check=check,
    fits=fits,
    probe=probe,
    hub=hub,
    memory=estimates_of("uncalibrated"),
    knobs=knobs,
    limit=limit_of("lmdeploy", "cache-max-entry-count"),
)
"""Its documentation gives a container the host's memory (--ipc=host), and names 32 GiB where it names a size (ROCm)."""
