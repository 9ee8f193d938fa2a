"""Right where guides are wrong: each statement that multi-GPU guides repeat about serving, and what comes of it here.

The statements are those of widely copied guides; what is right was read in the engines' own sources.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mgpu import Compiled, compile
from mgpu.errors import SpecError
from mgpu.machine.file import resolve
from mgpu.resources import folder
from mgpu.values.command import Command

MACHINES = Path(__file__).parents[1] / "machines"
CHAT = "meta-llama/Llama-3.1-8B-Instruct"


def compiled(engine: str, machine: str = "8xh100-sxm", model: str = CHAT, **keys: object) -> Compiled:
    """A server of this engine on the machine."""
    lines = "".join(f"{key}: {value}\n" for key, value in keys.items())
    path = str(MACHINES / machine) if machine.endswith(".yaml") else machine
    return compile(f"kind: inference\nname: chat\nengine: {engine}\nmodel: {model}\n{lines}", resolve(path))


def command(*args: str, **keys: object) -> Command:
    """Its only command."""
    (only,) = compiled(*args, **keys).commands  # type: ignore[arg-type]
    return only


def refusal(*args: str, **keys: object) -> str:
    """What is wrong with it, each with the place that it is told at and with the hint."""
    with pytest.raises(SpecError) as caught:
        compiled(*args, **keys)  # type: ignore[arg-type]
    return "\n".join(f"{p.mark.line}: {p.message} = {p.hint}" for p in caught.value.problems)


def warnings(*args: str, **keys: object) -> str:
    """What is said of it that does not keep it from running."""
    done = compiled(*args, **keys)  # type: ignore[arg-type]
    return "\n".join(f"{p.message} = {p.hint}" for p in (*done.spec.warnings, *done.plan.warnings))


SERVERS = {
    "vllm": 8000,
    "sglang": 30000,
    "tensorrt-llm": 8000,
    "lmdeploy": 23333,
    "tgi": 8080,
    "ollama": 11434,
    "llamacpp": 8080,
}


def test_the_module_of_old_is_not_what_starts_vllm() -> None:
    """Guides: python -m vllm.entrypoints.openai.api_server, deprecated since 0.29; it ignores a positional model."""
    assert command("vllm", runtime="process").argv[:3] == ("vllm", "serve", CHAT)


def test_an_image_is_not_told_its_entrypoint_again() -> None:
    """Guides: docker run vllm/vllm-openai vllm serve ... fails (vllm-project.github.io#305)."""
    assert command("vllm").argv[0] == CHAT
    assert "vllm" not in command("vllm").argv
    assert command("vllm", version="'0.8.5'").argv[:2] == ("--model", CHAT)
    assert command("tgi").argv[0] == "--model-id"
    assert command("ollama").argv == ("serve",)
    assert command("sglang").argv[:2] == ("sglang", "serve")
    assert command("lmdeploy").argv[:3] == ("lmdeploy", "serve", "api_server")
    assert command("tensorrt-llm").argv[:2] == ("trtllm-serve", "serve")


@pytest.mark.parametrize("engine", SERVERS)
def test_a_container_gets_its_gpus_and_not_all(engine: str) -> None:
    """Guides: --gpus all, and then a shard for every GPU there is."""
    container = command(engine, model="a/b", gpus=2).container
    assert container
    assert container.gpus == ("0", "1")


@pytest.mark.parametrize("engine", SERVERS)
def test_no_number_of_the_host_is_said_inside_a_container(engine: str) -> None:
    """Guides: -e CUDA_VISIBLE_DEVICES=2,3 beside --gpus device=2,3, which inside are 0 and 1."""
    found = command(engine, model="a/b", gpus="{ids: [2, 3]}")
    assert found.container
    assert found.container.gpus == ("2", "3")
    assert "CUDA_VISIBLE_DEVICES" not in dict(found.env)


@pytest.mark.parametrize("engine", SERVERS)
def test_a_server_listens_where_its_port_is_published(engine: str) -> None:
    """Guides leave SGLang and TensorRT-LLM on the loopback of their container, and publish 8080 for TGI's port 80."""
    found = command(engine, model="a/b")
    port = SERVERS[engine]
    assert found.container
    assert found.container.publish == (("127.0.0.1", port, port),)
    words = " ".join((*found.argv, *(f"{name}={value}" for name, value in found.env)))
    assert "0.0.0.0" in words
    assert str(port) in words


@pytest.mark.parametrize("engine", SERVERS)
def test_a_process_is_reached_from_here_only(engine: str) -> None:
    """Guides: --host 0.0.0.0, without a key."""
    found = command(engine, model="a/b", runtime="process")
    words = " ".join((*found.argv, *(f"{name}={value}" for name, value in found.env)))
    assert "127.0.0.1" in words
    assert "0.0.0.0" not in words
    assert "and asks for no key" in warnings(engine, model="a/b", runtime="process", host="0.0.0.0")


@pytest.mark.parametrize(("engine", "size"), [
    ("vllm", 16), ("sglang", 32), ("tgi", 1), ("lmdeploy", 32), ("tensorrt-llm", 16),
    ("ollama", None), ("llamacpp", None),
])  # fmt: skip
def test_shared_memory_is_what_the_engine_needs(engine: str, size: int | None) -> None:
    """Guides forget it: Docker gives 64 MB, and NCCL breaks off. Whole layers on each GPU need none."""
    container = command(engine, model="a/b").container
    assert container
    assert container.shm == (size * 2**30 if size else None)


@pytest.mark.parametrize(("engine", "folder_", "home"), [
    ("vllm", "/root/.cache/huggingface", ".cache/huggingface"),
    ("sglang", "/root/.cache/huggingface", ".cache/huggingface"),
    ("tgi", "/data", ".cache/huggingface"),
    ("ollama", "/root/.ollama", ".ollama"),
])  # fmt: skip
def test_a_model_is_fetched_once(engine: str, folder_: str, home: str) -> None:
    """Guides without a volume fetch 140 GB anew for each container."""
    container = command(engine, model="a/b").container
    assert container
    assert (container.volumes[0].target, container.volumes[0].source.endswith(f"/{home}")) == (folder_, True)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp"])
def test_there_is_no_batch_size_to_lower(engine: str) -> None:
    """Guides against lack of memory: --max-batch-size 1. These three have no such flag."""
    assert "has no flag max-batch-size" in refusal(engine, model="a/b", args="{max-batch-size: 1}")


def test_where_it_is_ignored_it_is_told() -> None:
    assert "TGI ignores max-batch-size" in warnings("tgi", args="{max-batch-size: 1}")


def test_where_there_is_one_it_is_spelled_as_the_engine_does() -> None:
    assert "--max_batch_size" in command("tensorrt-llm", args="{max-batch-size: 1}").argv
    assert "--max-batch-size" in command("lmdeploy", args="{max_batch_size: 1}").argv


def test_ollama_is_served_and_not_run() -> None:
    """Guides: CUDA_VISIBLE_DEVICES=0,1 ollama run ... sets it for a client, which the server never hears of."""
    found = command("ollama", "2x-rtx-4090.yaml", model="llama3.1:70b", gpus=2, runtime="process")
    assert found.argv == ("ollama", "serve")
    assert dict(found.env)["CUDA_VISIBLE_DEVICES"].count("GPU-") == 2


def test_ollama_spreads_when_it_is_told_to() -> None:
    """Guides: Ollama uses all GPUs by itself. Where a model fits on one it uses one (server/sched.go)."""
    spread = command("ollama", model="llama3.1:8b", gpus=2, parallel="{pipeline: 2}")
    assert dict(spread.env)["OLLAMA_SCHED_SPREAD"] == "1"
    packed = command("ollama", model="llama3.1:8b", gpus=2, args="{OLLAMA_SCHED_SPREAD: false}")
    assert dict(packed.env)["OLLAMA_SCHED_SPREAD"] == "0"
    assert "leaves the others idle" in warnings("ollama", model="llama3.1:8b", gpus=2)
    assert "OLLAMA_SCHED_SPREAD" not in dict(command("ollama", model="llama3.1:8b", gpus=2).env)


def test_ollama_has_no_settings_of_that_name() -> None:
    """Guides: OLLAMA_NUM_GPU and OLLAMA_TENSOR_SPLIT, which no version reads; and flags, of which it has none."""
    assert "OLLAMA_TENSOR_SPLIT" in refusal("ollama", model="m", args="{OLLAMA_TENSOR_SPLIT: '1,1'}")
    assert "OLLAMA_NUM_GPU" in refusal("ollama", model="m", args="{OLLAMA_NUM_GPU: 2}")
    assert "has no flags" in refusal("ollama", model="m", version="'9.9.9'", args="{num-parallel: 2}")
    assert "use host and port" in refusal("ollama", model="m", env="{OLLAMA_HOST: '0.0.0.0:1'}")


def test_alive_is_not_ready() -> None:
    """Guides wait for /health. A server may be healthy and broken, or have no model at all."""
    for engine in SERVERS:
        probe = command(engine, model="a/b").probe
        assert probe
        assert probe.trial, engine
        assert probe.trial.url.startswith("http://127.0.0.1:")
    probe = command("ollama", model="llama3.1:8b").probe
    assert probe
    assert probe.trial
    assert probe.trial.absent
    assert probe.trial.absent.body == {"model": "llama3.1:8b", "stream": False}


def test_tgi_is_said_to_be_in_maintenance() -> None:
    assert "engine: vllm, or engine: sglang" in warnings("tgi")


def test_llamacpp_is_left_to_fit_the_model() -> None:
    """Guides: -ngl 999 --tensor-split 0.5,0.5. Either keeps llama.cpp from fitting the model to the memory."""
    found = command("llamacpp", "2x-rtx-4090.yaml", model="a.gguf", gpus=2, runtime="process")
    assert not {"--n-gpu-layers", "--tensor-split"} & set(found.argv)
    assert "no longer fits the model" in warnings("llamacpp", model="a.gguf", args="{ngl: 999}")


def test_uneven_gpus_get_what_fits_them() -> None:
    found = command("llamacpp", "uneven.yaml", model="a.gguf", gpus=2, runtime="process")
    assert found.argv[found.argv.index("--tensor-split") + 1] == "47,23"
    assert "3 shares for 2 GPUs" in refusal("llamacpp", "uneven.yaml", model="a.gguf", gpus=2, args="{ts: '1,1,1'}")


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "lmdeploy", "tgi"])
def test_equal_shares_leave_memory_idle_on_uneven_gpus(engine: str) -> None:
    """Guides: --tensor-split for vLLM. It has none: the smallest GPU decides."""
    said = warnings(engine, "uneven.yaml", gpus=2)
    assert "of 70.9 GiB that are free it can use 2 x 23.5 GiB" in said
    assert "--tensor-split 47,23" in said
    assert "equal share" not in warnings(engine, "2x-rtx-4090.yaml", gpus=2)


