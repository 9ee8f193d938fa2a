"""Which files of a repository an engine reads, as its own sources choose them."""

from __future__ import annotations

import json

import pytest

from mgpu.catalog.repositories import FORMATS, chosen, pipeline
from mgpu.engines import llamacpp, sglang, tensorrt_llm, tgi, vllm

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


def content(name: str) -> bytes:
    """An index of the two shards."""
    assert name == INDEX
    return json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode()


@pytest.mark.parametrize(("files", "form", "read"), [
    ([*SHARDS, INDEX, "extra.safetensors", "x.bin"], "auto", [*SHARDS, INDEX]),
    ([*SHARDS, INDEX, "consolidated.safetensors"], "auto", [INDEX, "consolidated.safetensors"]),
    ([*SHARDS, INDEX, "consolidated.safetensors"], "safetensors", [*SHARDS, INDEX]),
    (["model.safetensors", "model.bin", "model.pt", "model.gguf"], "auto", ["model.safetensors"]),
    (["model.safetensors", "1_Dense/model.safetensors"], "auto", ["model.safetensors", "1_Dense/model.safetensors"]),
    (["a.bin", "a.pt", "consolidated.00.pth"], "auto", ["a.bin"]),
    (["a.bin", "a.pt"], "pt", ["a.pt"]),
    (["a.bin", "a.pt"], "npcache", ["a.bin"]),
    (["config.json", "model.safetensors"], "dummy", ["config.json"]),
    (["original/params.json", "original/consolidated.00.pth", "config.json", "a.safetensors"], "auto",
     ["config.json", "a.safetensors"]),
    (["merges.txt", "chat_template.jinja", "tekken.json", "qwen.tiktoken", "modeling.py", "tokenizer.model", "cat.png"],
     "auto", ["merges.txt", "chat_template.jinja", "tekken.json", "qwen.tiktoken", "modeling.py", "tokenizer.model"]),
])  # fmt: skip
def test_what_vllm_reads(files: list[str], form: str, read: list[str]) -> None:
    assert chosen(files, content, FORMATS.get(form, vllm.ANY)) == read


@pytest.mark.parametrize(("files", "form", "read"), [
    ([*SHARDS, INDEX, "consolidated.safetensors"], "auto", [*SHARDS, INDEX]),
    ([*SHARDS, INDEX, "consolidated.safetensors"], "mistral", [INDEX, "consolidated.safetensors"]),
    (["model.safetensors", "model.bin", "model.pt"], "auto", ["model.safetensors"]),
    (["a.bin", "a.pt"], "auto", ["a.bin"]),
    (["a.pt", "config.json"], "auto", ["a.pt", "config.json"]),
])  # fmt: skip
def test_what_sglang_reads(files: list[str], form: str, read: list[str]) -> None:
    assert chosen(files, content, FORMATS.get(form, sglang.ANY)) == read


QUANTS = ["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"]
PARTS = [f"big/m-Q6_K-0000{part}-of-00003.gguf" for part in (1, 2, 3)]


@pytest.mark.parametrize(("files", "tag", "read"), [
    (QUANTS, "", ["m-Q4_K_M.gguf"]),
    (["m-F16.gguf", "m-Q8_0.gguf"], "", ["m-Q8_0.gguf"]),
    (["m-IQ1_S.gguf", "m-F16.gguf"], "", ["m-IQ1_S.gguf"]),
    (QUANTS, "q8_0", ["m-Q8_0.gguf"]),
    (QUANTS, "Q5_K_M", []),
    ([*QUANTS, *PARTS], "Q6_K", PARTS),
    (["mmproj-m-f16.gguf", "m-Q4_K_M.gguf"], "", ["m-Q4_K_M.gguf", "mmproj-m-f16.gguf"]),
    (["mmproj-BF16.gguf", "mmproj-Q8_0.gguf", "m-Q8_0.gguf"], "", ["m-Q8_0.gguf", "mmproj-Q8_0.gguf"]),
    (["other/mmproj-F16.gguf", "m-Q8_0.gguf"], "", ["m-Q8_0.gguf"]),
    (["m-imatrix.gguf", "mtp-m-Q4_K_M.gguf", "m-Q8_0.gguf"], "", ["m-Q8_0.gguf"]),
    (["preset.ini", "m-Q8_0.gguf"], "", ["preset.ini"]),
])  # fmt: skip
def test_what_llama_server_takes(files: list[str], tag: str, read: list[str]) -> None:
    assert llamacpp.chosen(files, tag) == read


def test_a_file_that_is_named() -> None:
    assert llamacpp.chosen(QUANTS, "", "M-f16.gguf") == ["m-F16.gguf"]
    assert llamacpp.chosen(QUANTS, "", "none.gguf") == []
    assert llamacpp.chosen(["mmproj-F16.gguf", "m-Q8_0.gguf"], sees=False) == ["m-Q8_0.gguf"]


@pytest.mark.parametrize(("files", "read"), [
    (["model.safetensors", "consolidated.safetensors", "model.bin", "config.json", "a/b.safetensors"],
     ["model.safetensors", "consolidated.safetensors", "config.json"]),
    (["pytorch_model.bin", "training_args.bin", "config.json"], ["pytorch_model.bin", "config.json"]),
    (["config.json"], ["config.json"]),
])  # fmt: skip
def test_what_tgi_downloads(files: list[str], read: list[str]) -> None:
    assert tgi.chosen(files) == read


def test_what_tensorrt_llm_leaves_out() -> None:
    assert tensorrt_llm.chosen(["original/a.pth", "a.safetensors", "config.json"], None) == [
        "a.safetensors",
        "config.json",
    ]


FLUX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.30.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "image_encoder": [None, None],
}
SHARDED = [f"transformer/diffusion_pytorch_model-0000{part}-of-00002.safetensors" for part in (1, 2)]
SMALL = ["model_index.json", "scheduler/scheduler_config.json", "tokenizer_2/spiece.model", "transformer/config.json"]
TRANSFORMER = ["transformer/diffusion_pytorch_model.safetensors.index.json", *SHARDED]


@pytest.mark.parametrize(("files", "variant", "read"), [
    ([*SMALL, *TRANSFORMER, "flux1-dev.safetensors", "ae.safetensors", "README.md", "dev_grid.jpg"], None,
     [*SMALL, *TRANSFORMER]),
    ([*SMALL, "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin", "text_encoder/flax_model.msgpack"],
     None, [*SMALL, "text_encoder/model.safetensors"]),
    ([*SMALL, "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors"], None,
     [*SMALL, "text_encoder/model.safetensors"]),
    ([*SMALL, "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors"], "fp16",
     [*SMALL, "text_encoder/model.fp16.safetensors"]),
    ([*SMALL, "text_encoder/pytorch_model.bin"], "fp16", [*SMALL, "text_encoder/pytorch_model.bin"]),
    ([*SMALL, "image_encoder/config.json", "image_encoder/model.safetensors", "controlnet/config.json"], None, SMALL),
    (["config.json", "model.safetensors"], None, []),
])  # fmt: skip
def test_what_a_pipeline_of_diffusers_reads(files: list[str], variant: str | None, read: list[str]) -> None:
    assert pipeline(files, lambda _: json.dumps(FLUX).encode(), variant) == read
