"""ComfyUI's server. Facts read at 0.3.64 (a125cd84) and 0.38.1 (03294572), Comfy-Org/ComfyUI.

One step of a workflow runs on one GPU. A server that is given several uses them where its workflow says so: the nodes
SelectModelDevice, SelectCLIPDevice, SelectVAEDevice and MultiGPU CFG Split, in core since May 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.catalog.flags import numbers
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import url
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said

DEVICE_NODES_SINCE = (0, 4)
"""No release of before this one (December 2025) can have them: they came with #7063 on 2026-05-26. Which was the
first is not known."""
PATHS = "extra_model_paths.yaml"


def probe(task: Task) -> Probe:
    """/system_stats lists the devices once every node is loaded. With TLS only the port is asked: its certificate is
    seldom one that this host trusts."""
    if said(task.job, "tls-certfile"):
        return Probe("tcp", url(task).removeprefix("http://"))
    return Probe("http", url(task, "/system_stats"), '"devices"')


def files(task: Task) -> Mapping[str, Any]:
    """Where else models are, in the words of ComfyUI's own extra_model_paths.yaml."""
    return {PATHS: task.job.config} if task.job.config else {}


def fits(task: Task) -> Iterable[Complaint]:
    """Before its device nodes a server computes on its first GPU alone, whatever it sees."""
    if task.gpu_count > 1 and () < numbers(task.version) < DEVICE_NODES_SINCE:
        yield Complaint(
            f"ComfyUI {task.version} has no nodes that use a second GPU: only custom nodes of one's own would",
            ("gpus",),
            f"gpus: 1 and replicas: {task.gpu_count}, for one server a GPU",
            warning=True,
        )


ENGINE = Engine(
    name="comfyui",
    kinds=("inference",),
    version="0.38.1",
    port=8188,
    takes=frozenset(("args", "version", "config")),
    lists={"args": "comfyui"},
    owned={
        "listen": "host",
        "port": "port",
        "cuda-device": "gpus",
        "default-device": "gpus: {ids: [...]}",
        "cpu": "gpus: 0",
        "auto-launch": "nothing: a server opens no browser",
        "disable-auto-launch": "nothing: mgpu always gives it",
    },
    config=PATHS,
    spelling=Spelling(negation=None, equals=True),
    fits=fits,
    files=files,
    probe=probe,
    memory=estimates_of("diffusion"),
    limit=limit_of("comfyui", "reserve-vram"),
)