@pytest.mark.parametrize(("engine", "model", "sizes", "told"), [
    ("vllm", CHAT, "gpus: 3\nparallel: {tensor: 3}",
     "6: vLLM cannot share llama-3.1-8b's 32 attention heads among 3 GPUs = "
     "tensor: 1, 2, 4 or 8, or whole layers on each: parallel: {pipeline: 3}"),
    ("sglang", "Qwen/Qwen2.5-7B-Instruct", "gpus: 8\nparallel: {tensor: 8}",
     "6: SGLang cannot share qwen2.5-7b's 28 attention heads among 8 GPUs = "
     "tensor: 1, 2 or 4, or whole layers on each: parallel: {pipeline: 8}"),
    ("vllm", CHAT, "gpus: 6\nparallel: {data: 2, pipeline: 1}", "gpus: 2, 4, 8 or 16"),
    ("tgi", "Qwen/Qwen2.5-7B-Instruct", "gpus: 7", "TGI cannot share qwen2.5-7b's 4 key and value heads among 7 GPUs = "
     "gpus: 1, 2 or 4"),
    ("lmdeploy", "Qwen/Qwen2.5-32B-Instruct-AWQ", "gpus: 3", "LMDeploy cannot share qwen2.5-32b's 40 attention heads"),
    ("tensorrt-llm", "microsoft/phi-4", "gpus: 4\nparallel: {tensor: 4}",
     "TensorRT-LLM cannot share phi-4's 10 key and value heads among 4 GPUs"),
])  # fmt: skip
def test_heads_that_do_not_divide_are_told_before_a_gpu_is_taken(
    engine: str, model: str, sizes: str, told: str
) -> None:
    keys = dict(line.split(": ", 1) for line in sizes.split("\n"))
    assert told in refusal(engine, model=model, **keys)


