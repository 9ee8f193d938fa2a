"""How accelerate launch is told of its ranks, for every engine that starts with it. Facts from accelerate 1.15.0.

One of --multi_gpu, --use_fsdp, --use_deepspeed and --use_megatron_lm is always said where there are several ranks: with
a config file of another type `--num_processes 2` alone starts one process and warns of nothing (commands/launch.py). A
config file is always named, since one that lies in HF_HOME is read otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.values.engine import Complaint, ranks, threads
from mgpu.values.flag import plain
from mgpu.values.mark import Path
from mgpu.values.plan import Task
from mgpu.values.said import said, written
from mgpu.values.spec import Job

LIST = "accelerate@1.15.0"
FILE = "accelerate.yaml"
OWNED = {
    "config_file": "config",
    "num_processes": "gpus",
    "num_machines": "nothing: one machine",
    "machine_rank": "nothing: one machine",
    "main_process_ip": "nothing: one machine",
    "main_process_port": "nothing: every job has a port of its own",
    "multi_gpu": "gpus",
    "gpu_ids": "gpus: {ids: [...]}",
    "cpu": "gpus: 0",
}
"""The launch flags that mgpu sets. --cpu is none of them that it gives: with it one process is started, however many
were asked for."""
SHARING = {"fsdp_config": "FSDP", "deepspeed_config": "DEEPSPEED", "megatron_lm_config": "MEGATRON_LM"}
"""What makes ranks share a model: the section of the config file, and accelerate's name for it."""
FLAGS = {"FSDP": "use_fsdp", "DEEPSPEED": "use_deepspeed", "MEGATRON_LM": "use_megatron_lm"}


def way(job: Job) -> str | None:
    """How the ranks are to share a model, as the launch flags or the sections of the config file say; None for DDP."""
    asked = [name for name, flag in FLAGS.items() if said(job, flag)]
    return next(iter([*asked, *(name for section, name in SHARING.items() if section in job.config)]), None)


def variables(task: Task) -> dict[str, Any]:
    """What a template needs for the launch: the flag for the kind of launch, if there is one, comes first."""
    count, shared = ranks(task.layout), way(task.job)
    flag = FLAGS[shared] if shared else "multi_gpu" if count > 1 else None
    return {
        "ranks": count,
        "launch": f"--{flag}" if flag and not said(task.job, flag) else None,
        "parallelism": "parallelism_config" in task.job.config and not said(task.job, "use_parallelism_config"),
    }


def settings(task: Task, precision: str | None) -> dict[str, Any]:
    """The config file: what the launch flags say as well, and whatever the spec adds."""
    count = ranks(task.layout)
    several = "MULTI_GPU" if task.gpu_count else "MULTI_CPU"
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": way(task.job) or (several if count > 1 else "NO"),
        **({"mixed_precision": precision} if precision else {}),
        "num_machines": 1,
        "num_processes": count,
        **{key: value for key, value in task.job.config.items() if key != "mixed_precision"},
    }


def environment(task: Task) -> Mapping[str, str]:
    """Without GPUs the ranks meet over gloo only where they are told so: `--multi_gpu` alone gives as many processes
    that each take themselves for the only one."""
    return threads(task) if task.gpu_count else {**threads(task), "ACCELERATE_USE_CPU": "true"}


def complaints(job: Job) -> Iterator[Complaint]:
    """What accelerate refuses, or takes and does not do."""
    sections = [section for section in SHARING if section in job.config]
    for other in sections[1:]:
        yield Complaint(f"{sections[0]} and {other} exclude each other", ("config", other), "keep one", key=True)
    shared = way(job)
    if shared and job.gpus.count == 0:
        path = next((("config", section) for section in sections), ("args",))
        message = f"without GPUs accelerate trains with plain data parallelism: {shared} is not used"
        yield Complaint(message, path, key=True, warning=True)
    yield from _offload(job)
    deepspeed = job.config.get("deepspeed_config")
    if isinstance(deepspeed, Mapping) and "deepspeed_config_file" in deepspeed:
        for key in sorted(IN_FILE & deepspeed.keys()):
            message = f"{key} stands in the file of deepspeed_config_file, and accelerate refuses it beside that"
            yield Complaint(message, ("config", "deepspeed_config", key), "remove it here", key=True)


def _offload(job: Job) -> Iterator[Complaint]:
    """Offloading that DeepSpeed does only in a later stage, or that has nowhere to write (DeepSpeedPlugin)."""
    section = job.config.get("deepspeed_config")
    inside = isinstance(section, Mapping)
    given = section if isinstance(section, Mapping) else {plain(name): value for name, value in job.args.items()}
    stage = given.get("zero_stage", given.get("zero-stage"))
    for part in ("offload_param", "offload_optimizer"):
        names = (f"{part}_device", f"{part}_nvme_path")
        device, folder = (given.get(name if inside else plain(name)) for name in names)
        path: Path = ("config", "deepspeed_config", names[0]) if inside else ("args", written(job, names[0]))
        if device in ("cpu", "nvme") and part == "offload_param" and str(stage) in ("0", "1", "2"):
            yield Complaint(f"{part} needs stage 3, and zero_stage is {stage}", path, "zero_stage: 3", key=True)
        if device == "nvme" and not folder:
            yield Complaint("nvme needs the folder to write to", path, f"add {names[1]}: /a/folder/on/the/disk")


IN_FILE = frozenset((
    "gradient_accumulation_steps", "gradient_clipping", "zero_stage", "offload_optimizer_device",
    "offload_param_device", "offload_param_nvme_path", "offload_optimizer_nvme_path", "zero3_save_16bit_model",
))  # fmt: skip
"""What DeepSpeedPlugin._deepspeed_config_checks refuses beside a file."""

SIZES = ("dp_replicate_size", "dp_shard_size", "tp_size", "cp_size", "sp_size")


def sizes(job: Job, count: int) -> Iterator[Complaint]:
    """The sizes of a parallelism config multiply to the number of ranks (ParallelismConfig.total_size)."""
    section = job.config.get("parallelism_config")
    if not isinstance(section, Mapping):
        return
    product, words = 1, []
    for name in SIZES:
        size = section.get(f"parallelism_config_{name}", 1)
        if isinstance(size, int) and size > 1:
            product *= size
            words.append(f"{name} {size}")
    if product != count:
        message = f"{' x '.join(words) or 'the sizes'} is {product}, and the job has {count} rank{'s' * (count != 1)}"
        yield Complaint(message, ("config", "parallelism_config"), f"gpus: {product}", key=True)
