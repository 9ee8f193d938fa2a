"""Answers to the rows about servers: what a start of vLLM, SGLang, llama.cpp or a diffusion pipeline needs, and
whether it fits. A row's inputs go in, as text or numbers; the planner's own functions answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mgpu.catalog.engine_memory import constant
from mgpu.catalog.formats import gguf_mix
from mgpu.catalog.gpus import by_name as product_named
from mgpu.catalog.models import by_name
from mgpu.memory import diffusion, llamacpp, ollama, sglang, uncalibrated, vllm, vllm_peak
from mgpu.memory.cache import cached
from mgpu.memory.vllm_cache import Shape, cache_tokens
from mgpu.memory.vllm_peak import Batch, Place
from mgpu.memory.weights import format_of, nominal, on_gpu, rotary
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, MIB, Estimate, Unknown, exactly
from mgpu.values.model import Model
from mgpu.values.plan import Layout, Task
from mgpu.values.spec import Gpus, Job, Parallel

Row = Mapping[str, Any]
WORDS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "vocab": "vocab_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "kv heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "top-k": "top_k",
    "experts": "num_experts",
    "expert intermediate": "expert_intermediate",
}


def named(text: str) -> tuple[str, dict[str, int]]:
    """The id of a model, and the dimensions that stand in brackets behind it."""
    name, _, rest = text.partition(" (")
    found: dict[str, int] = {}
    for part in (text.strip().lower() for text in rest.rstrip(")").split(",")):
        if match := re.fullmatch(r"(\d+) kv heads x (\d+)", part):
            found |= {"num_key_value_heads": int(match[1]), "head_dim": int(match[2])}
        elif match := re.fullmatch(r"(\d+) ([a-z_ -]+)", part) or re.fullmatch(r"([a-z_ -]+) (\d+)", part):
            word, count = (match[2], match[1]) if match[1].isdigit() else (match[1], match[2])
            found |= {WORDS[word]: int(count)} if word in WORDS else {}
    return name.strip(), found


def model_of(inputs: Row) -> Model:
    """The model that a row names: of the catalogue, with what the row says of it besides."""
    name, dims = named(str(inputs["model"]))
    found = by_name(name) or by_name(name.split(" ")[0]) or Model(name, name, kind="llm")
    config = dict(found.config)
    if "top_k" in dims:
        inner = dims.pop("expert_intermediate", config.get("intermediate_size", 0))
        config["moe"] = {"num_experts": dims.pop("num_experts", 64), "top_k": dims.pop("top_k"), "intermediate": inner}
    config |= dims
    config |= {key: value for key, value in _hybrid(inputs).items() if key not in config}
    return replace(
        found,
        config=config,
        hidden=config.get("hidden_size"),
        layers=config.get("num_hidden_layers"),
        heads=config.get("num_attention_heads"),
        kv_heads=config.get("num_key_value_heads"),
        head_dim=config.get("head_dim"),
        experts=config.get("moe", {}).get("num_experts", 0),
        context=config.get("max_position_embeddings"),
    )


def _hybrid(inputs: Row) -> dict[str, Any]:
    """A model that is partly linear attention, as a row describes it; keys and values of the linear layers as Qwen's
    have them where it does not say: 16 heads of keys, twice as many of values as attention has heads, 128 wide."""
    said = inputs.get("hybrid")
    if not said:
        return {}
    layers, full = said["layers"], said["attention_layers"]
    linear = {
        "key_heads": said.get("linear_key_heads", 16),
        "value_heads": said.get("linear_value_heads", 2 * said["heads"]),
        "key_dim": said.get("linear_key_dim", 128),
        "value_dim": said.get("linear_value_dim", 128),
        "kernel": said.get("kernel", 4),
    }
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": said["heads"],
        "num_key_value_heads": said["kv_heads"],
        "head_dim": said["head_dim"],
        "hidden_size": said.get("hidden", 5120),
        "intermediate_size": said.get("intermediate", 17408),
        "vocab_size": said.get("vocab", 248320),
        "linear": linear | {"full_every": layers // full},
    }


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
    product = product_of(str(inputs["gpu"]))
    return float(product[1])


def product_of(text: str) -> tuple[str, int]:
    """The name of a product and its bytes; a bare size is taken for itself."""
    name = text.strip().removeprefix("NVIDIA ").strip()
    for spelled in (name, name.replace(" ", "-"), re.sub(r"[ -]\d+ ?GB.*$", "", name)):
        found = product_named(spelled)
        size = re.search(r"(\d+) ?GB", name)
        if found and (not size or abs(found.memory / GIB / int(size[1]) - 1) < 0.15):
            return found.nvml_names[0], found.memory
    size = re.search(r"(\d+) ?GB", name)
    return name, int(float(size[1]) * GIB * 0.985) if size else 80 * GIB


def batch_of(inputs: Row) -> Batch:
    context = int(inputs.get("max_model_len") or model_of(inputs).context or 4096)
    offline = "offline" in str(inputs.get("usage", ""))
    usual = vllm_peak.defaults(int(total_of(inputs)), str(inputs.get("gpu", "")), version_of(inputs), context, offline)
    return Batch(int(inputs.get("max_num_seqs", usual.seqs)), int(inputs.get("max_num_batched_tokens", usual.tokens)))


def stored_of(inputs: Row, model: Model) -> str:
    if str(inputs.get("dtype", "")) in ("float32", "fp32"):
        return "fp32"
    asked = inputs.get("quantization") or inputs.get("quant") or inputs.get("weights_dtype") or inputs.get("dtype")
    name = named(str(inputs["model"]))[0]
    return format_of(name, str(asked).replace(" at load", "") if asked else None, model)


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
    product = product_named(product_of(str(inputs.get("gpu", "H100 80GB")))[0])
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
        return float(inputs["kv_tokens"] / inputs["max_model_len"])
    model = model_of(inputs)
    context = int(inputs.get("max_model_len") or model.context or 4096)
    found = cache_tokens(pool_of(inputs), model, context, shape_of(inputs), version_of(inputs))
    return found / context if row.get("unit") == "x" else float(found)


def old_tokens(row: Row) -> float:
    """Where a row of the kind "old" names no version, it is 0.8: the last with one batch for every GPU."""
    inputs = {"vllm": "0.8.5", **row["inputs"]}
    return tokens({**row, "inputs": inputs})


def buffers(row: Row) -> float:
    """A buffer of llama.cpp's, in MiB: logits, keys and values, or the model."""
    inputs, what = row["inputs"], str(row.get("what", "")).lower()
    if "compute" in what:
        return compute(inputs) / MIB
    if "model" in what and "kv" not in what and "cache" not in what:
        model = model_of(inputs)
        name = str(inputs.get("quant") or inputs.get("file") or inputs.get("quantization") or inputs["model"])
        stored = llamacpp.stored_of(model, name)
        return (sum(stored.layers) + (stored.head or stored.embedding) + stored.other) / MIB
    return kept(inputs) / MIB


