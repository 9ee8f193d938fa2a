"""DeepSpeed's launcher and its JSON config. Facts read from deepspeed 0.19.8 and run with it.

On a host only `--include` says which GPUs: CUDA_VISIBLE_DEVICES is dropped beside any other choice, and a UUID in it is
no number. So it is not set, and GPUs are named by index; in a container they count from 0 (launcher/runner.py).
`--no_local_rank` is given, unless the spec says `no_local_rank: false`: the rank is in LOCAL_RANK, as torchrun has it,
and a script that does not know --local_rank ends at it. `--hostfile /dev/null`: a /job/hostfile that happens to be
there would change where it all runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mgpu.memory.recipes import finished, of_deepspeed
from mgpu.memory.trainings import BY_RECIPE, Lever, levers, trained
from mgpu.values.engine import Complaint, Engine, Naming, Spelling, asked_ranks, ranks, sharing, threads
from mgpu.values.mark import Path
from mgpu.values.plan import Task
from mgpu.values.recipe import Recipe
from mgpu.values.said import said
from mgpu.values.spec import CONFIG, Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

FILE = "deepspeed.json"
TOTAL, MICRO, STEPS = "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"


def check(job: Job) -> Iterable[Complaint]:
    """What deepspeed.initialize would refuse, or take and not do, in the config; the batch where ranks are known."""
    if not job.config:
        if CONFIG in _words(job.script_args):
            yield Complaint(
                f"{CONFIG} stands for the config file, and there is no config", ("script_args",), "add config:"
            )
        return
    yield from _autos(job)
    yield from _precision(job.config)
    yield from _offload(job.config)
    if MICRO not in job.config and TOTAL not in job.config and not _filled(job):
        hint = f"add {MICRO}: the samples that a GPU takes at once"
        yield Complaint(f"the config has neither {TOTAL} nor {MICRO}", ("config",), hint, key=True)
    count = asked_ranks(job)
    if count:
        yield from _batch(job, count // sharing(job))


def fits(task: Task) -> Iterable[Complaint]:
    """The batch, where the machine decides how many GPUs there are."""
    return _batch(task.job, task.layout.data) if asked_ranks(task.job) is None else ()


def _batch(job: Job, copies: int) -> Iterator[Complaint]:
    """The total is the micro batch x the accumulation steps x the copies of the model, and nothing is rounded
    (runtime/config.py, _set_batch_related_parameters and _batch_assertion)."""
    config = job.config
    total, micro, steps = (_number(config.get(name)) for name in (TOTAL, MICRO, STEPS))
    split = max(_number(config.get("sequence_parallel_size")) or 1, _tensor(config))
    if total is None or copies < 1 or copies % split:
        return
    copies //= split
    known = (micro or 1) * (steps or 1) * copies
    exact = micro is not None and steps is not None
    if total == known or (not exact and total % known == 0):
        return
    parts = [f"{MICRO} {micro}"] * (micro is not None) + [f"{STEPS} {steps}"] * (steps is not None)
    words = " x ".join([*parts, f"{copies} rank{'s' if copies > 1 else ''}"])
    message = f"{TOTAL} is {total}, and {words} " + (f"is {known}" if exact or parts else "do not divide it")
    message = message if exact or not parts else f"{message}, which does not divide it"
    nearest = known if exact else max(known, round(total / known) * known)
    yield Complaint(message, ("config", TOTAL), f"{TOTAL}: {nearest}")


def _tensor(config: Mapping[str, Any]) -> int:
    section = config.get("tensor_parallel")
    return (_number(section.get("autotp_size")) or 1) if isinstance(section, Mapping) else 1


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _precision(config: Mapping[str, Any]) -> Iterator[Complaint]:
    on = [name for name in ("fp16", "bf16", "bfloat16") if _at(config, name, "enabled") is True]
    if len(on) > 1:
        yield Complaint(
            "fp16 and bf16 exclude each other", ("config", on[1], "enabled"), f"{on[0]} or {on[1]}, not both"
        )
    stage = _stage(config)
    for name in on:
        for key in (f"{name[:4]}_master_weights_and_grads", "bf16_optimizer_states"):
            if _at(config, name, key) is True and stage == 0:
                message = f"{key} needs ZeRO stage 1, 2 or 3"
                yield Complaint(message, ("config", name, key), "zero_optimization: {stage: 1}")


def _offload(config: Mapping[str, Any]) -> Iterator[Complaint]:
    """What the config's own classes let through, and what then fails or is not done."""
    zero, stage = config.get("zero_optimization"), _stage(config)
    if not isinstance(zero, Mapping):
        return
    for name, lowest in (("offload_param", 3), ("offload_optimizer", 1)):
        device = _at(zero, name, "device")
        if device in ("cpu", "nvme") and isinstance(stage, int) and stage < lowest:
            least = f"stage {lowest}" if lowest == 3 else "stage 1, 2 or 3"
            path: Path = ("config", "zero_optimization", name)
            yield Complaint(f"{name} needs {least}, and the stage is {stage}", path, f"stage: {lowest}", key=True)
        if device == "nvme" and not _at(zero, name, "nvme_path"):
            path = ("config", "zero_optimization", name, "device")
            yield Complaint("nvme needs the folder to write to", path, "add nvme_path: /a/folder/on/the/disk")
    if stage == 3 and config.get("gradient_allreduce_op") == "sum":
        yield Complaint("stage 3 has no gradient_allreduce_op sum", ("config", "gradient_allreduce_op"), "mean")