@pytest.mark.parametrize(("engine", "model", "gpus"), [
    ("sglang", "Qwen/Qwen2.5-7B-Instruct", 8),
    ("vllm", CHAT, 6),
    ("tensorrt-llm", "microsoft/phi-4", 4),
])  # fmt: skip
def test_a_number_that_heads_do_not_divide_by_gets_a_layout_that_they_do(engine: str, model: str, gpus: int) -> None:
    """Guides: as many GPUs as there are, and --tensor-parallel-size of that number."""
    (task,) = compiled(engine, f"{gpus}xa100-sxm4-80gb", model=model, gpus=gpus).plan.tasks
    assert task.layout.tensor * task.layout.pipeline * task.layout.data == gpus
    assert task.layout.tensor in (1, 2, 4)


def test_heads_are_no_matter_where_layers_stay_whole() -> None:
    assert command("vllm", gpus=3, parallel="{pipeline: 3}")
    assert command("llamacpp", gpus=3)
    assert command("vllm", gpus=3, model="some/unknown-model")


FP8 = "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8"


@pytest.mark.parametrize(("engine", "machine", "told"), [
    ("vllm", "8xa100-sxm4-80gb", "vLLM keeps the weights in 8 bits there, and computes in 16"),
    ("sglang", "2xrtx-3090", "SGLang keeps the weights in 8 bits there"),
    ("tgi", "2xrtx-3090", "TGI keeps the weights in 8 bits there"),
    ("lmdeploy", "2xv100-sxm2-32gb", "LMDeploy keeps the weights in 8 bits there"),
])  # fmt: skip
def test_fp8_on_older_gpus_saves_memory_and_no_time(engine: str, machine: str, told: str) -> None:
    """Guides: DeepSeek-V3 in FP8 on A100, which has no units for it."""
    assert told in warnings(engine, machine, model=FP8)


