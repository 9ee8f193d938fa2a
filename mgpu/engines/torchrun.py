"""torchrun, the launcher of PyTorch's distributed training. Facts from torch 2.13.0's own parser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgpu.catalog.flags import numbers
from mgpu.memory.recipes import finished
from mgpu.memory.trainings import BY_RECIPE, levers, trained
from mgpu.values.engine import Complaint, Engine, Spelling, ranks, threads
from mgpu.values.plan import Task
from mgpu.values.recipe import Recipe
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob


def variables(task: Task) -> Mapping[str, Any]:
    """One rank a GPU; without GPUs as many as `parallel.data` says."""
    return {"ranks": ranks(task.layout)}


def fits(task: Task) -> Iterable[Complaint]:
    """PyTorch's images name their CUDA, and those of before 2.9 have older ones."""
    if task.runtime == "docker" and not task.job.image and () < numbers(task.version) < CUDA_13:
        message = f"PyTorch {task.version} has no image with CUDA 13.0, which mgpu would take"
        yield Complaint(message, ("version",), "image: pytorch/pytorch:..., with a CUDA that this version has")


def recipe(job: Job) -> Recipe | None:
    """What the spec says of a training whose script is the user's own; with torchrun it is taken to use DDP."""
    return finished(Recipe(), job) if job.recipe else None


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less."""
    return levers(recipe(task.job), BY_RECIPE)


CUDA_13 = (2, 9)
MEETING = ("master-addr", "master-port", "rdzv-backend", "rdzv-endpoint", "rdzv-id")
"""What --standalone overrides or leaves unread (torch/distributed/run.py)."""

ENGINE = Engine(
    name="torchrun",
    kinds=("training",),
    version="2.13.0",
    image="pytorch/pytorch:{version}-cuda13.0-cudnn9-runtime",
    package="torch",
    dimensions=("data",),
    takes=frozenset(("script_args", "args", "parallel", "version", "model", "recipe")),
    requires=frozenset(("script",)),
    lists={"args": "torchrun"},
    owned={
        "nproc-per-node": "gpus",
        "standalone": "nothing: mgpu always gives it",
        **dict.fromkeys(("nnodes", "node-rank"), "nothing: one machine"),
        **dict.fromkeys(MEETING, "nothing: --standalone takes a free port, and no other"),
    },
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    fits=fits,
    variables=variables,
    environment=threads,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
)
