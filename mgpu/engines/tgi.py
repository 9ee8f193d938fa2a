"""text-generation-inference. Facts read from its repository at db931fcf (January 2026); its last release is 3.3.7.

It stands still: since December 2025 its authors maintain it, and send people to vLLM and SGLang.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mgpu.catalog.repositories import TEXTS, local
from mgpu.catalog.shards import equal_shares, fp8, heads_as_placed, heads_as_said, on_gpus
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import url
from mgpu.values.command import Probe, Trial
from mgpu.values.engine import Complaint, Engine, Hub, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said, secret
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

KEY = "API_KEY"
UNSAFE = re.compile(r"[\s*?\[\\]|^$")
"""What the image's entrypoint loses of a word: it starts the launcher with an unquoted $@ (tgi-entrypoint.sh)."""


def check(job: Job) -> Iterable[Complaint]:
    """What its state is, what it cannot divide, and where it shows its key."""
    message = "text-generation-inference is in maintenance since December 2025: its authors point to vLLM and SGLang"
    yield Complaint(message, ("engine",), "engine: vllm, or engine: sglang", warning=True)
    yield from heads_as_said(job, "TGI", "divided")
    if said(job, "quantize") == "exl2" and (job.parallel.tensor or job.gpus.count or 1) > 1:
        yield Complaint("TGI cannot share a model in exl2 among GPUs", ("args", "quantize"), "gpus: 1")
    if (size := said(job, "max-batch-size")) is not None:
        message = (
            f"TGI ignores max-batch-size: {size} while it cuts prompts into chunks, as it does unless told otherwise"
        )
        yield Complaint(
            message, ("args", "max-batch-size"), "max-batch-total-tokens limits the memory of a batch", warning=True
        )
    for at, (name, _) in enumerate(job.secrets):
        if name == KEY:
            message = (
                "TGI itself hands its key to its router as a word of a command line, where others here can read it"
            )
            yield Complaint(message, ("secrets", at), "a proxy in front that asks for the key", warning=True)


def fits(task: Task) -> Iterable[Complaint]:
    """Key and value heads must divide as well (flash_llama_modeling.py); FP8 is weight only from 8.0 on (fp8.py)."""
    yield from on_gpus(task, "TGI")
    yield from heads_as_placed(task, "TGI", "divided")
    if task.layout.tensor > 1:
        yield from equal_shares(task, "TGI")
    yield from fp8(task, "TGI", ("quantize",), (8, 0))


def _broken(task: Task) -> dict[str, str]:
    """What the entrypoint of the image would break, and the launcher takes as variables too: MODEL_ID for model-id."""
    if task.runtime != "docker":
        return {}
    texts = {"model-id": task.job.model or ""} | {
        name: value for name, value in task.job.args.items() if isinstance(value, str)
    }
    return {name: value for name, value in texts.items() if UNSAFE.search(value)}


def arguments(task: Task) -> Mapping[str, Any]:
    """The flags that reach the launcher whole."""
    return {name: value for name, value in task.job.args.items() if name not in _broken(task)}


def environment(task: Task) -> Mapping[str, str]:
    """The flags that would not."""
    return {name.upper().replace("-", "_"): value for name, value in _broken(task).items()}


def variables(task: Task) -> Mapping[str, Any]:
    """Two servers of one host would meet at one socket, and at the port of the metrics that the API answers as well."""
    process = task.runtime != "docker"
    return {
        "model": None if "model-id" in _broken(task) else task.job.model,
        "socket": f"/tmp/text-generation-server-{task.port}" if process and not said(task.job, SOCKET) else None,
        "metrics": not task.secluded and said(task.job, "prometheus-port") is None,
    }


SOCKET = "shard-uds-path"


def probe(task: Task) -> Probe:
    """Ready when /info names the model and it writes a token; /info is answered without the key, /generate is not."""
    trial = Trial(url(task, "/generate"), {"inputs": "Hello", "parameters": {"max_new_tokens": 1}})
    return Probe("http", url(task, "/info"), f'"{task.job.model}"', secret(task.job, KEY), 1800.0, trial)


def hub(task: Task) -> Hub | None:
    """The configuration and every weight at the top of a repository (server/text_generation_server/utils/hub.py)."""
    model, revision = task.job.model or "", said(task.job, "revision")
    if local(model):
        return None
    own = next((flag for flag in ("huggingface-hub-cache", "weights-cache-override") if said(task.job, flag)), None)
    instead = f"TGI is told to keep it in {own}, and fetches it at its start" if own else None
    return Hub(model, lambda files, _: chosen(files), str(revision) if revision else None, instead=instead)


def chosen(files: Sequence[str]) -> list[str]:
    """The weights in safetensors, else in PyTorch's format, which it converts."""
    top = [file for file in files if "/" not in file]
    weights = [file for file in top if not any(word in file for word in ("arguments", "args", "training"))]
    ending = next((end for end in (".safetensors", ".bin") if any(file.endswith(end) for file in weights)), None)
    return [file for file in top if file.endswith(TEXTS) or (ending and file.endswith(ending) and file in weights)]


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.filling(task)


ENGINE = Engine(
    name="tgi",
    kinds=("inference",),
    version="3.3.7",
    image="ghcr.io/huggingface/text-generation-inference:{version}",
    entrypoint=("text-generation-launcher",),
    port=8080,
    dimensions=("tensor",),
    revision="revision",
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "tgi"},
    owned={
        "model-id": "model",
        "num-shard": "parallel: {tensor: ...}",
        "sharded": "gpus",
        "max-total-tokens": "context_length",
        "hostname": "host",
        "port": "port",
        "master-port": "nothing: its shards meet at a port that mgpu finds free",
        "api-key": f"secrets: [{KEY}]",
    },
    key=KEY,
    rendezvous=True,
    shm=2**30,
    cache="/data",
    stop_grace=95.0,
    spelling=Spelling(negation=None, equals=True),
    check=check,
    fits=fits,
    probe=probe,
    variables=variables,
    environment=environment,
    arguments=arguments,
    hub=hub,
    memory=estimates_of("uncalibrated"),
    knobs=knobs,
    limit=limit_of("tgi", "cuda-memory-fraction"),
)
"""The image listens on 80 unless it is told a port: mgpu tells it the one it is published on. It waits up to 90 seconds
for requests in flight when it is asked to end."""