@pytest.mark.parametrize(("engine", "machine"), [
    ("vllm", "2xv100-sxm2-32gb"), ("sglang", "2xt4"), ("tgi", "2xt4"), ("tensorrt-llm", "8xa100-sxm4-80gb"),
])  # fmt: skip
def test_fp8_where_the_engine_cannot_even_store_it(engine: str, machine: str) -> None:
    assert "cannot run FP8 weights on" in refusal(engine, machine, model=FP8)


def test_fp8_is_asked_for_in_several_ways() -> None:
    old = "8xa100-sxm4-80gb"
    for keys in (
        {"args": "{quantization: fp8}"},
        {"quantization": "fp8"},
        {"model": "deepseek-ai/DeepSeek-V3", "gpus": 8},
    ):
        assert "no units for FP8" in warnings("vllm", old, **keys)
        assert "no units for FP8" not in warnings("vllm", "8xh200-sxm", **keys)
    assert "stores its cache in 8 bits" in warnings("vllm", old, args="{kv_cache_dtype: fp8_e4m3}")
    assert "no units" not in warnings("vllm", old, model="cognitivecomputations/DeepSeek-V3-AWQ", gpus=8)


def test_experts_are_for_models_that_have_some() -> None:
    assert "llama-3.1-8b has no experts" in refusal("vllm", args="{enable-expert-parallel: true}")
    assert command("vllm", model="deepseek-ai/DeepSeek-V3", gpus=8, args="{enable-expert-parallel: true}")
    assert "within tensor: 4" in refusal("sglang", model="a/b", gpus=4, parallel="{tensor: 4, expert: 3}")


