"""A model, a recipe and a number of GPUs in, bytes of weights, gradients and optimizer on each GPU out."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.memory.activations import widths
from mgpu.memory.parts import parts
from mgpu.values.model import Model
from mgpu.values.recipe import Recipe

NF4 = 0.5159
"""Bytes of a weight in NF4 with double quantization (arXiv 2305.14314, 3): 4 bits, 8 of 64, 32 of 64 x 256."""
STATES = {"adamw": 2, "adamw-fused": 2, "lion": 1, "sgd-momentum": 1}
"""What an optimizer keeps of each weight, in numbers of the weight's own width."""
BYTES = {"adamw-8bit": 2.04, "lion-8bit": 1.02, "adafactor": 0.02}
"""The same in bytes, where they do not follow the weight: bitsandbytes has 8 bits and a scale of 256; Adafactor a row
and a column of each matrix (arXiv 1804.04235). Paged ones are in the host's memory until they are needed, SGD has
none."""


class Counts(NamedTuple):
    """Numbers of parameters: of the model and the `trained` ones among them, of the `entries` of the vocabulary, of
    all layers' `matrices` and their largest `block`; `ends` counts embedding and head, which are one where `tied`.
    Bytes of one: `held` of a weight that is trained, `frozen` of one in a layer that is not."""

    total: int
    trained: int
    entries: int
    ends: int
    matrices: int
    block: int
    tied: bool
    held: int
    frozen: float


class Held(NamedTuple):
    """Bytes on a GPU of what lives from step to step, and of what the step itself wants beside it."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float
    step: float


def counts(model: Model, recipe: Recipe) -> Counts:
    """What there is to hold. Raises ValueError for a model whose dimensions are not known."""
    known = parts(model)
    matrices = sum(layer.total - layer.small - layer.router for layer in known.layers)
    narrow = 4 if recipe.precision == "fp32" else 2
    wide = 2 if recipe.precision == "bf16" or recipe.deepspeed else 4
    return Counts(
        known.text,
        adapters(model, recipe) if recipe.adapters else known.text,
        known.embedding,
        known.embedding + known.head,
        matrices,
        max(layer.total for layer in known.layers),
        not known.head,
        (4 if recipe.adapters_in_fp32 else 2) if recipe.adapters else wide,
        NF4 if recipe.method == "qlora" else narrow,
    )


def adapters(model: Model, recipe: Recipe) -> int:
    """Parameters of all adapters: rank x (inputs + outputs) of each matrix that has one (arXiv 2106.09685)."""
    w = widths(model)
    sizes = {"q": w.hidden + w.queries, "o": w.hidden + w.queries, "k": w.hidden + w.keys, "v": w.hidden + w.keys}
    each = sum(sizes.get(name, w.hidden + w.inner) for name in recipe.adapted)
    return recipe.lora_rank * each * w.layers


def sharded(known: Counts, recipe: Recipe, ranks: int) -> Held:
    """What one of `ranks` GPUs holds."""
    stage = recipe.stage
    third, second, first = (ranks if stage >= least else 1 for least in (3, 2, 1))
    split = ranks if recipe.sharding == "shard-grad-op" else third
    weights = _weights(known, recipe) / split
    gradients = known.trained * known.held / second
    optimizer = known.trained * _optimizer(known, recipe) / first
    step = known.trained * _step(known, recipe) / first
    if recipe.offload_optimizer and stage:
        optimizer, step, gradients = 0.0, 0.0, 0.0
    if recipe.offload_parameters and stage == 3:
        weights = 0.0
    return Held(weights, gradients, optimizer, _buffers(known, recipe), step)


def host_bytes(model: Model, recipe: Recipe, ranks: int) -> int:
    """Bytes that `ranks` GPUs together put into the host's memory: what is offloaded, and paged optimizers. Raises
    ValueError for a model whose dimensions are not known."""
    known, size = counts(model, recipe), 0.0
    if recipe.stage and recipe.offload_optimizer:
        size += known.trained * (_optimizer(known, recipe) + known.held)
    if recipe.stage == 3 and recipe.offload_parameters:
        size += _weights(known, recipe)
    if recipe.optimizer.startswith("paged"):
        size += known.trained * (2.04 if recipe.optimizer.endswith("8bit") else 2 * known.held)
    copies = ranks if recipe.optimizer.startswith("paged") and recipe.stage == 0 else 1
    return int(size * copies)


def _weights(known: Counts, recipe: Recipe) -> float:
    if not recipe.adapters:
        return float(known.total * known.held)
    ends = known.total - known.matrices
    wide = 4 if recipe.precision == "fp32" else 2
    return known.matrices * known.frozen + ends * wide + known.trained * known.held


def _optimizer(known: Counts, recipe: Recipe) -> float:
    """Bytes of a trained parameter; DeepSpeed keeps the weights in fp32 here as well, and the states with them."""
    width = 4 if recipe.deepspeed else known.held
    own = BYTES.get(recipe.optimizer, STATES.get(recipe.optimizer, 0) * width)
    return own + (4 if recipe.deepspeed else 0)


def _step(known: Counts, recipe: Recipe) -> float:
    """torch's AdamW makes a copy of a state at once for all weights (foreach); DeepSpeed's makes the gradients fp32."""
    if recipe.deepspeed:
        return 4.0
    return float(known.held) if recipe.optimizer == "adamw" else 0.0


def _buffers(known: Counts, recipe: Recipe) -> float:
    """DDP's buckets are as large as the gradients, beside them (gradient_as_bucket_view is off by default); ZeRO has
    one of `bucket` elements, two where it overlaps (runtime/zero/stage_1_and_2.py)."""
    if recipe.native or recipe.sharding.startswith("zero"):
        return min(recipe.bucket, known.trained) * (2.0 if recipe.deepspeed else 4.0) * (2 if recipe.overlap else 1)
    return float(known.trained * known.held) if recipe.sharding == "ddp" else 0.0
