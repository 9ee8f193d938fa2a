"""xDiT's runner of diffusion transformers. Facts from xfuser 0.7.0: its parsers were run, its runner was read.

It is started by torchrun, as the script `xdit` starts it, less what that adds: the port 29500 for every job, and a
session of its own that a stop does not reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING

from mgpu.catalog.repositories import local, pipeline
from mgpu.memory import estimates_of
from mgpu.values.engine import Complaint, Engine, Hub, Spelling, threads
from mgpu.values.plan import Task
from mgpu.values.said import degree, said, written
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

HEADS = {"FLUX.1": 24}
"""Attention heads by the family of a model, where they are known (its transformer's config.json)."""
DISTILLED = ("FLUX.", "Z-Image-Turbo")
"""Families whose guidance is distilled into the weights: there is no second half to put on another GPU."""
STAGED = ("FLUX.1-dev", "FLUX.2-", "SD3.5", "stable-diffusion-3.5")
"""Image models whose pipeline_fusion the runner of 0.7.0 has (ModelCapabilities)."""


def degrees(job: Job) -> dict[str, int]:
    """Parts of the sequence (Ulysses and ring), and the two halves of guidance."""
    sizes = {"ulysses": degree(job, "ulysses-degree"), "ring": degree(job, "ring-degree")}
    sizes |= {"cfg": 2 if said(job, "use-cfg-parallel") is True else 1}
    return {name: size for name, size in sizes.items() if size > 1}


def check(job: Job) -> Iterable[Complaint]:
    """Several GPUs must be given something to do, and something that the model has."""
    own, model, count = degrees(job), (job.model or "").rpartition("/")[2], job.gpus.count
    if count == 0:
        yield Complaint("xDiT computes on GPUs alone", ("gpus",), "gpus: 1")
    if not job.gpus.fewest and (count is None or count > 1) and not own and not any(job.parallel):
        message = "nothing says how xDiT is to use several GPUs"
        yield Complaint(message, ("gpus",), f"args: {{ulysses_degree: {count or 2}}}, for one picture on all of them")
    heads = next((number for family, number in HEADS.items() if model.startswith(family)), None)
    if heads and heads % own.get("ulysses", 1):
        message = f"{model} has {heads} attention heads, and Ulysses cannot share them among {own['ulysses']}"
        yield Complaint(message, ("args", written(job, "ulysses-degree")), "use ring_degree for the rest")
    if "cfg" in own and model.startswith(DISTILLED):
        message = f"{model} runs without the two halves of guidance: it is distilled"
        yield Complaint(message, ("args", written(job, "use-cfg-parallel")), "use ulysses_degree", key=True)
    if (job.parallel.pipeline or 1) > 1 and not model.startswith(STAGED):
        message = f"the runner of xfuser 0.7.0 has no PipeFusion for {model}"
        yield Complaint(message, ("parallel", "pipeline"), "args: {ulysses_degree: ...}", warning=True)
    prompts = said(job, "prompt")
    given = len(prompts) if isinstance(prompts, (list, tuple)) else 1
    if prompts and given < (job.parallel.data or 1):
        message = f"each of {job.parallel.data} copies needs a prompt of its own, and there {_are(given)}"
        yield Complaint(message, ("parallel", "data"), "args: {ulysses_degree: ...}, for one picture on several GPUs")


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def variables(task: Task) -> Mapping[str, int]:
    """One rank a GPU: the product of every degree."""
    layout = task.layout
    return {"ranks": layout.data * layout.pipeline * prod(degrees(task.job).values())}


def hub(task: Task) -> Hub | None:
    """The components of a pipeline, where the model is called by its repository. The runner's own short names are not
    resolved here: it fetches those at its start."""
    model = task.job.model or ""
    return None if local(model) or "/" not in model else Hub(model, pipeline)


def environment(task: Task) -> Mapping[str, str]:
    """Each has its share of the cores."""
    return threads(task, variables(task)["ranks"])


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.pictures(task)


ENGINE = Engine(
    name="xdit",
    kinds=("inference",),
    version="0.7.0",
    package="xfuser",
    dimensions=("data", "pipeline"),
    takes=frozenset(("args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "xdit"},
    owned={
        "model": "model",
        "data_parallel_degree": "parallel: {data: ...}",
        "pipefusion_parallel_degree": "parallel: {pipeline: ...}",
        "tensor_parallel_degree": "nothing: its runner refuses it for every model",
        "nproc_per_node": "gpus",
        "master_port": "nothing: torchrun takes a free one",
        "master_addr": "nothing: one machine",
        "nnodes": "nothing: one machine",
        "node_rank": "nothing: one machine",
    },
    finite=True,
    shm=16 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    degrees=degrees,
    check=check,
    variables=variables,
    environment=environment,
    hub=hub,
    memory=estimates_of("diffusion"),
    knobs=knobs,
)
