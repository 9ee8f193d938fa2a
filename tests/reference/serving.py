"""Answers to the rows about servers: what a start of vLLM, SGLang, llama.cpp or a diffusion pipeline needs, and
whether it fits. A row's inputs go in, as text or numbers; the planner's own functions answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from mgpu.catalog.engine_memory import constant, gib
from mgpu.catalog.formats import gguf_mix
from mgpu.catalog.gpus import by_name as product_named
from mgpu.engines import engine_named
from mgpu.memory import diffusion, llamacpp, sglang, vllm, vllm_peak
from mgpu.memory.cache import cached
from mgpu.memory.vllm_cache import Shape, cache_tokens
from mgpu.memory.vllm_peak import Batch, Place
from mgpu.memory.weights import format_of, nominal, on_gpu, rotary
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Unknown, exactly
from mgpu.values.model import Model
from mgpu.values.plan import Layout, Task
from mgpu.values.spec import Gpus, Job, Parallel
from tests.reference.layout_words import STANDS_FOR
from tests.reference.reading import count_of, model_of, named, nearest, params_of, staged, unit_of

Row = Mapping[str, Any]


def version_of(inputs: Row) -> str | None:
    """The version of vLLM, the older one where a row names two; None where it names none."""
    found = re.search(r"\d+(\.\d+)+", str(inputs.get("vllm", "")))
    return found[0] if found else None


def place_of(inputs: Row) -> Place:
    return Place(int(inputs.get("tp", 1)), int(inputs.get("pp", 1)), int(inputs.get("stage", 0)))


def total_of(inputs: Row) -> float:
    """Bytes that CUDA has on the row's GPU."""
    if "total_GiB" in inputs:
        return float(inputs["total_GiB"]) * GIB
    return float(product_of(str(inputs.get("gpu") or "H100 80GB"))[1])


def product_of(text: str) -> tuple[str, int]:
    """The name of a product and its bytes; a bare size is taken for itself."""
    name = re.sub(r"^\d+ ?(x|\u00d7) ?", "", text.strip()).removeprefix("NVIDIA ").strip()
    size = re.search(r"(\d+) ?GB", name)
    bare = re.sub(r"[ -]\d+ ?GB.*$", "", name)
    other = STANDS_FOR.get(re.sub(r"[\s-]|rtx|geforce|tesla", "", bare.lower()), bare)
    for spelled in (name, name.replace(" ", "-"), bare, other):
        found = product_named(spelled)
        if found and (not size or abs(found.memory / GIB / int(size[1]) - 1) < 0.15):
            return found.nvml_names[0], found.memory
    return name, int(float(size[1]) * GIB * 0.985) if size else 80 * GIB


def batch_of(inputs: Row) -> Batch:
    context = count_of(inputs.get("max_model_len") or model_of(inputs).context or 4096)
    offline = "offline" in str(inputs.get("usage", ""))
    usual = vllm_peak.defaults(int(total_of(inputs)), str(inputs.get("gpu", "")), version_of(inputs), context, offline)
    return Batch(
        count_of(inputs.get("max_num_seqs") or usual.seqs),
        count_of(inputs.get("max_num_batched_tokens") or usual.tokens),
    )


def stored_of(inputs: Row, model: Model) -> str:
    if str(inputs.get("dtype", "")) in ("float32", "fp32"):
        return "fp32"
    asked = inputs.get("quantization") or inputs.get("quant") or inputs.get("weights_dtype") or inputs.get("dtype")
    return format_of(str(inputs["model"]), str(asked).replace(" at load", "") if asked else None, model)


def runner_of(inputs: Row, model: Model) -> bool:
    stored = stored_of(inputs, model)
    return vllm_peak.newer_runner(version_of(inputs), model, stored not in vllm.QUANTIZED)


def activation(inputs: Row) -> float:
    if "activation_GiB" in inputs:
        return float(inputs["activation_GiB"]) * GIB
    model = model_of(inputs)
    width = 4 if stored_of(inputs, model) == "fp32" else 2
    return vllm_peak.activation_peak(
        model, batch_of(inputs), place_of(inputs), version_of(inputs), runner_of(inputs, model), width
    )


