"""llama.cpp's llama-server. Facts read from ggml-org/llama.cpp at commit 0c1e57098 (autumn 2026)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mgpu.catalog.shards import uneven
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import one_token, url
from mgpu.values.command import Probe
from mgpu.values.engine import HUB_CACHE, Complaint, Engine, Hub, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said, secret
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob
    from mgpu.values.model import Model


def check(job: Job) -> Iterable[Complaint]:
    """One split mode for all GPUs, and with tensors split the context cannot be fitted (docs/multi-gpu.md). Slots that
    are counted have a part of the context each (llama-context.cpp: n_ctx_seq)."""
    tensor, count = job.parallel.tensor or 1, job.gpus.count
    if tensor > 1 and count and count != tensor:
        yield Complaint("llama.cpp splits tensors over all of its GPUs", ("parallel", "tensor"), f"tensor: {count}")
    if tensor > 1 and not job.context_length:
        message = "llama.cpp cannot choose the context length itself when it splits tensors"
        yield Complaint(message, ("parallel", "tensor"), "add context_length: 8192")
    if job.version and job.version.isdigit():
        yield Complaint("llama.cpp's versions are builds", ("version",), f"version: b{job.version}")
    if job.gpus.share and not job.context_length:
        message = "llama.cpp takes all that is free for a context that nobody chose, and a share is only a part of it"
        yield Complaint(message, ("gpus", "share"), "add context_length: 8192")
    slots = said(job, "parallel") or said(job, "np")
    if isinstance(slots, int) and slots > 1 and job.context_length and said(job, "kv-unified") is not True:
        message = f"llama.cpp divides the context among its slots: {slots} of {job.context_length // slots} tokens"
        hint = f"context_length: {slots * job.context_length}, or args: {{kv-unified: true}} to let each have all of it"
        yield Complaint(message, ("context_length",), hint, warning=True)
    for name, value in job.args.items():
        if name in LAYERS and str(value).lstrip("-").isdigit():
            message = f"with {name} as a number llama.cpp no longer fits the model to the memory that it finds"
            yield Complaint(message, ("args", name), "leave it out: all layers that fit go to the GPUs", warning=True)


LAYERS = ("n-gpu-layers", "gpu-layers", "ngl")
SPLIT = ("tensor-split", "ts")


def fits(task: Task) -> Iterable[Complaint]:
    """A split of one's own has a share for each GPU."""
    for name in SPLIT:
        value = said(task.job, name)
        shares = (
            value if isinstance(value, (list, tuple)) else re.split("[,/]", str(value)) if value is not None else ()
        )
        if shares and len(shares) != task.gpu_count:
            message = f"{name} has {len(shares)} shares for {task.gpu_count} GPUs"
            yield Complaint(message, ("args", name), "leave it out: mgpu takes what is free on each")


def split(task: Task) -> str | None:
    """Each GPU's share of the layers where they are not even: the layers that the planner chose, else the GiB that are
    free on it. (On even ones llama.cpp is left to share by itself: a split that it is given keeps it from fitting the
    model, common/fit.cpp.)"""
    if any(said(task.job, name) is not None for name in SPLIT):
        return None
    if task.split:
        from mgpu.memory.layers import shares as of_layers

        return ",".join(str(share) for share in of_layers(task.split))
    inside = task.runtime == "docker" and not (task.job.container and task.job.container.privileged)
    gpus = sorted(task.gpus, key=lambda gpu: (gpu.bus_id or "", gpu.index)) if inside else task.gpus
    shares = uneven(gpus)
    return ",".join(str(share) for share in shares) if shares else None


def layers(task: Task, model: Model) -> tuple[int, ...]:
    """The layers that each GPU is best given, where they are not even."""
    if uneven(task.gpus) is None:
        return ()
    from mgpu.memory.llamacpp import split_of

    return split_of(task, model) or ()