def compute(inputs: Row) -> float:
    sizes = model_of(inputs) if "model" in inputs else Model("", "")
    return float(
        llamacpp.compute_buffer(
            int(inputs.get("hidden") or sizes.hidden or 0),
            int(inputs.get("vocab") or sizes.vocabulary or 0),
            min(int(inputs.get("ubatch", 512)), int(inputs.get("ctx") or 512)),
            int(inputs.get("ctx") or 0),
            int(inputs.get("heads") or sizes.heads or 0),
            inputs.get("flash_attn", True) not in (False, "off"),
        )
    )


def kept(inputs: Row) -> float:
    """Bytes of keys and values: of layers that a row describes, else of its model."""
    kinds = inputs.get("kv_type") or inputs.get("type_k"), inputs.get("kv_type") or inputs.get("type_v")
    size, context = llamacpp.element(*kinds), int(inputs["ctx"])
    count = inputs.get("layers_on_gpu") or inputs.get("layers")
    if "kv_dim" in inputs and count:
        return float(2 * count * inputs["kv_dim"] * llamacpp.padded(context) * size)
    model = model_of(inputs)
    mine = range(int(count)) if count else None
    return float(llamacpp.cache_bytes(model, context, size, mine, int(inputs.get("ubatch", 512))))


def sglang_cache(row: Row) -> float:
    """Keys and values of SGLang's pool in GiB, or one of them."""
    inputs, what = row["inputs"], str(row.get("what", ""))
    per_token = inputs.get("bytes_per_token")
    if per_token is None:
        per_token = cached(model_of(inputs), 1, vllm.cache_element(inputs.get("kv_dtype")), int(inputs.get("tp", 1)))
    if "tokens" not in inputs:
        pool = float(inputs.get("kv_pool_GiB") or inputs.get("pool_GiB") or 0) * GIB
        return pool // per_token
    one = re.match(r"[KV] (part|size)", what)
    size = sglang.half(per_token, inputs["tokens"]) if one else per_token * inputs["tokens"]
    return float(size) / GIB


