"""SGLang's OpenAI server. Facts read from SGLang 0.5.23 (its wheel) and its history, and run on 0.5.23 without a GPU.

As with vLLM the spec's `quantization` is not rendered: a quantized checkpoint says its own method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgpu.catalog.flags import numbers
from mgpu.catalog.limits import context
from mgpu.catalog.repositories import loaded
from mgpu.catalog.shards import equal_shares, fp8, fp8_cache, heads_as_placed, heads_as_said, new_enough, on_gpus
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import listed_and_asked
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Hub, Naming, Spelling, key_in_sight
from mgpu.values.plan import Task
from mgpu.values.said import said, written
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

SERVE_SINCE = (0, 5, 10)
"""The first version that its documentation starts with `sglang serve`; python -m sglang.launch_server warns since."""
ATTENTION_SINCE = (0, 5, 22)
"""The first version with attn-dp-size. Before it, enable-dp-attention gave dp-size that other meaning."""


def names_gpus(_: str | None) -> Naming:
    """Its all-reduce reads CUDA_VISIBLE_DEVICES as numbers: a UUID ends it (custom_all_reduce_utils.py in 0.5.23)."""
    return "index"


def variables(task: Task) -> Mapping[str, Any]:
    """A version that is not known is taken for a new one."""
    return {"serve": not numbers(task.version) or numbers(task.version) >= SERVE_SINCE}


def arguments(task: Task) -> Mapping[str, Any]:
    """Attention's replicas within the tensor parallel GPUs, as versions before attn-dp-size spell them."""
    size = said(task.job, "attn-dp-size")
    if size is None or not numbers(task.version) or numbers(task.version) >= ATTENTION_SINCE:
        return task.job.args
    rest = {name: value for name, value in task.job.args.items() if name != written(task.job, "attn-dp-size")}
    return {**rest, "dp-size": size, "enable-dp-attention": True}


def check(job: Job) -> Iterable[Complaint]:
    """Experts and attention replicas are divided within the tensor parallel GPUs (arg_groups/parallel_hook.py)."""
    tensor, expert, attention = job.parallel.tensor, job.parallel.expert, said(job, "attn-dp-size")
    if tensor and expert and tensor % expert:
        yield Complaint(f"experts are shared within tensor: {tensor}, which {expert} does not divide", EXPERT)
    if isinstance(attention, int) and attention > 1:
        at = ("args", written(job, "attn-dp-size"))
        if (job.parallel.data or 1) > 1:
            yield Complaint("attention replicas and full replicas exclude each other", at, "keep one: this, or data")
        if tensor and tensor % attention:
            yield Complaint(f"attention has replicas within tensor: {tensor}, which {attention} does not divide", at)
    if ":" in str(said(job, "served-model-name") or ""):
        yield Complaint("SGLang takes no colon in a model's name: an adapter's name follows it", NAME)
    yield from heads_as_said(job, "SGLang", stages=True)
    yield from context(job, "SGLang", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", ("json-model-override-args",))
    yield from key_in_sight(job, ("api-key", "admin-api-key"), "SGLang", "put it in a file: args: {config: keys.yaml}")


EXPERT = ("parallel", "expert")
NAME = ("args", "served-model-name")


def fits(task: Task) -> Iterable[Complaint]:
    """What `check` could not tell without the GPUs. FP8 is weight only from 8.0 on (Marlin; fp8_utils.py), and nothing
    runs below 7.5 (model_runner.py: "SGLang only supports sm75 and above")."""
    yield from on_gpus(task, "SGLang")
    yield from new_enough(task, "SGLang", (7, 5))
    yield from heads_as_placed(task, "SGLang", stages=True)
    if task.layout.tensor * task.layout.pipeline > 1:
        yield from equal_shares(task, "SGLang")
    yield from fp8(task, "SGLang", ("quantization",), (8, 0))
    yield from fp8_cache(task, "SGLang", "kv-cache-dtype")
    expert = task.layout.expert
    if not task.job.parallel.tensor and task.layout.tensor % expert:
        yield Complaint(
            f"experts are shared within tensor: {task.layout.tensor}, which {expert} does not divide", EXPERT
        )


def probe(task: Task) -> Probe:
    """Ready when the model itself is listed and writes a token: /health is answered 503 while it loads, and then for
    whichever model is there."""
    return listed_and_asked(task, "served-model-name", within=1800.0)


ANY = ("*.safetensors", "*.bin", "*.pt")
"""The weights that it looks for, the first that there are."""


def hub(task: Task) -> Hub | None:
    """The configuration and the weights of a repository, as model_loader/loader.py chooses them."""
    return loaded(task.job, "SGLang", ANY)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.sglang(task)


ENGINE = Engine(
    name="sglang",
    kinds=("inference",),
    version="0.5.23",
    image="lmsysorg/sglang:v{version}",
    package="sglang",
    port=30000,
    dimensions=("tensor", "pipeline", "data", "expert"),
    revision="revision",
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "sglang"},
    owned={
        "model-path": "model",
        "model": "model",
        "tp-size": "parallel: {tensor: ...}",
        "tensor-parallel-size": "parallel: {tensor: ...}",
        "pp-size": "parallel: {pipeline: ...}",
        "pipeline-parallel-size": "parallel: {pipeline: ...}",
        "dp-size": "parallel: {data: ...}",
        "data-parallel-size": "parallel: {data: ...}",
        "ep-size": "parallel: {expert: ...}",
        "expert-parallel-size": "parallel: {expert: ...}",
        "enable-dp-attention": "args: {attn-dp-size: ...}",
        "context-length": "context_length",
        "host": "host",
        "port": "port",
    },
    shm=32 * 2**30,
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    names_gpus=names_gpus,
    check=check,
    fits=fits,
    probe=probe,
    variables=variables,
    arguments=arguments,
    hub=hub,
    memory=estimates_of("sglang"),
    knobs=knobs,
    limit=limit_of("sglang", "mem-fraction-static"),
)
