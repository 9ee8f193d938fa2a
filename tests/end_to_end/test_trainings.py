"""Real trainings by every launcher that can train on the CPU, and what the launchers do that one would not expect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.examples import needs, run

FIRST = 900.0
"""Seconds for a start of DeepSpeed that may have to compile, beside other work."""


def accuracy(spec: str, folder: Path) -> float:
    """The test accuracy of an example that two ranks on the CPU train, in percent."""
    result = run(f"digits/{spec}.mgpu.yaml", folder, within=FIRST)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ranks: 2, gloo on cpu, 719 of 1437 images each" in result.stdout
    return float(result.stdout.partition("test accuracy: ")[2].split()[0])


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory) -> float:
    needs("torch", "sklearn")
    return accuracy("digits", tmp_path_factory.mktemp("torchrun"))


@pytest.mark.parametrize("launcher", ["deepspeed", "accelerate"])
def test_the_digits_are_learnt_as_well_by(launcher: str, tmp_path: Path, by_torchrun: float) -> None:
    needs(launcher)
    percent = accuracy(launcher, tmp_path)
    assert 95 < percent <= 100
    assert abs(percent - by_torchrun) < 1


RANKS = """\
import os
from accelerate import Accelerator
state = Accelerator().state
os.write(1, f"rank {state.process_index} of {state.num_processes}\\n".encode())
"""


def ranks(output: str) -> list[str]:
    return sorted(line for line in output.splitlines() if line.startswith("rank "))


def test_accelerate_told_cpu_starts_one_process_and_mgpu_two(tmp_path: Path) -> None:
    needs("torch", "accelerate")
    (tmp_path / "ranks.py").write_text(RANKS)
    program = str(Path(sys.executable).with_name("accelerate"))
    words = [program, "launch", "--cpu", "--num_processes", "2", "ranks.py"]
    env = os.environ | {"HOME": str(tmp_path)}
    alone = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    assert ranks(alone.stdout) == ["rank 0 of 1"]
    spec = tmp_path / "ranks.mgpu.yaml"
    spec.write_text("kind: training\nengine: accelerate\nscript: ranks.py\ngpus: 0\nparallel: {data: 2}\n")
    result = run(spec, tmp_path)
    assert result.returncode == 0, result.stderr
    assert ranks(result.stdout) == ["rank 0 of 2", "rank 1 of 2"]


PLUGIN = """\
import os
print("rank", os.environ["ACCELERATE_USE_FSDP"], os.environ["FSDP_VERSION"], os.environ["PARALLELISM_CONFIG_TP_SIZE"])
"""


def test_accelerate_reads_the_sections_of_the_config_file(tmp_path: Path) -> None:
    """Beside --use_fsdp it leaves a parallelism config unread, unless that is asked for as well."""
    needs("torch", "accelerate")
    (tmp_path / "plugin.py").write_text(PLUGIN)
    spec = tmp_path / "plugin.mgpu.yaml"
    spec.write_text("""\
kind: training
engine: accelerate
script: plugin.py
config: {fsdp_config: {fsdp_version: 2}, parallelism_config: {parallelism_config_tp_size: 2}}
gpus: 0
parallel: {data: 2}
""")
    result = run(spec, tmp_path)
    assert ranks(result.stdout) == ["rank true 2 2"] * 2, result.stderr


@pytest.mark.parametrize(("engine", "code"), [("torchrun", 1), ("deepspeed", 2), ("accelerate", 1)])
def test_what_becomes_of_the_exit_code_of_a_script(engine: str, code: int, tmp_path: Path) -> None:
    """mgpu exits with the launcher's: torchrun's is 1 whatever the script's was, DeepSpeed hands it on."""
    needs("torch", *([] if engine == "torchrun" else [engine]))
    (tmp_path / "fails.py").write_text("raise SystemExit(2)\n")
    spec = tmp_path / "fails.mgpu.yaml"
    spec.write_text(f"kind: training\nengine: {engine}\nscript: fails.py\ngpus: 0\nparallel: {{data: 2}}\n")
    result = run(spec, tmp_path)
    assert result.returncode == code, result.stdout + result.stderr
