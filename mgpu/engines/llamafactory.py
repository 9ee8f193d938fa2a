"""LLaMA-Factory, which fine-tunes language models from one YAML file. Facts from hiyouga/LLaMA-Factory at ff6d4d12.

It starts itself again with torchrun and takes what that is told from the environment. Its command line is joined with
spaces and split again on the way, so everything is in the YAML, and the path of that must have no space
(src/llamafactory/launcher.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.values.engine import Complaint, Engine, ranks, threads
from mgpu.values.plan import Task
from mgpu.values.spec import Job

FILE = "llamafactory.yaml"


def check(job: Job) -> Iterable[Complaint]:
    """What its parser refuses, and a training that trains nothing."""
    config = job.config
    for name in ("model_name_or_path", "output_dir"):
        if name not in config:
            yield Complaint(f"{name} is missing: LLaMA-Factory needs it", ("config",), f"add {name}:", key=True)
    if not any(config.get(name) for name in ("do_train", "do_eval", "do_predict")):
        message = "without do_train the model is loaded, and nothing is trained"
        yield Complaint(message, ("config",), "add do_train: true", key=True, warning=True)
    if config.get("deepspeed") and config.get("fsdp"):
        yield Complaint("deepspeed and fsdp exclude each other", ("config", "fsdp"), "keep one", key=True)


def environment(task: Task) -> Mapping[str, str]:
    """torchrun always, with one GPU too: DeepSpeed wants it there. The ranks meet at a port of the job's own; that one
    is there for a single machine stops what the environment may hold of several."""
    return {
        **threads(task),
        "FORCE_TORCHRUN": "1",
        "NNODES": "1",
        "NODE_RANK": "0",
        "NPROC_PER_NODE": str(ranks(task.layout)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(task.rendezvous),
    }


def files(task: Task) -> Mapping[str, Any]:
    """The YAML."""
    return {FILE: task.job.config}


ENGINE = Engine(
    name="llamafactory",
    kinds=("training",),
    version="0.9.6",
    image="hiyouga/llamafactory:{version}",
    package="llamafactory",
    dimensions=("data",),
    takes=frozenset(("parallel", "version", "model")),
    requires=frozenset(("config",)),
    lists={"config": "llamafactory"},
    config=FILE,
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    check=check,
    files=files,
    environment=environment,
)