def environment(task: Task) -> Mapping[str, str]:
    """CUDA's own order is by speed, and a split counts by it: in a container too it is to be the order of the bus."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if split(task) else {}


def probe(task: Task) -> Probe:
    """/health answers 503 while the model loads and 200 once it is there; then it is to write a token, unless it is
    started for something else, which makes it answer that with a fault (501)."""
    other = any(said(task.job, flag) for flag in ("embedding", "embeddings", "rerank", "reranking"))
    trial = None if other else one_token(task, task.job.model or "")
    return Probe("http", url(task, "/health"), '"ok"', secret(task.job, KEY), 900.0, trial)


def variables(task: Task) -> Mapping[str, Any]:
    """A model that ends in .gguf is a file; anything else is a repository, which llama-server fetches itself."""
    model = task.job.model or ""
    return {
        "file": model if model.endswith(".gguf") else None,
        "repository": None if model.endswith(".gguf") else model,
        "split": split(task),
    }


KEY = "LLAMA_API_KEY"
CACHE_SINCE = 9000
"""Of the builds before this one not all keep models where the hub's own tools do (ggml-org/llama.cpp#21009)."""
BESIDE = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""What GGUF files are called that are no models (common/download.cpp)."""
USUAL = ("Q4_K_M", "Q8_0")
PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)


def hub(task: Task) -> Hub | None:
    """The file of a repository that llama-server takes, all its parts, and the projector of a model that sees."""
    model, args = task.job.model or "", task.job.args
    if model.endswith(".gguf") or "://" in model:
        return None
    repository, _, tag = model.partition(":")
    build = re.fullmatch(r"b?(\d+)", task.version or "")
    old = build is not None and int(build[1]) < CACHE_SINCE
    instead = f"llama-server {task.version} keeps models in a folder of its own, and fetches it at its start"
    name = str(args.get("hf-file", ""))
    sees = args.get("mmproj-auto", True) is not False and args.get("no-mmproj") is not True

    def choose(files: Sequence[str], _: Callable[[str], bytes]) -> list[str]:
        return chosen(files, tag, name, sees)

    return Hub(repository, choose, None, (("LLAMA_CACHE", ""), *HUB_CACHE), instead if old else None)


def chosen(files: Sequence[str], tag: str = "", name: str = "", sees: bool = True) -> list[str]:
    """Of a repository's files those that llama-server reads, as get_hf_plan in common/download.cpp chooses them."""
    if "preset.ini" in files:
        return ["preset.ini"]
    first = next((file for file in files if file.lower() == name.lower()), None) if name else _model(files, tag)
    if first is None:
        return []
    part = PART.fullmatch(first)
    same = [other for other in files if part and (found := PART.fullmatch(other)) and found[1] == part[1]]
    projector = _projector(files, first) if sees else None
    return (same or [first]) + ([projector] if projector else [])


def _model(files: Sequence[str], tag: str) -> str | None:
    """The first file of the quantization, else of a usual one, else, where none was named, the first that there is."""
    models = [file for file in files if file.endswith(".gguf") and not any(b in file.split("/")[-1] for b in BESIDE)]
    models = [file for file in models if not (part := PART.fullmatch(file)) or int(part[2]) == 1]
    for wanted in [tag] if tag else USUAL:
        for file in models:
            if re.search(re.escape(wanted) + "[.-]", file, re.IGNORECASE):
                return file
    return None if tag else next(iter(models), None)


def _projector(files: Sequence[str], model: str) -> str | None:
    """The projector in the nearest folder above the model, of the closest number of bits."""
    here = model.split("/")[:-1]
    near = [file for file in files if file.endswith(".gguf") and "mmproj" in file]
    near = [file for file in near if here[: file.count("/")] == file.split("/")[:-1]]
    return min(near, key=lambda file: (-file.count("/"), abs(_bits(file) - _bits(model))), default=None)


def _bits(file: str) -> int:
    """The first number in the quantization that a file's name ends with."""
    name = part[1] if (part := PART.fullmatch(file)) else file.removesuffix(".gguf")
    quantization = re.search(r"[-.]([A-Z0-9_]+)$", name, re.IGNORECASE)
    bits = re.search(r"\d+", quantization[1]) if quantization else None
    return int(bits[0]) if bits else 0


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.llamacpp(task)


def spills(task: Task) -> bool:
    """It fits the layers to the memory by itself, unless it is given a split or a number of them (common/fit.cpp)."""
    return split(task) is None and not any(said(task.job, name) is not None for name in (*SPLIT, *LAYERS))


ENGINE = Engine(
    name="llamacpp",
    kinds=("inference",),
    gguf=True,
    version="b10875",
    image="ghcr.io/ggml-org/llama.cpp:server-cuda-{version}",
    entrypoint=("llama-server",),
    port=8080,
    dimensions=("pipeline", "tensor"),
    takes=frozenset(("context_length", "args", "parallel", "version", "quantization")),
    requires=frozenset(("model",)),
    lists={"args": "llamacpp"},
    owned={
        "model": "model",
        "m": "model",
        "hf-repo": "model",
        "ctx-size": "context_length",
        "c": "context_length",
        "split-mode": "parallel",
        "host": "host",
        "port": "port",
        "api-key": f"secrets: [{KEY}]",
        "hf-token": "secrets: [HF_TOKEN]",
    },
    key=KEY,
    cache="/root/.cache/huggingface",
    spelling=Spelling(negation="--no-{}", equals=False),
    check=check,
    fits=fits,
    probe=probe,
    variables=variables,
    environment=environment,
    hub=hub,
    memory=estimates_of("llamacpp"),
    split=layers,
    knobs=knobs,
    spills=spills,
    limit=limit_of("takes_what_it_needs"),
)
