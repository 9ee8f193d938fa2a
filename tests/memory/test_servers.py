"""Every server's estimate: laws that hold for all of them, and what each counts of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.catalog.engine_memory import constant
from mgpu.engines import engine_named
from mgpu.engines.llamacpp import environment, split
from mgpu.memory import diffusion, llamacpp, sglang, vllm, vllm_peak
from mgpu.memory.vllm_cache import Shape, blocks, cache_tokens
from mgpu.memory.vllm_peak import Batch, Place
from mgpu.spec.versions import listed
from mgpu.values.flag import plain
from mgpu.values.memory import GIB, MIB, Correction, Unknown
from tests.memory.known import known
from tests.memory.serving_tasks import SERVERS, estimated, task

MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "gpt-oss-20b", "deepseek-v3", "llama-3.1-70b")
contexts = st.integers(1, 512).map(lambda blocks_: 256 * blocks_)
every_server = pytest.mark.parametrize("engine", SERVERS)


@every_server
@given(st.sampled_from(MODELS), contexts, contexts, st.sampled_from([1, 2, 4]))
def test_more_context_never_needs_less(engine: str, name: str, one: int, other: int, count: int) -> None:
    shorter, longer = (estimated(engine, name, count, context=size) for size in sorted((one, other)))
    if engine == "ollama":  # what is too long for one GPU is spread, so that the first has less of it
        assert sum(a.total.expected for a in shorter) <= sum(b.total.expected for b in longer)
        assert all(a.over() <= 0 for a in shorter) or any(b.over() > 0 for b in longer)
        return
    for a, b in zip(shorter, longer, strict=True):
        assert all(x <= y for x, y in zip(a.total, b.total, strict=True))
        assert all(x <= y for x, y in zip(a.taken, b.taken, strict=True))
        assert a.over() <= b.over()


@every_server
@given(st.sampled_from(MODELS), contexts, st.sampled_from([1, 2, 8]), st.floats(2, 200))
def test_lines_add_up_and_no_pool_is_negative(engine: str, name: str, context: int, count: int, size: float) -> None:
    for one in estimated(engine, name, count, size, context=context):
        assert one.total.expected == sum(line.bytes.expected for line in one.lines)
        assert all(line.bytes.low <= line.bytes.expected <= line.bytes.high for line in one.lines)
        assert len({line.name for line in one.lines}) == len(one.lines)
        assert one.cache is not None
        assert 0 <= one.cache.pool.low <= one.cache.pool.expected <= one.cache.pool.high
        assert one.cache.tokens >= 0


@every_server
@given(st.sampled_from(MODELS), st.sampled_from([1, 2, 8]), st.floats(8, 160), st.floats(0, 40))
def test_a_larger_gpu_never_makes_it_worse(engine: str, name: str, count: int, size: float, more: float) -> None:
    batch = {"max-num-seqs": 64, "max-num-batched-tokens": 2048} if engine == "vllm" else {}
    if engine == "sglang":
        batch = {"chunked-prefill-size": 2048, "cuda-graph-max-bs": 32, "mem-fraction-static": 0.85}
    small, large = (estimated(engine, name, count, room, context=4096, args=batch) for room in (size, size + more))
    for a, b in zip(small, large, strict=True):
        assert (a.over() > 0) or (b.over() <= 0) or engine in ("llamacpp", "ollama")


@every_server
def test_a_model_that_nobody_knows_is_said_to_be_unknown(engine: str) -> None:
    found = engine_named(engine).memory(task(engine, "some/model"), None, ())
    assert isinstance(found, Unknown)
    assert found.hint


def test_every_engine_of_these_answers_by_its_own_module() -> None:
    for name in (*SERVERS, "diffusers"):
        which = "flux.1-dev" if name == "diffusers" else "llama-3.1-8b"
        asked = task(name, which)
        found = engine_named(name).memory(asked, known(which), ())
        assert not isinstance(found, Unknown)
        assert len(found) == 1


@pytest.mark.parametrize("name", [*SERVERS, "xdit", "diffusers"])
def test_a_knob_is_a_flag_of_its_engine_and_makes_it_no_larger(name: str) -> None:
    which = "flux.1-dev" if name in ("xdit", "diffusers") else "llama-3.1-70b"
    asked = task(name, which)
    engine = engine_named(name)
    known = listed(engine, "args", engine.version)
    found = list(engine.knobs(asked))
    assert found
    assert known is not None
    names = {plain(flag) for flag in known.flags}
    assert not [knob for knob in found if knob.path[0] == "args" and plain(str(knob.path[1])) not in names]
    assert {knob.cost for knob in found} <= {0, 1, 2, 4}


class TestVllm:
    def test_the_sampler_of_an_old_version(self) -> None:
        """1.26 GiB were measured of llama-3-8b under 0.6.5 (vllm-project/vllm#10511)."""
        peak = vllm_peak.activation_peak(known("llama-3-8b"), Batch(256, 8192), version="0.6.5")
        assert peak / GIB == pytest.approx(1.26, rel=0.06)

    def test_the_three_tests_of_a_start(self) -> None:
        args = {"gpu-memory-utilization": 0.95, "max-num-seqs": 1024, "max-num-batched-tokens": 8192}
        one = {"size": 79.19, "context": 8192, "version": "0.19.0"}
        assert estimated("vllm", "gpt-oss-20b", args=args, **one)[0].verdict == "does not fit"
        assert estimated("vllm", "gpt-oss-20b", args={**args, "gpu-memory-utilization": 0.9}, **one)[0].over() <= 0
        assert estimated("vllm", "llama-3.1-8b", args=args, **one)[0].verdict == "fits"
        assert estimated("vllm", "llama-3.1-70b", args=args, **one)[0].over() > 0

    def test_what_is_not_free_is_refused_with_what_would_start(self) -> None:
        found = estimated("vllm", "llama-3.1-8b", free=40.0, context=4096, version="0.19.0")[0]
        assert found.fault is not None
        assert "gpu-memory-utilization up to 0.50" in found.fault
        lower = {"gpu-memory-utilization": 0.5}
        assert estimated("vllm", "llama-3.1-8b", free=40.0, context=4096, args=lower)[0].fault is None

    @pytest.mark.parametrize(
        ("version", "name", "newer"),
        [
            ("0.20.0", "qwen3-8b", False), ("0.22.0", "qwen3-8b", True), ("0.22.0", "llama-3.1-8b", False),
            ("0.23.0", "llama-3.1-8b", True), ("0.24.0", "gemma-2-27b", False), ("0.25.0", "gemma-2-27b", True),
            ("0.26.0", "gpt-oss-20b", False), ("0.29.0", "gpt-oss-20b", True), (None, "mixtral-8x7b", True),
        ],
    )  # fmt: skip
    def test_which_versions_run_which_models_with_the_newer_runner(self, version: str, name: str, newer: bool) -> None:
        assert vllm_peak.newer_runner(version, known(name)) is newer
        assert vllm_peak.newer_runner(version, known(name), asked="0") is False

    def test_graphs_are_counted_where_the_version_counts_them(self) -> None:
        def graphs(version: str, **more: object) -> list[bool]:
            lines = estimated("vllm", "llama-3.1-8b", context=4096, version=version, **more)[0].lines
            return [line.outside for line in lines if line.name == "CUDA graphs"]

        assert graphs("0.19.0") == [True]
        assert graphs("0.20.0") == [False]
        assert graphs("0.26.0") == [True]
        assert graphs("0.32.0") == [False]
        assert graphs("0.32.0", env={"VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": "0"}) == [True]
        assert graphs("0.32.0", args={"enforce-eager": True}) == []

    def test_the_cache_in_bytes_is_what_it_is_told(self) -> None:
        args = {"kv-cache-memory-bytes": 4 * GIB}
        found = estimated("vllm", "llama-3.1-8b", context=4096, args=args, version="0.32.0")[0]
        assert found.cache is not None
        assert found.cache.pool.expected == 4 * GIB

    def test_eight_bits_double_the_tokens_and_not_the_pool(self) -> None:
        plain_, half = (
            estimated("vllm", "llama-3.1-8b", context=8192, args=args)[0].cache
            for args in ({}, {"kv-cache-dtype": "fp8"})
        )
        assert plain_ is not None
        assert half is not None
        assert plain_.pool == half.pool
        assert half.tokens / plain_.tokens == pytest.approx(2, rel=0.001)

    def test_keys_beyond_the_heads_are_copied(self) -> None:
        sizes = [blocks(known("llama-3.1-8b"), 8192, Shape(tensor=tensor)).total for tensor in (1, 8, 16)]
        assert sizes[0] == 8 * sizes[1]
        assert sizes[1] == sizes[2]

    def test_layers_of_several_kinds_share_blocks(self) -> None:
        mixed = blocks(known("gemma-3-27b"), 131072, Shape(batch=2048))
        assert mixed.groups > 1
        assert mixed.total < 62 * 2 * 16 * 128 * 2 * 131072

    @given(st.integers(1, 1024), st.sampled_from([2048, 8192, 16384]), st.sampled_from(MODELS))
    def test_a_smaller_batch_never_has_a_higher_peak(self, seqs: int, tokens: int, name: str) -> None:
        for version in ("0.11.0", "0.19.0", "0.26.0", "0.32.0"):
            peak, more = (
                vllm_peak.activation_peak(known(name), Batch(count, tokens), Place(), version) for count in (seqs, 1024)
            )
            assert 0 < peak <= more

    def test_tokens_by_version(self) -> None:
        pool = 58 * GIB
        old, new = (cache_tokens(pool, known("llama-3.1-8b"), 8192, Shape(), version) for version in ("0.11", "0.19"))
        assert old % 16 == 0
        assert abs(new - old) < 16

    def test_a_log_of_this_host_beats_the_table(self) -> None:
        known = Correction("vllm", "0.19.0", "h100-sxm", "non-torch", 3 * GIB, 2, 1, "boot.log")
        for version, size in (("0.19.1", 3 * GIB), ("0.20.0", 2.07 * GIB)):
            lines = estimated("vllm", "llama-3.1-8b", 2, context=4096, version=version, corrections=(known,))[0].lines
            line = next(line for line in lines if line.name == "non-torch")
            assert line.bytes.expected == int(size)
            assert (line.source == "calibrated") is (version == "0.19.1")

    def test_constants_fall_back_to_the_newest(self) -> None:
        assert constant("vllm", "utilization", "0.19.9") == 0.9
        assert constant("vllm", "utilization", "nightly") == constant("vllm", "utilization") == 0.92
        assert vllm.requested(100, 0.923) == 93


class TestOthers:
    def test_sglang_keeps_what_its_code_keeps(self) -> None:
        total = 81090 * MIB
        sizes = sglang.capacity(total)
        assert sizes == (8192, 256)
        assert sglang.reserved(total, sizes, Place()) == (512 + 8192 * 1.5 + 128 + 512 + 8 * 58) * MIB
        assert sglang.reserved(total, sizes._replace(chunk=2048), Place()) == 10240 * MIB

    def test_llamacpp_counts_padded_contexts_and_the_head_on_one_device(self) -> None:
        found = estimated("llamacpp", "llama-3.1-70b", 2, 48, context=8000, quantization="Q4_K_M")
        assert [one.cache.tokens for one in found if one.cache] == [8192, 8192]
        kept = sum(line.bytes.expected for one in found for line in one.lines if line.name == "KV cache")
        assert kept == llamacpp.cache_bytes(known("llama-3.1-70b"), 8000, 2.0)
        weights = sum(line.bytes.expected for one in found for line in one.lines if line.name == "weights")
        stored = llamacpp.stored_of(known("llama-3.1-70b"), "x:Q4_K_M")
        assert weights == stored.total - stored.embedding

    def test_a_split_that_was_chosen_is_the_one_that_is_reckoned(self) -> None:
        wanted = llamacpp.split_of(task("llamacpp", "llama-3.1-8b", 2, 24, context=8192), known("llama-3.1-8b"))
        assert wanted is not None
        assert sum(wanted) == 32
        assert llamacpp.split_of(task("llamacpp", "llama-3.1-8b", 1), known("llama-3.1-8b")) is None

    def test_the_engine_is_given_the_split_with_the_head(self) -> None:
        asked = replace(task("llamacpp", "llama-3.1-8b", 2, 24, context=8192), split=(10, 22))
        assert split(asked) == "10,23"
        assert environment(asked) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        found = llamacpp.estimates(asked, known("llama-3.1-8b"))
        assert not isinstance(found, Unknown)
        assert [
            line.why.split(", ")[1].split(";")[0] for one in found for line in one.lines if line.name == "weights"
        ] == [
            "10 layers",
            "22 layers",
        ]

    def test_a_context_that_nobody_chose_is_what_fits(self) -> None:
        found = estimated("llamacpp", "llama-3.1-8b", 1, 12, quantization="Q8_0")[0]
        assert found.cache is not None
        assert 4096 <= found.cache.context < 131072
        assert found.over() <= 0

    @pytest.mark.parametrize(
        "kind", ["bf16", "bnb8", "bnb4", "torchao_int8", "torchao_int4", "quanto_fp8", "gguf_q8_0"]
    )
    def test_fewer_bits_are_less_and_the_peak_is_more_than_the_load(self, kind: str) -> None:
        flux = known("flux.1-dev")
        assert diffusion.loaded(flux, kind) <= diffusion.loaded(flux)
        assert diffusion.loaded(flux, kind) < diffusion.peak(flux, kind)
        assert diffusion.peak(flux, kind, offload=True) <= diffusion.peak(flux, kind)

    @pytest.mark.parametrize(
        ("word", "tool", "kind"),
        [
            ("bf16", "", "bf16"), ("fp16", "", "bf16"), ("bnb4", "bnb", "nf4"), ("bnb8", "bnb", "int8"),
            ("bitsandbytes-8bit", "bnb", "int8"), ("torchao_int4", "torchao", "int4"),
            ("quanto_qint8", "quanto", "int8"),
            ("torchao_float8dq_e4m3_row", "torchao", "fp8"), ("gguf-Q4_K_M", "gguf", "q4_k"), ("nf4", "", "nf4"),
        ],
    )  # fmt: skip
    def test_the_words_for_precision(self, word: str, tool: str, kind: str) -> None:
        assert diffusion.precision(word) == (tool, kind)

    def test_components_on_two_gpus_are_the_whole_once(self) -> None:
        whole = sum(part.bytes for part in diffusion.parts(known("flux.1-dev")))
        found = estimated("diffusers", "flux.1-dev", 2, 48, pipeline=2)
        assert sum(
            line.bytes.expected for one in found for line in one.lines if line.name == "weights"
        ) == pytest.approx(whole, abs=2)
