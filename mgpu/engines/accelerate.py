"""accelerate, Hugging Face's launcher. Facts read from accelerate 1.15.0 and run with it.

The config file is written from the spec and always named, and what it says of the ranks is said on the command line as
well, before the script: what follows the script is the script's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgpu.catalog import accelerate
from mgpu.memory.recipes import alone, finished, of_accelerate
from mgpu.memory.trainings import BY_RECIPE, levers, trained
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks, ranks
from mgpu.values.flag import plain
from mgpu.values.plan import Task
from mgpu.values.recipe import Recipe
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob


def precision(job: Job) -> str:
    """The mixed precision that the spec says, under args or config; accelerate's own default is none."""
    return str(said(job, "mixed_precision") or job.config.get("mixed_precision") or "no")


def check(job: Job) -> Iterable[Complaint]:
    """What does not go together in the config file; one precision; as many ranks as sizes."""
    yield from accelerate.complaints(job)
    one, other = said(job, "mixed_precision"), job.config.get("mixed_precision")
    if one and other and one != other:
        message = f"args say mixed_precision {one}, and config says {other}"
        yield Complaint(message, ("args", "mixed_precision"), "keep one of them", key=True)
    yield from _script_says(job)
    if count := asked_ranks(job):
        yield from accelerate.sizes(job, count)


def _script_says(job: Job) -> Iterable[Complaint]:
    """A script of Hugging Face's Trainer takes its own precision, whatever the launch says."""
    launch, given = precision(job), job.script_args
    for name in ("bf16", "fp16"):
        other = launch in ("bf16", "fp16") and launch != name
        if other and isinstance(given, Mapping) and given.get(name) is True:
            message = f"{name} is on for the script, and mixed_precision says {launch}"
            yield Complaint(message, ("script_args", name), "keep one of them", key=True)


def fits(task: Task) -> Iterable[Complaint]:
    """The sizes, where the machine decides how many GPUs there are."""
    if asked_ranks(task.job) is None:
        yield from accelerate.sizes(task.job, ranks(task.layout))


def variables(task: Task) -> Mapping[str, Any]:
    """The flags that say how many ranks there are and how they work together."""
    return {
        **accelerate.variables(task),
        "precision": None if said(task.job, "mixed_precision") else precision(task.job),
    }


def recipe(job: Job) -> Recipe | None:
    """What the config and the flags say, and the spec of what stands in the script."""
    if not job.recipe:
        return None
    flags = {plain(name): value for name, value in job.args.items()}
    frozen = job.recipe.get("method", "full") != "full"  # whoever freezes a model loads it in 16 bits
    precision = job.recipe.get("precision", "bf16" if frozen else "fp32")
    start = Recipe(precision=precision, sharding=alone(asked_ranks(job) or 2))
    return finished(of_accelerate(start, job.config, flags), job)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less."""
    return levers(recipe(task.job), BY_RECIPE)


def files(task: Task) -> Mapping[str, Any]:
    """The config file."""
    return {accelerate.FILE: accelerate.settings(task, precision(task.job))}


ENGINE = Engine(
    name="accelerate",
    kinds=("training",),
    version="1.15.0",
    image="huggingface/accelerate:gpu-release-{version}",
    package="accelerate",
    dimensions=("data",),
    takes=frozenset(("script_args", "args", "config", "parallel", "version", "model", "recipe")),
    requires=frozenset(("script",)),
    lists={"args": "accelerate", "config": "accelerate-config"},
    owned={
        **accelerate.OWNED,
        "distributed_type": "nothing: it follows from gpus, and from fsdp_config or deepspeed_config",
        "compute_environment": "nothing: it runs here",
        "use_cpu": "gpus: 0",
        "same_network": "nothing: one machine",
        "rdzv_backend": "nothing: one machine",
    },
    config=accelerate.FILE,
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    check=check,
    fits=fits,
    files=files,
    variables=variables,
    environment=accelerate.environment,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
)
