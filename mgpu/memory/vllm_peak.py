"""A model, a version of vLLM and its batch sizes in; what it takes beside weights and cache out, in bytes.

vLLM runs the model once at its start with as many tokens and sequences as it will ever take, and keeps free what that
needed at its peak. The terms follow the tensors that are alive at the two moments that can be the peak.
"""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple

from mgpu.catalog.engine_memory import constant, gib
from mgpu.catalog.flags import numbers
from mgpu.catalog.gpus import Product
from mgpu.values.memory import GIB
from mgpu.values.model import Model

ENGINE = "vllm"
PROCESSORS = 132
"""Streaming multiprocessors of an H100, of which the Triton sampler keeps a row each; others have 58 to 170."""
MOE_CHUNK = 16384
"""How many tokens its expert kernels take at once (VLLM_FUSED_MOE_CHUNK_SIZE, VLLM_MOE_CHUNK)."""
CAPTURES = 51
"""How many sizes are captured up to 512 sequences: 1, 2, 4, by 8 to 256, by 16 to 512 (config/compilation.py)."""


Joined = Literal["fused", "mesh", "pcie"]
"""How the GPUs of a tensor parallel group reach each other: by NVLink all to all, with all-reduces that are fused with
what follows and have buffers of their own (from Hopper on), without these, or by PCIe or pairs of NVLink."""
FUSED_SINCE = (9, 0)


class Batch(NamedTuple):
    """How many sequences (`max_num_seqs`) and tokens (`max_num_batched_tokens`) are computed at once at most."""

    seqs: int
    tokens: int


class Place(NamedTuple):
    """The size of the groups that share layers and stages, and which stage it is (None: the first)."""

    tensor: int = 1
    pipeline: int = 1
    stage: int = 0

    @property
    def last(self) -> bool:
        """Whether it samples."""
        return self.stage == self.pipeline - 1


ALONE = Place()


def family(model: Model) -> str:
    """The words by which vLLM's list of models for the newer runner knows this one."""
    name = f"{model.id} {model.repository}".lower()
    for word in ("llama", "mistral", "deepseek", "qwen3", "qwen"):
        if word in name:
            return word
    return "other"


def newer_runner(version: str | None, model: Model, quantized: bool = False, asked: str | None = None) -> bool:
    """Whether this version runs the model with v1/worker/gpu/model_runner.py; `asked` is what the environment gives
    VLLM_USE_V2_MODEL_RUNNER."""
    if asked is not None:
        return asked.lower() in ("1", "true", "yes", "on")
    kinds = constant(ENGINE, "newer_runner", version)
    if "all" in kinds:
        return True
    if quantized and "quantized" not in kinds:
        return False
    who = family(model)
    if model.experts:
        return ("qwen-moe" in kinds and who.startswith("qwen")) or (who == "deepseek" and "deepseek" in kinds)
    if model.config.get("linear") or model.config.get("mamba"):
        return False
    return "dense" in kinds or who in kinds


def experts_work(model: Model, tokens: int, tensor: int = 1, width: int = 2) -> float:
    """Bytes of the workspace of the expert kernels, which stays allocated: for each of the experts of a token what
    goes in or comes between, and what comes out (fused_moe.py: cache13 and cache2). MXFP4 kernels have their own."""
    moe = model.config.get("moe")
    if not moe or model.config.get("attention_sinks"):
        return 0.0
    inner, h = moe["intermediate"] / tensor, model.hidden or 0
    return float(width * min(tokens, MOE_CHUNK) * moe["top_k"] * (max(2 * inner, h) + max(inner, h)))


def dense_width(model: Model) -> int:
    """The widest MLP that every token passes: a dense layer's, or the experts that all share."""
    moe = model.config.get("moe")
    if not moe:
        return model.intermediate or 4 * (model.hidden or 0)
    dense = (model.intermediate or 0) if moe.get("first_dense") or moe.get("every", 1) > 1 else 0
    return max(dense, int(moe.get("num_shared", 0) * moe["intermediate"]))


def forward_peak(model: Model, batch: Batch, place: Place, version: str | None, width: int = 2) -> float:
    """Bytes alive in the middle of an MLP: gate and up, their product, what comes in, the residual and the output. A
    stage of a pipeline also holds the two hidden states that it hands on."""
    states = 3 if place.pipeline == 1 else 5
    per_token = 3 * dense_width(model) / place.tensor + states * (model.hidden or 0)
    return width * batch.tokens * per_token + gib(ENGINE, "forward_rest_GiB", version)