def non_torch(inputs: Row) -> float:
    if "nontorch_GiB" in inputs:
        return float(inputs["nontorch_GiB"]) * GIB
    product = product_named(product_of(str(inputs.get("gpu") or "H100 80GB"))[0])
    return vllm_peak.non_torch(version_of(inputs), place_of(inputs), vllm_peak.joined_by(product))


def weights(inputs: Row) -> float:
    for name in ("weights_GiB", "weights_GiB_reported"):
        if name in inputs:
            return float(inputs[name]) * GIB
    model, place = model_of(inputs), place_of(inputs)
    size = on_gpu(model, stored_of(inputs, model), place.tensor, place.pipeline, place.stage)
    return float(size + rotary(model))


def graphs(inputs: Row) -> float:
    """CUDA graphs, where the version takes them from the budget."""
    version, model = version_of(inputs), model_of(inputs)
    name = "newer_runner_graphs_inside" if runner_of(inputs, model) else "graphs_inside"
    if inputs.get("enforce_eager") or not constant("vllm", name, version):
        return 0.0
    return vllm_peak.graphs(model, batch_of(inputs).seqs, place_of(inputs), version)


def share_of(inputs: Row) -> float:
    return float(inputs.get("util") or constant("vllm", "utilization", version_of(inputs)))


def pool_of(inputs: Row) -> float:
    if "kv_pool_GiB" in inputs:
        return float(inputs["kv_pool_GiB"]) * GIB
    parts = (weights(inputs), non_torch(inputs), activation(inputs))
    measured = "nontorch_GiB" in inputs and "activation_GiB" in inputs
    return vllm.pool(total_of(inputs), share_of(inputs), *parts, 0.0 if measured else graphs(inputs))


def shape_of(inputs: Row) -> Shape:
    kind = str(inputs.get("kv_cache_dtype") or inputs.get("kv_dtype") or inputs.get("dtype") or "auto")
    element = vllm.cache_element(kind)
    block = int(inputs.get("block_size", 16))
    return Shape(element, place_of(inputs).tensor, None, block, batch_of(inputs).tokens, int(inputs.get("mtp", 0)))


def tokens(row: Row) -> float:
    inputs = row["inputs"]
    if "kv_tokens" in inputs and "max_model_len" in inputs:
        return count_of(inputs["kv_tokens"]) / count_of(inputs["max_model_len"])
    model = model_of(inputs)
    context, shape = count_of(inputs.get("max_model_len") or model.context or 4096), shape_of(inputs)
    found = cache_tokens(pool_of(inputs), model, context, shape, version_of(inputs))
    return found / {"x": context, "blocks": shape.block}.get(str(row.get("unit")), 1)


def old_tokens(row: Row) -> float:
    """Where a row of the kind "old" names no version, it is 0.8: the last with one batch for every GPU."""
    inputs = {"vllm": "0.8.5", **row["inputs"]}
    return tokens({**row, "inputs": inputs})


def buffers(row: Row) -> float:
    """A buffer of llama.cpp's: logits, keys and values, the model, or the context of a device."""
    inputs, what = row["inputs"], str(row.get("what", "")).lower()
    return _buffer(inputs, what) / unit_of(row, "MiB")


def _buffer(inputs: Row, what: str) -> float:
    cache = re.search(r"kv|cache", what)
    if "output" in what and not cache:
        return 4.0 * int(inputs.get("vocab") or model_of(inputs).vocabulary or 0) * int(inputs.get("n_seq", 1))
    if "compute" in what:
        return on_host(inputs) if "host" in what else compute(inputs)
    alone = not {"ctx", "n_ctx", "context", "model", "layers", "layers_on_gpu"} & inputs.keys()
    if "cublas" in what or ("context" in what and not cache and ("cuda" in what or alone)):
        return gib("llamacpp", "context_GiB")
    if "model" in what and not cache:
        model = model_of(inputs)
        name = str(inputs.get("quant") or inputs.get("file") or inputs.get("quantization") or inputs["model"])
        stored = llamacpp.stored_of(model, name)
        return float(sum(stored.layers) + (stored.head or stored.embedding) + stored.other)
    return kept(inputs)


def context_of(inputs: Row, usual: int = 0) -> int:
    """Tokens of llama.cpp's context, whatever a row calls it."""
    return count_of(next((inputs[name] for name in ("ctx", "n_ctx", "context", "tokens") if inputs.get(name)), usual))


