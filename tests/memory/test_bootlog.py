"""Boot logs: lines as vLLM, SGLang and llama.cpp have written them, of several versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgpu.memory.bootlog import BootLog, corrections, read
from mgpu.values.memory import GIB, MIB

LOGS = Path(__file__).with_name("boot_logs")


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


V0 = log("vllm-0.6")
V26 = log("vllm-0.25")
V32 = log("vllm-0.32")
SGLANG = log("sglang-0.5.5")
SGLANG_NEW = log("sglang-0.5.23")
LLAMACPP = log("llamacpp-b7100")


def seen(text: str) -> BootLog:
    found = read(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "engine", "version", "tensor", "figures"),
    [
        (V0, "vllm", "0.6.6", 1, {"weights": 19.86, "non-torch": 0.16, "activation peak": 36.63, "CUDA graphs": 0.21}),
        (V26, "vllm", "0.25.1", 4, {"weights": 7.39, "non-torch": 0.6, "CUDA graphs": 2.04, "CUDA context": 1.54}),
        (V32, "vllm", "0.32.0", 2, {"weights": 14.99, "non-torch": 0.6, "activation peak": 0.9, "CUDA context": 0.59}),
        (SGLANG, "sglang", None, 2, {"weights": 7.51, "non-torch": 2.01, "CUDA graphs": 1.04, "KV pool": 50.64}),
        (SGLANG_NEW, "sglang", None, 1, {"weights": 14.98, "non-torch": 0.51, "CUDA graphs": 0.62}),
        (LLAMACPP, "llamacpp", "7100", 1, {"weights": 13169 / 1024, "CUDA context": 456 / 1024}),
    ],
)
def test_what_a_log_says(text: str, engine: str, version: str | None, tensor: int, figures: dict[str, float]) -> None:
    found = seen(text)
    assert (found.engine, found.version, found.tensor) == (engine, version, tensor)
    assert {line: found.figures[line] / GIB for line in figures} == pytest.approx(figures, abs=0.001)


def test_llamacpp_names_its_device_and_has_a_breakdown_from_before_the_load() -> None:
    assert seen(LLAMACPP).product == "NVIDIA GeForce RTX 4090"
    early = LLAMACPP.replace("451 |", "-15681 |").replace("456 |", "17592186036877 |")
    assert "CUDA context" not in seen(early).figures


def test_what_is_about_a_model_alone_is_not_kept() -> None:
    kept = corrections(seen(V26), "h100-sxm", "boot.log")
    assert {one.line for one in kept} == {"non-torch", "CUDA graphs", "CUDA context"}
    assert {(one.engine, one.version, one.product, one.tensor, one.log) for one in kept} == {
        ("vllm", "0.25.1", "h100-sxm", 4, "boot.log")
    }


def test_a_log_of_something_else_is_none() -> None:
    assert read("") is None
    assert read("Serving HTTP on 0.0.0.0 port 8000") is None
    assert seen(SGLANG_NEW).figures["CUDA graphs"] == int(0.62 * GIB)
    assert seen(LLAMACPP).figures["compute buffer"] == 985 * MIB
