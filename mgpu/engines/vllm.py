"""vLLM's OpenAI server. Facts read from vLLM 0.33.0 and its history (vllm-project/vllm), and run on 0.32.0.

The spec's `quantization` is not rendered: a quantized checkpoint says its own method, and naming awq or gptq
would force the slower kernel (vLLM then does not convert to Marlin). To quantize while
loading, say `args: {quantization: fp8}`.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mgpu.catalog.flags import numbers
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Hub, Naming, Spelling, one_token, said, url
from mgpu.values.plan import Task
from mgpu.values.spec import Job


def names_gpus(version: str | None) -> Naming:
    """Before 0.24 vLLM crashes on UUIDs in CUDA_VISIBLE_DEVICES (vllm-project/vllm#41848)."""
    return "uuid" if numbers(version) >= (0, 24) else "index"


def variables(task: Task) -> Mapping[str, Any]:
    """The images of before 0.11.2 start a module that ignores a model without its flag (vllm-project/vllm#17172)."""
    return {"positional": task.runtime != "docker" or numbers(task.version) >= (0, 11, 2)}


def check(job: Job) -> Iterable[Complaint]:
    """vLLM shares every layer evenly: there is no expert size of its own, and no GGUF (out of core since 0.24)."""
    if job.parallel.expert is not None:
        yield Complaint(
            "vLLM's expert parallel size is tensor x data",
            ("parallel", "expert"),
            "args: {enable-expert-parallel: true}",
        )
    if job.model and job.model.endswith(".gguf"):
        yield Complaint("vLLM does not read GGUF files", ("model",), "engine: llamacpp")


def probe(task: Task) -> Probe:
    """Ready when the model itself is listed and writes a token: a broken one is healthy until it is asked. With an API
    key both want it as a bearer token."""
    served = said(task.job, "served-model-name") or task.job.model
    name = served[0] if isinstance(served, (list, tuple)) else str(served)
    key = next((secret.name for secret in task.job.secrets if secret.name == "VLLM_API_KEY"), None)
    return Probe("http", url(task, "/v1/models"), f'"{name}"', key, within=1800.0, trial=one_token(task, name))


TEXTS = (".json", ".jinja", ".model", ".py", ".tiktoken", ".txt")
"""What configurations, tokenizers, chat templates and code of a model are written in."""
FORMATS = {
    "dummy": (),
    "safetensors": ("*.safetensors",),
    "fastsafetensors": ("*.safetensors",),
    "instanttensor": ("*.safetensors",),
    "mistral": ("consolidated*.safetensors",),
    "npcache": ("*.bin",),
    "pt": ("*.pt",),
}
"""The weights that a load-format reads; every other takes the first of ANY that there is."""
ANY = ("consolidated*.safetensors", "*.safetensors", "*.bin", "*.pt")
INDEX = "model.safetensors.index.json"


def hub(task: Task) -> Hub | None:
    """The configuration and the weights of a repository, as default_loader.py and weight_utils.py choose them."""
    model = task.job.model or ""
    if model.startswith(("/", ".", "~")) or "://" in model:
        return None
    args, form = task.job.args, str(said(task.job, "load-format") or "auto")
    instead = "vLLM is told to keep it in download-dir, and fetches it at its start" if "download-dir" in args else None
    revision = str(args["revision"]) if "revision" in args else None
    return Hub(model, lambda files, content: chosen(files, content, form), revision, instead=instead)


def chosen(files: Sequence[str], content: Callable[[str], bytes], load_format: str = "auto") -> list[str]:
    """Of a repository's files those that vLLM reads: of the weights one format only, and where an index lists the parts
    just those (a repository may hold its weights twice)."""
    files = [file for file in files if not file.startswith("original/")]
    top = [file for file in files if "/" not in file]
    patterns = FORMATS.get(load_format.lower(), ANY)
    pattern = next((pattern for pattern in patterns if fnmatch.filter(top, pattern)), None)
    if pattern == "*.safetensors" and INDEX in files:
        weights = set(json.loads(content(INDEX))["weight_map"].values())
    else:
        weights = set(fnmatch.filter(files, pattern)) if pattern else set()
    return [file for file in files if file.endswith(TEXTS) or file in weights]


ENGINE = Engine(
    name="vllm",
    kinds=("inference",),
    version="0.32.0",
    image="vllm/vllm-openai:v{version}",
    entrypoint=("vllm", "serve"),
    package="vllm",
    port=8000,
    dimensions=("tensor", "pipeline", "data"),
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "vllm"},
    owned={
        "model": "model",
        "tensor-parallel-size": "parallel: {tensor: ...}",
        "pipeline-parallel-size": "parallel: {pipeline: ...}",
        "data-parallel-size": "parallel: {data: ...}",
        "max-model-len": "context_length",
        "host": "host",
        "port": "port",
        "api-key": "secrets: [VLLM_API_KEY]",
        "hf-token": "secrets: [HF_TOKEN]",
    },
    shm=16 * 2**30,
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation="--no-{}", equals=True),
    names_gpus=names_gpus,
    check=check,
    probe=probe,
    variables=variables,
    hub=hub,
)