def ubatch_of(inputs: Row) -> int:
    return int(inputs.get("ubatch") or inputs.get("n_ubatch") or 512)


def compute(inputs: Row) -> float:
    sizes, context = model_of(inputs), context_of(inputs)
    return float(
        llamacpp.compute_buffer(
            int(inputs.get("hidden") or sizes.hidden or 0),
            int(inputs.get("vocab") or sizes.vocabulary or 0),
            min(ubatch_of(inputs), context or 512),
            context,
            int(inputs.get("heads") or sizes.heads or 0),
            inputs.get("flash_attn", True) not in (False, "off"),
        )
    )


def on_host(inputs: Row) -> float:
    """Bytes of the host's own compute buffer: the embeddings of a batch and the mask of its attention, in fp32."""
    hidden = int(inputs.get("hidden") or model_of(inputs).hidden or 0)
    return 4.0 * ubatch_of(inputs) * (hidden + llamacpp.padded(context_of(inputs, 512)))


def kept(inputs: Row) -> float:
    """Bytes of keys and values: of layers that a row describes, else of its model."""
    kinds = [inputs.get(name) or inputs.get("kv_type") for name in ("type_k", "type_v")]
    size, context = llamacpp.element(*kinds), context_of(inputs, 4096)
    count = inputs.get("layers_on_gpu") or inputs.get("layers")
    width = inputs.get("kv_dim") or (inputs.get("hidden") if "model" not in inputs else None)
    model = model_of(inputs)
    if width and (count or model.layers):
        return float(2 * (count or model.layers) * width * llamacpp.padded(context) * size)
    mine = range(int(count)) if count else None
    shared = 1 if count else int(inputs.get("gpus") or 1)
    if all((model.layers, model.kv_heads, model.head_dim)) and "intermediate_size" not in model.config:
        numbers = 2 * (model.kv_heads or 0) * (model.head_dim or 0) * (count or model.layers or 0)
        return float(numbers * llamacpp.padded(context) * size)
    return llamacpp.cache_bytes(model, context, size, mine, ubatch_of(inputs)) / shared


def sglang_cache(row: Row) -> float:
    """Keys and values of SGLang's pool, one of them, or its tokens."""
    inputs, what = row["inputs"], str(row.get("what", ""))
    per_token = inputs.get("bytes_per_token")
    if per_token is None:
        kind = inputs.get("kv_dtype") or inputs.get("kv_cache_dtype")
        per_token = cached(model_of(inputs), 1, vllm.cache_element(kind), int(inputs.get("tp", 1)))
    if row.get("unit") == "bytes" and "token" in what:
        return float(per_token)
    if "tokens" in inputs:
        one = re.search(r"\b[KV] (part|size|cache|half|pool|buffer)", what)
        size = sglang.half(per_token, inputs["tokens"]) if one else per_token * inputs["tokens"]
        return float(size) / _called(row)
    pool = _sglang_pool(inputs)
    return pool // per_token if row.get("unit") in ("tokens", "", None) else pool / _called(row)


def _called(row: Row) -> float:
    """Bytes of the row's unit: what SGLang's logs call GB is a GiB."""
    return GIB if row.get("unit") == "GB" else unit_of(row)


def _sglang_pool(inputs: Row) -> float:
    """Bytes of the pool: as the row has it, else as the planner expects it of a start."""
    parts = [float(inputs[name]) * GIB for name in ("kv_pool_GiB", "pool_GiB") if name in inputs]
    parts = parts or [float(inputs[name]) * GIB for name in ("K_GiB", "V_GiB") if name in inputs]
    if len(parts) == 1 and ("K_GiB" in inputs or "V_GiB" in inputs):
        parts *= 2
    if parts:
        return sum(parts)
    found = sglang.estimates(task_of({"inputs": {"engine": "sglang", **inputs}}), model_of(inputs), ())
    if isinstance(found, Unknown) or found[0].cache is None:
        raise ValueError("the pool of SGLang is not known")
    return float(found[0].cache.pool.expected)