def _stage(config: Mapping[str, Any]) -> Any:
    stage = _at(config, "zero_optimization", "stage")
    return 0 if stage is None else stage


def _at(config: Mapping[str, Any], section: str, key: str) -> Any:
    inner = config.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


def _autos(job: Job) -> Iterator[Complaint]:
    """`auto` is filled in by Hugging Face's Trainer, which takes the file as --deepspeed. DeepSpeed itself dies of it
    at the top, and further down takes the key for unset: bf16 that is on `auto` is then off, and nobody says so."""
    if _filled(job):
        return
    placed = CONFIG in _words(job.script_args)
    for path in _auto_paths(job.config, ("config",)):
        message = f"only Hugging Face's Trainer and Accelerate fill in auto: plain DeepSpeed has no {path[-1]} then"
        hint = f"a number or a word; or script_args: {{deepspeed: '{CONFIG}'}} where the script is one of theirs"
        yield Complaint(message, path, hint, warning=placed)


def _auto_paths(value: Any, path: Path) -> Iterator[Path]:
    if value == "auto":
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _auto_paths(inner, (*path, key))


def _filled(job: Job) -> bool:
    """Whether the script takes the config file as Hugging Face's Trainer does."""
    if isinstance(job.script_args, Mapping):
        return any(name == "deepspeed" and CONFIG in str(value) for name, value in job.script_args.items())
    words = list(job.script_args)
    return f"--deepspeed={CONFIG}" in words or ("--deepspeed", CONFIG) in pairwise(words)


def _words(given: Mapping[str, Any] | tuple[str, ...]) -> str:
    return " ".join(str(word) for word in (given.values() if isinstance(given, Mapping) else given))


def variables(task: Task) -> Mapping[str, Any]:
    """The GPUs as the launcher numbers them, else how many ranks."""
    boxed = task.runtime == "docker" and not (task.job.container and task.job.container.privileged)
    indices = [number if boxed else gpu.index for number, gpu in enumerate(task.gpus)]
    return {
        "include": f"localhost:{','.join(map(str, indices))}" if indices else None,
        "ranks": ranks(task.layout),
        "no_local_rank": said(task.job, "no_local_rank") is None,
    }


def environment(task: Task) -> Mapping[str, str]:
    """Without GPUs the accelerator is named: the launcher drops the empty CUDA_VISIBLE_DEVICES, and gives its ranks one
    with the numbers 0 to n-1, so what asks CUDA instead of DeepSpeed would see the GPUs of the host."""
    cores = threads(task, ranks(task.layout))
    return cores if task.gpu_count else {**cores, "DS_ACCELERATOR": "cpu"}


def files(task: Task) -> Mapping[str, Any]:
    """The config, where the spec has one."""
    return {FILE: task.job.config} if task.job.config else {}


def names_gpus(_: str | None) -> Naming:
    """In no version by CUDA_VISIBLE_DEVICES."""
    return "nothing"


AT = {
    **BY_RECIPE,
    "stage": Lever(("config", "zero_optimization", "stage")),
    "offload": Lever(("config", "zero_optimization", "offload_optimizer"), {"device": "cpu"}),
    "micro_batch": Lever(("config", MICRO)),
}


def recipe(job: Job) -> Recipe | None:
    """What the config says, and the spec of what stands in the script."""
    if not job.recipe:
        return None
    return finished(of_deepspeed(Recipe(precision="fp32", sharding="none", optimizer="adamw-fused"), job.config), job)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less: said in the config where the spec has one, else in the recipe."""
    return levers(recipe(task.job), AT if task.job.config else BY_RECIPE)


ELSEWHERE = ("hostfile", "num_nodes", "node_rank", "master_addr", "launcher", "launcher_args", "force_multi", "no_ssh")
ENGINE = Engine(
    name="deepspeed",
    kinds=("training",),
    version="0.19.8",
    package="deepspeed",
    dimensions=("data", "tensor", "pipeline"),
    takes=frozenset(("script_args", "args", "config", "parallel", "version", "model", "recipe")),
    requires=frozenset(("script",)),
    lists={"args": "deepspeed", "config": "deepspeed-config"},
    owned={
        "include": "gpus: {ids: [...]}",
        "exclude": "gpus: {ids: [...]}",
        "num_gpus": "gpus",
        "master_port": "nothing: every job has a port of its own",
        **dict.fromkeys(ELSEWHERE, "nothing: one machine"),
    },
    config=FILE,
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=35.0,
    spelling=Spelling(negation=None, equals=True),
    names_gpus=names_gpus,
    check=check,
    fits=fits,
    files=files,
    variables=variables,
    environment=environment,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
)
"""Its own patience with ranks that were asked to end is 30 s (launcher/launch.py)."""
