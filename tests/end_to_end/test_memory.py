"""What does not fit is refused before a GPU is taken, with the sum; by force, and once the memory is free, it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.host import Host
from tests.fakes.nvml import FakeGpu

GIB = 2**30
TRAINING = """
kind: training
engine: torchrun
script: train.py
model: {model}
recipe: {{method: full, precision: bf16, optimizer: adamw, micro_batch: 1, sequence: 512, checkpointing: true}}
gpus: {gpus}
python: {python}
"""
SCRIPT = "import os; print('trained on', os.environ['CUDA_VISIBLE_DEVICES'].count(',') + 1)"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "train.py").write_text(SCRIPT)
    return Host(tmp_path)


def training(host: Host, model: str, gpus: object) -> Path:
    return host.spec(TRAINING.format(model=model, gpus=gpus, python=sys.executable), "sft")


def test_what_cannot_fit_is_refused_with_the_sum_and_force_runs_it(host: Host) -> None:
    path = training(host, "llama-3.1-8b", 1)
    refused = host.mgpu("run", path)
    assert refused.returncode == 1
    assert "sft does not fit: weights 15.0 + optimizer 29.9" in refused.stderr
    assert "--force" in refused.stderr
    assert host.runs() == []
    assert host.free() == 4
    forced = host.mgpu("run", path, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "trained on 1" in forced.stdout


def test_what_would_fit_on_an_empty_gpu_is_refused_for_now(host: Host) -> None:
    host.stub.write([FakeGpu()])
    path = training(host, "qwen2.5-0.5b", 1)
    assert host.mgpu("run", path).returncode == 0
    host.stub.write([FakeGpu(used=78 * GIB)])
    refused = host.mgpu("run", path)
    assert refused.returncode == 75
    assert "--wait" in refused.stderr


def test_auto_takes_the_fewest_gpus_and_those_with_room(host: Host) -> None:
    host.stub.write([FakeGpu(used=75 * GIB), FakeGpu(), FakeGpu(), FakeGpu()])
    plan = json.loads(host.mgpu("plan", training(host, "llama-3.2-1b", "auto"), "--json").stdout)
    assert [gpu["index"] for gpu in plan["tasks"][0]["gpus"]] == [1]


def test_a_plan_pulls_in_nothing_heavy(tmp_path: Path) -> None:
    text = "kind: inference\\nengine: vllm\\nmodel: meta-llama/Llama-3.1-70B-Instruct\\ngpus: auto\\n"
    code = f"""
import sys
from mgpu import compile
from mgpu.catalog.machines import shorthand
compile("{text}context_length: 8192", shorthand("8xh100-sxm"))
print(sorted({{"numpy", "torch", "docker", "pynvml", "rich", "pydantic"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path.parent)
    assert done.stdout.strip() == "[]"