def sampler_peak(model: Model, batch: Batch, version: str | None, newer: bool, width: int = 2) -> float:
    """Bytes alive while a token is chosen for every sequence. The newer runner's profile chooses from the logits as
    they are; the older one sorts out the top k and p, in fp32."""
    rows, entries = min(batch.seqs, batch.tokens), ceil((model.vocabulary or 0) / 64) * 64
    states = width * batch.tokens * (model.hidden or 0)
    if newer:
        return width * rows * entries + states + gib(ENGINE, "logits_rest_GiB", version)
    each = constant(ENGINE, "sampler_bytes", version) + (width - 2)
    buffer = constant(ENGINE, "sampler_buffer", version) * PROCESSORS * (model.vocabulary or 0)
    return float(each * rows * entries + buffer + states + gib(ENGINE, "sampler_rest_GiB", version))


def activation_peak(
    model: Model,
    batch: Batch,
    place: Place = ALONE,
    version: str | None = None,
    newer: bool | None = None,
    width: int = 2,
) -> float:
    """Bytes that torch needs at most beside weights and cache ("torch peak memory increase"): the larger of a forward
    pass and of sampling, which only the last stage does, with the experts' workspace and, of a model that sees, the
    embeddings of what it was shown."""
    runs_newer = newer_runner(version, model) if newer is None else newer
    peak = forward_peak(model, batch, place, version, width)
    if place.last:
        peak = max(peak, sampler_peak(model, batch, version, runs_newer, width))
    seen = width * batch.tokens * (model.hidden or 0) if model.config.get("tower_params") else 0
    return peak + experts_work(model, batch.tokens, place.tensor, width) + seen + _kept(model, batch, place, version)


def _kept(model: Model, batch: Batch, place: Place, version: str | None) -> float:
    if place.tensor == 1 or not numbers(version) or not constant(ENGINE, "profile_keeps_allreduce", version):
        return 0.0
    layers = (model.layers or 0) / place.pipeline
    return 2 * layers * batch.tokens * (model.hidden or 0) * 2


def non_torch(version: str | None, place: Place = ALONE, joined: Joined = "fused") -> float:
    """Bytes that others than torch take meanwhile: NCCL, all-reduce buffers, kernels."""
    if place.tensor == 1:
        return gib(ENGINE, "nontorch_stage_GiB" if place.pipeline > 1 else "nontorch_single_GiB", version)
    if joined != "fused":
        return gib(ENGINE, f"nontorch_{joined}_GiB", version)
    doublings = place.tensor.bit_length() - 2
    return gib(ENGINE, "nontorch_tensor_GiB", version) + doublings * gib(ENGINE, "nontorch_doubling_GiB", version)


def joined_by(product: Product | None) -> Joined:
    """How several GPUs of a product reach each other, as far as the product says."""
    if product is None or product.nvlink not in ("switch", "cube"):
        return "pcie"
    return "fused" if product.compute_capability >= FUSED_SINCE else "mesh"


def captures(seqs: int, largest: int = 512) -> int:
    """How many sizes of a batch are captured: up to twice the sequences, and no more than `largest`."""
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16))
    return sum(size <= max(2 * seqs, 2) for size in sizes)


def graphs(model: Model, seqs: int, place: Place = ALONE, version: str | None = None) -> float:
    """Bytes of captured CUDA graphs: about as much for every layer and size. gpt-oss is captured up to 1024."""
    share = captures(seqs, 1024 if model.config.get("attention_sinks") else 512) / CAPTURES
    return gib(ENGINE, "graphs_layer_GiB", version) * (model.layers or 0) / place.pipeline * share


def warm_up(model: Model, batch: Batch, version: str | None, newer: bool, peak: float) -> float:
    """Bytes that the newer runner's sampler needs at its warm-up and later, and its profile has not seen."""
    if not newer:
        return 0.0
    entries = min(batch.seqs, batch.tokens) * (model.vocabulary or 0)
    return max(0.0, float(constant(ENGINE, "warmup_bytes", version)) * entries - peak)


def defaults(total: int, name: str = "", version: str | None = None, context: int = 0, offline: bool = False) -> Batch:
    """The sizes that vLLM takes for a GPU of `total` bytes, as a server or `offline` (engine/arg_utils.py:
    get_batch_defaults); its older engine takes whole prompts, of `context` tokens."""
    if constant(ENGINE, "batch_of_context", version):
        return Batch(256, max(context, 2048))
    flat = constant(ENGINE, "flat_seqs", version)
    if total >= 160 * GIB:
        return Batch(flat or 1024, 16384)
    if total >= 70 * GIB and "a100" not in name.lower() and "gb10" not in name.lower():
        return Batch(flat or 1024, 16384 if offline else 8192)
    return Batch(flat or 256, 8192 if offline else 2048)