def picture(row: Row) -> float:
    """A diffusion pipeline after loading, or at its peak."""
    inputs, what = row["inputs"], str(row.get("what", ""))
    kind = str(inputs.get("precision") or inputs.get("quant") or inputs.get("dtype") or "bf16")
    model = model_of(inputs)
    if "peak" not in what:
        return diffusion.loaded(model, kind) / unit_of(row)
    sizes = (int(inputs.get(name, usual)) for name, usual in (("height", 1024), ("width", 1024), ("batch", 1)))
    offload = any(inputs.get(name) for name in ("offload", "group_offload", "cpu_offload")) or "offload" in what
    return diffusion.peak(model, kind, *sizes, offload) / unit_of(row)


def machine_of(inputs: Row) -> list[Gpu]:
    """The GPUs of a row: "8x L40S 48GB", "2x 8x H100" of two nodes, or one product and a tensor parallel size."""
    text = str(inputs.get("gpu") or inputs.get("gpus") or "H100 80GB")
    found = re.match(r"((?:\d+ ?(?:x|\u00d7|nodes? of|\*) ?)+)(.*)", text)
    count = prod(map(int, re.findall(r"\d+", found[1]))) if found else int(inputs.get("gpu_count") or 0)
    count = count or int(inputs.get("tp", 1)) * int(inputs.get("pp", 1)) * int(inputs.get("dp", 1))
    name, memory = product_of(found[2] if found else text)
    if "total_GiB" in inputs:
        memory = int(float(inputs["total_GiB"]) * GIB)
    product = product_named(name)
    capability = product.compute_capability if product else None
    return [Gpu(index, name, memory, memory, compute_capability=capability) for index in range(count)]


FLAGS = {
    "util": "gpu-memory-utilization",
    "max_num_seqs": "max-num-seqs",
    "max_num_batched_tokens": "max-num-batched-tokens",
    "block_size": "block-size",
    "kv_cache_dtype": "kv-cache-dtype",
    "enforce_eager": "enforce-eager",
    "mem_fraction_static": "mem-fraction-static",
    "n_gpu_layers": "n-gpu-layers",
}
"""What a row calls a flag."""
SIXTEEN = ("None", "auto", "fp16", "bf16", "float16", "bfloat16", "half", "float32", "fp32")
"""Kinds of numbers that weights are computed with and not quantized to."""
SHORT = 4096
"""Tokens of a sequence where a row says that something runs, and not how long."""
ENGINES = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llamacpp", "llamacpp": "llamacpp", "ollama": "ollama",
           "tgi": "tgi", "diffusers": "diffusers"}  # fmt: skip


def engine_of(row: Row) -> str:
    """The engine of a row that starts a server: as it says, else vLLM; llama.cpp for a GGUF file."""
    inputs = row["inputs"]
    said = str(inputs.get("engine") or "").lower()
    for name, engine in ENGINES.items():
        if name in said or (name != "vllm" and name in inputs):
            return engine
    text = f"{inputs.get('quant', '')} {inputs.get('model', '')} {inputs.get('format', '')}"
    return "llamacpp" if re.search(r"gguf|q\d_[k01]|iq\d", text.lower()) else "vllm"