def test_replicas_of_the_attention_take_no_gpus() -> None:
    """Guides: --dp 8 beside --tp 8 on eight GPUs, right up to 0.5.21 with one more flag, and 64 GPUs since."""
    new = command("sglang", model="a/b", gpus=8, args="{attn-dp-size: 8}").argv
    old = command("sglang", model="a/b", gpus=8, version="'0.5.21'", args="{attn-dp-size: 8}").argv
    assert "--dp-size" not in new
    assert new[-2:] == ("--attn-dp-size", "8")
    assert old[-3:] == ("--dp-size", "8", "--enable-dp-attention")
    assert "attn-dp-size" in refusal("sglang", model="a/b", gpus=8, args="{enable-dp-attention: true}")
    assert "exclude each other" in refusal(
        "sglang", model="a/b", gpus=8, parallel="{data: 2}", args="{attn-dp-size: 2}"
    )


def test_a_key_counts_where_the_engine_reads_it() -> None:
    """Guides: SGLANG_API_KEY, which clients read and the server does not."""
    open_ = {"model": "a/b", "host": "0.0.0.0"}
    assert "or secrets: [VLLM_API_KEY]" in warnings("vllm", **open_)
    assert "asks for no key" not in warnings("vllm", **open_, secrets="[VLLM_API_KEY]")
    unread = warnings("sglang", **open_, secrets="[SGLANG_API_KEY]")
    assert "asks for no key = host: 127.0.0.1, behind a proxy" in unread


@pytest.mark.parametrize(("engine", "flag"), [("sglang", "api-key"), ("lmdeploy", "api-keys")])
def test_a_key_stands_in_no_command_line(engine: str, flag: str) -> None:
    """Guides: --api-key secret, which ps shows to everyone."""
    assert "where everyone on the machine reads it" in refusal(engine, args=f"{{{flag}: secret}}")


@pytest.mark.parametrize(
    ("engine", "name"), [("vllm", "VLLM_API_KEY"), ("tgi", "API_KEY"), ("llamacpp", "LLAMA_API_KEY")]
)
def test_a_key_that_the_engine_reads_as_a_variable(engine: str, name: str) -> None:
    found = command(engine, model="a/b", secrets=f"[{name}]")
    assert found.probe
    assert found.probe.bearer == name
    flag = "api-key"
    assert f"use secrets: [{name}]" in refusal(engine, model="a/b", args=f"{{{flag}: secret}}")


def test_a_setting_stands_in_one_place() -> None:
    """TensorRT-LLM 1.2 takes its file's word, later versions that of the command line."""
    both = {"args": "{max_batch_size: 8}", "config": "{max_batch_size: 16}"}
    assert "which of them counts differs" in refusal("tensorrt-llm", **both)
    assert "use parallel" in refusal("tensorrt-llm", config="{tensor_parallel_size: 2}")


def test_tensor_is_within_layers_and_pipeline_is_whole_layers() -> None:
    """Guides call whole layers on each GPU tensor parallelism. No text of the catalogue does."""
    wrong = re.compile(r"tensor[^.;:]{0,40}(whole layers|layers 1)|pipeline[^.;:]{0,40}every layer", re.IGNORECASE)
    texts = {path.name: path.read_text() for path in folder("specs").rglob("*.yaml")}
    found = {name: wrong.findall(text) for name, text in texts.items() if wrong.search(text)}
    assert not found
