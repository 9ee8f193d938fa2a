"""What the files of models say: safetensors, GGUF files and the hub's cache, good ones and broken ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.catalog.models import by_name
from mgpu.machine import ggufs, safetensors, snapshot
from mgpu.machine.models import attached, hub_cache, located, read
from mgpu.memory import gguf
from mgpu.memory.parts import parts
from mgpu.memory.weights import checkpoint, on_gpu
from mgpu.spec import document
from mgpu.spec.check import check
from mgpu.values.machine import Machine
from mgpu.values.model import Model
from tests.fakes.hub import Hub, Repository

SMALL = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
    "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 2048, "torch_dtype": "bfloat16",
}  # fmt: skip
LAYER = {
    "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64), "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96),
    "input_layernorm": (64,), "post_attention_layernorm": (64,),
}  # fmt: skip
SIZE = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96 + 128)
"""Bytes of one such layer."""


def header(tensors: Mapping[str, Sequence[int]], dtype: str = "BF16") -> bytes:
    rows, at = {}, 0
    for name, shape in tensors.items():
        size = 2
        for length in shape:
            size *= length
        rows[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **rows}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def tensors(layers: int = 3) -> dict[str, Sequence[int]]:
    names = {f"model.layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in LAYER.items()}
    ends: dict[str, Sequence[int]] = {"model.embed_tokens.weight": (512, 64), "model.norm.weight": (64,)}
    return {**ends, **names, "lm_head.weight": (512, 64)}


def folder(at: Path, config: Mapping[str, Any] | None = None, **files: bytes) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps(SMALL if config is None else config))
    for name, content in (files or {"model.safetensors": header(tensors())}).items():
        (at / name).write_bytes(content)
    return at


def found(name: str, folder: Path) -> Model:
    model = read(name, str(folder))
    assert model
    return model


def test_a_folder_of_safetensors_is_read_to_the_byte(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    model = found("./mine", tmp_path)
    assert model.origin == "safetensors headers"
    assert model.stored
    assert model.stored.layers == (SIZE,) * 3
    assert (model.stored.embedding, model.stored.head, model.stored.other) == (2 * 512 * 64, 2 * 512 * 64, 128)
    assert model.stored.total == 2 * (model.params or 0) == 2 * parts(model).text
    assert checkpoint(model, "bf16") == model.stored.total
    assert on_gpu(model, "bf16") == model.stored.total


def test_an_index_says_which_files_count(tmp_path: Path) -> None:
    names = list(tensors().items())
    halves = {"a.safetensors": dict(names[:9]), "b.safetensors": dict(names[9:])}
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    files = {file: header(part) for file, part in halves.items()} | {"twice.safetensors": header(tensors())}
    folder(tmp_path / "mine", None, **files, **{safetensors.INDEX: json.dumps(index).encode()})
    assert found("mine", tmp_path).stored == found("mine/a.safetensors", tmp_path).stored
    assert checkpoint(found("mine", tmp_path), "bf16") == 2 * (found("mine", tmp_path).params or 0)


def test_experts_towers_and_layers_that_guess_ahead(tmp_path: Path) -> None:
    names = {
        "model.layers.0.mlp.experts.3.up_proj.weight": (8, 8),
        "model.layers.0.mlp.shared_experts.up_proj.weight": (8, 4),
        "visual.blocks.0.attn.weight": (8, 2),
        "model.layers.1.eh_proj.weight": (8, 1),
    }
    (tmp_path / "x.safetensors").write_bytes(header(names))
    where = safetensors.placed(safetensors.entries(tmp_path / "x.safetensors"), 1)
    assert where == (0, 0, (128 + 64,), (128,), 32 + 16)


def test_a_config_alone_gives_the_dimensions(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text(json.dumps(SMALL))
    model = found("mine", tmp_path)
    assert (model.origin, model.stored, model.params) == ("config.json", None, parts(model).text)


def test_a_kind_that_nobody_knows_counts_only_where_its_weights_agree(tmp_path: Path) -> None:
    folder(tmp_path / "agrees", {**SMALL, "model_type": "unheard_of"})
    folder(tmp_path / "differs", {**SMALL, "model_type": "unheard_of", "intermediate_size": 192})
    assert found("agrees", tmp_path).params == parts(found("agrees", tmp_path)).text
    assert read("differs", str(tmp_path)) is None


def test_the_hub_cache_is_where_the_hub_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    place = hub_cache({"HF_HOME": str(tmp_path)}) / "models--ada--small"
    assert place == tmp_path / "hub/models--ada--small"
    folder(place / "snapshots/0ld", {**SMALL, "num_hidden_layers": 2})
    folder(place / "snapshots/n3w")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("n3w\n")
    assert located("ada/small", "/nowhere") == place / "snapshots/n3w"
    assert found("ada/small", Path("/nowhere")).layers == 3
    assert read("ada/other", "/nowhere") is None


def test_a_container_sees_the_folder_elsewhere(tmp_path: Path) -> None:
    folder(tmp_path / "models/mine")
    assert found("/workspace/models/mine", tmp_path).layers == 3


def written(path: Path, facts: Mapping[str, Any], table: Mapping[str, tuple[list[int], int]]) -> Path:
    """A GGUF file's head, version 3."""

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    def value(it: Any) -> bytes:
        if isinstance(it, str):
            return struct.pack("<I", 8) + text(it)
        if isinstance(it, list):
            return struct.pack("<IIQ", 9, 8, len(it)) + b"".join(map(text, it))
        return struct.pack("<II", 4, it)

    parts_ = [b"GGUF", struct.pack("<IQQ", 3, len(table), len(facts))]
    parts_ += [text(name) + value(it) for name, it in facts.items()]
    for name, (shape, kind) in table.items():
        parts_ += [text(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)]
    path.write_bytes(b"".join(parts_))
    return path