def task_of(row: Row) -> Task:
    inputs, gpus = row["inputs"], tuple(machine_of(row["inputs"]))
    args = {flag: inputs[name] for name, flag in FLAGS.items() if name in inputs}
    if str(inputs.get("dtype", "")) == "float32":
        args["dtype"] = "float32"
    asked = inputs.get("quant") or inputs.get("quantization") or inputs.get("format")
    asked = asked or (None if str(inputs.get("dtype")) in SIXTEEN else inputs.get("dtype"))
    stages = int(inputs.get("pp", 1))
    tensor = int(inputs.get("tp") or len(gpus) // stages)
    engine = engine_of(row)
    layout = Layout(pipeline=len(gpus)) if engine in ("llamacpp", "ollama") else Layout(tensor, stages)
    context = inputs.get("max_model_len") or context_of(inputs)
    if not context and engine in ("vllm", "sglang", "tgi"):
        context = min(SHORT, model_of(inputs).context or SHORT)
    job = Job(
        "inference",
        "row",
        engine,
        True,
        model=named(str(inputs["model"]))[0],
        quantization=str(asked).replace(" at load", "") if asked else None,
        context_length=count_of(context) if context else None,
        gpus=Gpus(len(gpus)),
        parallel=Parallel(layout.tensor, layout.pipeline),
        args=args,
    )
    version = version_of(inputs) if engine == "vllm" else None
    return Task("row", job, gpus, len(gpus), layout=layout, version=version)


def fits(row: Row) -> bool:
    """Whether a row's job starts, or its training runs, on its GPUs."""
    inputs = row["inputs"]
    text = " ".join(str(inputs.get(name, "")) for name in ("recipe", "method", "training")).strip()
    if text or "fine-tune" in str(row.get("what", "")):
        return trains(row)
    model, task = model_of(inputs), task_of(row)
    if model.kind == "diffusion":
        return (
            diffusion.peak(model, str(inputs.get("precision") or inputs.get("dtype") or "bf16")) <= task.gpus[0].memory
        )
    found = engine_named(task.job.engine).memory(task, model, ())
    if isinstance(found, Unknown):
        return by_its_name(inputs, task)
    if "weights_GiB_reported" in inputs or "weights_GiB" in inputs:
        found = tuple(_as_reported(one, weights(inputs)) for one in found)
    return all(one.verdict != "does not fit" for one in found)


def by_its_name(inputs: Row, task: Task) -> bool:
    """Of a model whose dimensions are not known: the parameters in its name in their format, and a tenth for the rest.
    The product itself says that such a model is unknown."""
    params = params_of(str(inputs["model"]))
    stored = stored_of(inputs, Model("", ""))
    size = nominal(int(params), stored if gguf_mix(stored) is None else "nf4")
    return params > 0 and 1.1 * size <= 0.9 * sum(gpu.memory for gpu in task.gpus)


def _as_reported(one: Estimate, size: float) -> Estimate:
    """With the weights that the row itself gives."""
    lines = tuple(line._replace(bytes=exactly(size)) if line.name == "weights" else line for line in one.lines)
    return replace(one, lines=lines)


NARROW = r"pure|bf16|8-?bit|galore|lomo|adafactor|backward"
"""What says of a full fine-tuning that its states are not in fp32, as they are where nothing is said."""


def trains(row: Row) -> bool:
    """Whether a fine-tuning fits: short sequences, one at a time, recomputed on the way back, as their authors run
    them who publish the smallest GPU. What the allocator caches it gives back where there is too little."""
    from mgpu.memory.training import lines
    from mgpu.values.recipe import Recipe

    inputs = row["inputs"]
    text = f"{inputs.get('recipe', '')} {inputs.get('method', '')} {row.get('what', '')}".lower()
    model, gpus = model_of(inputs), machine_of(inputs)
    model = model if model.layers else nearest(params_of(str(inputs["model"])))
    method = "qlora" if "qlora" in text or "4-bit" in text else "lora" if "lora" in text else "full"
    paged = ("paged-" if "paged" in text else "") + "adamw" + ("-8bit" if "8-bit" in text or "8bit" in text else "")
    recipe = Recipe(
        method,
        "amp" if "amp" in text or (method == "full" and not re.search(NARROW, text)) else "bf16",
        "adafactor" if "adafactor" in text else paged,
        sharding="fsdp" if len(gpus) > 1 else "none",
        offload_parameters="offload" in text,
        offload_optimizer="offload" in text,
        micro_batch=int(inputs.get("batch", 1)),
        sequence=int(inputs.get("seq") or inputs.get("sequence") or 512),
        checkpointing=True,
    )
    found = lines(model, recipe, len(gpus))
    sizes = (line.bytes.low if line.name == "allocator slack" else line.bytes.expected for line in found)
    return sum(sizes) <= gpus[0].memory


def sized(answer: Callable[[Row], float]) -> Callable[[Row], float]:
    """The same in the row's own unit, of the first stage of a pipeline where it does not say the last."""
    return lambda row: answer(staged(row)) / unit_of(row)


ANSWERS: dict[str, Callable[[Row], object]] = {
    "vllm_activation": sized(activation),
    "vllm_nontorch": sized(non_torch),
    "vllm_kv_pool": sized(pool_of),
    "vllm_kv_tokens": tokens,
    "vllm_kv_tokens_old": old_tokens,
    "vllm_kv_hybrid": tokens,
    "llamacpp_buffers": buffers,
    "sglang_kv": sglang_cache,
    "diffusion": picture,
    "fits": fits,
}