def picture(row: Row) -> float:
    """A diffusion pipeline after loading, or at its peak, in GiB."""
    inputs, what = row["inputs"], str(row.get("what", ""))
    model, kind = model_of(inputs), str(inputs.get("precision", "bf16"))
    if "peak" not in what:
        return diffusion.loaded(model, kind) / GIB
    sizes = (int(inputs.get(name, usual)) for name, usual in (("height", 1024), ("width", 1024), ("batch", 1)))
    return diffusion.peak(model, kind, *sizes, bool(inputs.get("offload"))) / GIB


def machine_of(inputs: Row) -> list[Gpu]:
    """The GPUs of a row: "8x L40S 48GB", or one product and a tensor parallel size."""
    text = str(inputs.get("gpu") or inputs.get("gpus") or "H100 80GB")
    found = re.match(r"(\d+) ?x ?(.*)", text)
    count = int(found[1]) if found else int(inputs.get("gpu_count") or 0)
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
    stages = int(inputs.get("pp", 1))
    tensor = int(inputs.get("tp") or len(gpus) // stages)
    engine = engine_of(row)
    layout = Layout(pipeline=len(gpus)) if engine in ("llamacpp", "ollama") else Layout(tensor, stages)
    context = inputs.get("max_model_len") or inputs.get("context") or inputs.get("ctx")
    job = Job(
        "inference",
        "row",
        engine,
        True,
        model=named(str(inputs["model"]))[0],
        quantization=str(asked).replace(" at load", "") if asked else None,
        context_length=int(context) if context else None,
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
    found = ESTIMATES[task.job.engine](task, model, ())
    if isinstance(found, Unknown):
        return by_its_name(inputs, task)
    if "weights_GiB_reported" in inputs or "weights_GiB" in inputs:
        found = tuple(_as_reported(one, weights(inputs)) for one in found)
    return all(one.verdict != "does not fit" for one in found)


def by_its_name(inputs: Row, task: Task) -> bool:
    """Of a model whose dimensions are not known: the parameters in its name in their format, and a tenth for the rest.
    The product itself says that such a model is unknown."""
    count = re.search(r"(?:(\d+)x)?(\d+(?:\.\d+)?) ?b\b", str(inputs["model"]).lower())
    params = float(count[2]) * 1e9 * int(count[1] or 1) if count else 0.0
    stored = stored_of(inputs, Model("", ""))
    size = nominal(int(params), stored if gguf_mix(stored) is None else "nf4")
    return params > 0 and 1.1 * size <= 0.9 * sum(gpu.memory for gpu in task.gpus)


def _as_reported(one: Estimate, size: float) -> Estimate:
    """With the weights that the row itself gives."""
    lines = tuple(line._replace(bytes=exactly(size)) if line.name == "weights" else line for line in one.lines)
    return replace(one, lines=lines)


def trains(row: Row) -> bool:
    """Whether a fine-tuning fits: short sequences, one at a time, recomputed on the way back, as their authors run
    them who publish the smallest GPU."""
    from mgpu.memory.training import lines
    from mgpu.values.recipe import Recipe

    inputs = row["inputs"]
    text = f"{inputs.get('recipe', '')} {inputs.get('method', '')} {row.get('what', '')}".lower()
    method = "qlora" if "qlora" in text or "4-bit" in text else "lora" if "lora" in text else "full"
    paged = ("paged-" if "paged" in text else "") + "adamw" + ("-8bit" if "8-bit" in text or "8bit" in text else "")
    recipe = Recipe(
        method,
        "amp" if "amp" in text else "bf16",
        "adafactor" if "adafactor" in text else paged,
        micro_batch=int(inputs.get("batch", 1)),
        sequence=int(inputs.get("seq") or inputs.get("sequence") or 512),
        checkpointing=True,
    )
    gpus = machine_of(inputs)
    found = lines(model_of(inputs), recipe, len(gpus))
    return sum(line.bytes.expected for line in found) <= gpus[0].memory


ESTIMATES = {
    "vllm": vllm.estimates,
    "sglang": sglang.estimates,
    "llamacpp": llamacpp.estimates,
    "ollama": ollama.estimates,
    "tgi": uncalibrated.estimates,
}


def in_gib(answer: Callable[[Row], float]) -> Callable[[Row], float]:
    return lambda row: answer(row["inputs"]) / GIB


ANSWERS: dict[str, Callable[[Row], object]] = {
    "vllm_activation": in_gib(activation),
    "vllm_nontorch": in_gib(non_torch),
    "vllm_kv_pool": in_gib(pool_of),
    "vllm_kv_tokens": tokens,
    "vllm_kv_tokens_old": old_tokens,
    "vllm_kv_hybrid": tokens,
    "llamacpp_buffers": buffers,
    "sglang_kv": sglang_cache,
    "diffusion": picture,
    "fits": fits,
}