FACTS = {
    "general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2, "llama.embedding_length": 256,
    "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.feed_forward_length": 512,
    "llama.context_length": 4096, "tokenizer.ggml.tokens": ["x"] * 5000,
}  # fmt: skip
TABLE = {
    "token_embd.weight": ([256, 5000], 12),
    "blk.0.attn_q.weight": ([256, 256], 12),
    "blk.1.ffn_down_exps.weight": ([512, 256, 2], 14),
    "output_norm.weight": ([256], 0),
    "output.weight": ([256, 5000], 14),
}


def test_a_gguf_table_is_read_to_the_byte(tmp_path: Path) -> None:
    written(tmp_path / "a-Q4_K_M.gguf", FACTS, TABLE)
    model = found("a-Q4_K_M.gguf", tmp_path)
    assert model.stored
    assert model.stored.format == "Q4_K_M"
    assert model.stored.embedding == 5000 * 144
    assert model.stored.head == 5000 * 210
    assert model.stored.layers == (256 * 144, 2 * 2 * 256 * 210)
    assert model.stored.experts == (0, 2 * 2 * 256 * 210)
    assert model.stored.other == 1024
    assert (model.layers, model.kv_heads, model.head_dim, model.vocabulary) == (2, 2, 64, 5000)
    assert on_gpu(model, "Q4_K_M") == model.stored.total


