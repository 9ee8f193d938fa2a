"""A tiny random Llama in the format of the hub, with a tokenizer of bytes and a chat template: no library, no download.

The weights are noise, so what it says is noise as well; but an engine loads, shares and runs it as any other model.
"""

from __future__ import annotations

import json
import math
import random
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

HEAD_DIM = 64
"""What the attention of vLLM for the CPU can do."""
BROKEN_HEAD_DIM = 16
"""What it cannot: vLLM starts, says that it is healthy, and dies of the first question."""
HIDDEN, INNER, LAYERS, HEADS, KEYS, CONTEXT = 64, 128, 2, 4, 2, 512
SPECIAL = ("<s>", "</s>", "<pad>")
VOCABULARY = 320
"""More than there are tokens, and a number that two GPUs can share."""
CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write(folder: Path, head_dim: int = HEAD_DIM) -> Path:
    """The model, in a new folder."""
    folder.mkdir(parents=True)
    for name, data in (
        ("config.json", config(head_dim)),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", tokenizer_config()),
        ("generation_config.json", {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}),
    ):
        (folder / name).write_text(json.dumps(data))
    (folder / "model.safetensors").write_bytes(safetensors(dict(tensors(head_dim))))
    return folder


def config(head_dim: int) -> dict[str, object]:
    """What transformers calls a LlamaConfig."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEYS,
        "head_dim": head_dim,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }


def tensors(head_dim: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the weights."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.q_proj.weight", (HEADS * head_dim, HIDDEN)
        yield f"{prefix}.self_attn.k_proj.weight", (KEYS * head_dim, HIDDEN)
        yield f"{prefix}.self_attn.v_proj.weight", (KEYS * head_dim, HIDDEN)
        yield f"{prefix}.self_attn.o_proj.weight", (HIDDEN, HEADS * head_dim)
        yield f"{prefix}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (HIDDEN, INNER)
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def safetensors(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A file of these tensors: the header's length, the header, and the numbers one after another."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    noise, numbers = random.Random(0), array("f")
    for name, shape in shapes.items():
        start = len(numbers) * numbers.itemsize
        drawn = (1.0 if len(shape) == 1 else noise.gauss(0, 0.02) for _ in range(math.prod(shape)))
        numbers.extend(drawn)
        end = len(numbers) * numbers.itemsize
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers.tobytes()


def tokenizer() -> dict[str, object]:
    """One token a byte, after the special ones."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *map(letter, range(256))])}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": index, "content": token, **plain} for index, token in enumerate(SPECIAL)],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def letter(byte: int) -> str:
    """The letter that stands for a byte in the vocabularies of byte-level tokenizers: itself where it is printed."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [other for other in range(256) if other not in printed]
    return chr(byte) if byte in printed else chr(256 + hidden.index(byte))


def tokenizer_config() -> dict[str, object]:
    """What transformers makes a tokenizer with."""
    begin, end, padding = SPECIAL
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": padding,
        "model_max_length": CONTEXT,
        "chat_template": CHAT,
    }