def test_of_several_kinds_in_a_folder_the_named_one_is_taken(tmp_path: Path) -> None:
    cache = tmp_path / "models--ada--small-GGUF/snapshots/abc"
    cache.mkdir(parents=True)
    written(cache / "a-Q8_0.gguf", {**FACTS, "general.file_type": 7}, TABLE)
    written(cache / "a-Q4_K_M.gguf", FACTS, TABLE)
    for name, mix in (("ada/small-GGUF", "Q4_K_M"), ("ada/small-GGUF:Q8_0", "Q8_0")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HF_HUB_CACHE", str(tmp_path))
            model = found(name, tmp_path)
        assert model.stored
        assert model.stored.format == mix


def test_the_parts_of_a_split_file_belong_together(tmp_path: Path) -> None:
    rows = list(TABLE.items())
    written(tmp_path / "a-00001-of-00002.gguf", FACTS, dict(rows[:3]))
    written(tmp_path / "a-00002-of-00002.gguf", {"split.no": 1}, dict(rows[3:]))
    written(tmp_path / "whole.gguf", FACTS, TABLE)
    split, whole = found("a-00001-of-00002.gguf", tmp_path), found("whole.gguf", tmp_path)
    assert split.stored == whole.stored


def test_a_real_writer_s_file_is_read(tmp_path: Path) -> None:
    """That of ggml's own package."""
    numpy, package = pytest.importorskip("numpy"), pytest.importorskip("gguf")
    writer = package.GGUFWriter(str(tmp_path / "b.gguf"), "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_head_count(2)
    writer.add_feed_forward_length(128)
    writer.add_vocab_size(300)
    writer.add_file_type(package.LlamaFileType.MOSTLY_F16)
    writer.add_tensor("token_embd.weight", numpy.zeros((300, 64), numpy.float16))
    writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((64, 64), numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = found("b.gguf", tmp_path)
    assert model.stored == (("F16", 2 * 300 * 64, 0, (2 * 64 * 64,), (0,), 0))
    assert model.config["tie_word_embeddings"]


def test_a_large_vocabulary_is_passed_over_quickly(tmp_path: Path) -> None:
    import time

    path = written(tmp_path / "a.gguf", {**FACTS, "tokenizer.ggml.merges": ["ab cd"] * 500_000}, TABLE)
    start = time.perf_counter()
    assert ggufs.head(path).facts["tokenizer.ggml.merges"] == 500_000
    assert time.perf_counter() - start < 2


BROKEN = {
    "short.gguf": b"GGUF",
    "words.gguf": b"this is a text and no GGUF file at all",
    "version.gguf": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    "tensors.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
    "facts.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
    "word.gguf": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63),
    "nothing.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    "empty.gguf": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_gguf_file_is_a_note(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BROKEN[name])
    machine = attached(Machine("here"), [name], str(tmp_path))
    assert machine.models == ()
    assert machine.notes[0].startswith(f"the files of {name} are not read: ")


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": b""},
        {"model.safetensors": struct.pack("<Q", 2**50) + b"{}"},
        {"model.safetensors": struct.pack("<Q", 4) + b"[1,2"},
        {"model.safetensors": struct.pack("<Q", 4) + b"[12]" + bytes(8)},
        {"model.safetensors": struct.pack("<Q", 9) + b'{"a": {}}' + bytes(8)},
        {safetensors.INDEX: b'{"weight_map": {"a": "../../secret"}}'},
        {safetensors.INDEX: b"[]"},
        {"config.json": b"[]"},
        {"config.json": b"{"},
        {"config.json": b"\xff\xfe\x00"},
        {"config.json": b"[" * 100_000},
    ],
)
def test_broken_files_of_a_folder_are_a_note(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder(tmp_path / "mine", None, **files)
    machine = attached(Machine("here"), ["mine"], str(tmp_path))
    assert machine.models == ()
    assert len(machine.notes) == 1


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damage_never_does_more_than_raise_value_error(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    path = written(tmp_path_factory.mktemp("g") / "a.gguf", {**FACTS, "tokenizer.ggml.tokens": ["x"]}, TABLE)
    content = path.read_bytes()
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    with suppress(ValueError):
        read("a.gguf", str(path.parent))


@pytest.mark.parametrize("value", [0, -1, 2**40, "8", None, True, 1.5, [1]])
@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_dimension_that_none_can_be_makes_no_model(tmp_path: Path, name: str, value: object) -> None:
    folder(tmp_path / "mine", {**SMALL, name: value})
    assert read("mine", str(tmp_path)) is None


def test_the_table_of_a_file_counts_over_the_mix(tmp_path: Path) -> None:
    """A vendor's own mix is as large as its table says."""
    written(tmp_path / "a-Q4_K_M.gguf", FACTS, TABLE)
    model = found("a-Q4_K_M.gguf", tmp_path)
    assert model.stored
    assert checkpoint(model, "Q4_K_M") == model.stored.total != gguf.stored(model, "Q4_K_M").total


def test_the_hub_is_asked_only_when_it_is_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"config.json": json.dumps(SMALL).encode(), "model.safetensors": header(tensors()), "x.bin": b"x"}
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with Hub() as hub:
        hub.repositories["ada/small"] = Repository(content)
        for where in ("huggingface_hub.constants.ENDPOINT", "huggingface_hub.hf_api.ENDPOINT"):
            monkeypatch.setattr(where, hub.url, raising=False)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        offline = attached(Machine("here"), ["ada/small"], str(tmp_path))
        assert offline.models == ()
        assert not hub.asked
        machine = attached(Machine("here"), ["ada/small"], str(tmp_path), online=True)
        assert machine.notes == ()
        (_, model) = machine.models[0]
        assert model.origin == "the hub"
        assert model.stored
        assert model.stored.layers == (SIZE,) * 3
        assert not any("x.bin" in asked for asked in hub.asked)
        unknown = attached(Machine("here"), ["ada/none"], str(tmp_path), online=True)
        assert unknown.models == ()
        assert "ada/none" in unknown.notes[0]


def test_the_catalogue_s_model_is_not_shadowed_by_nothing(tmp_path: Path) -> None:
    assert by_name("meta-llama/Llama-3.1-8B")
    assert attached(Machine("here"), ["meta-llama/Llama-3.1-8B"], str(tmp_path)).models == ()


def test_a_run_knows_the_files_of_its_models(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    text = "kind: inference\nengine: vllm\nmodel: ./mine\n"
    machine = snapshot.read(str(tmp_path), check(document.read("spec.yaml", text)))
    assert [(name, model.origin) for name, model in machine.models] == [("./mine", "safetensors headers")]
    facts = "model_facts: {layers: 1, hidden: 64, heads: 1, intermediate: 64, vocabulary: 64}\n"
    assert snapshot.read(str(tmp_path), check(document.read("spec.yaml", text + facts))).models == ()


def test_a_file_that_is_cut_short_tells_no_sizes(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [0, 32]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(31))
    with pytest.raises(ValueError, match="it is cut short: "):
        list(safetensors.entries(path))
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(32))
    assert [entry.bytes for entry in safetensors.entries(path)] == [32]
