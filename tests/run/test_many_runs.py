"""Many runs at once after eight GPUs, processes and containers mixed: none shares, all run, none waits for ever."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.docker import BUSYBOX, Engine
from tests.run.scene import SOAK, Scene, scene, told

RUNS = 64 if SOAK else 16
WITHIN = 240
"""Seconds after which whoever has not run is starved."""
SCRIPT = """
gpus=$(echo ${CUDA_VISIBLE_DEVICES:-$NVIDIA_VISIBLE_DEVICES} | tr , ' ')
for gpu in $gpus; do mkdir held-$gpu || touch shared; done
sleep 0.1
for gpu in $gpus; do rmdir held-$gpu || touch shared; done
echo $gpus"""


def spec(host: Scene, number: int) -> Path:
    """Every other run is a container."""
    image = {"image": BUSYBOX} if number % 2 else {}
    return host.task(SCRIPT, f"job-{number}", gpus=(1, 2, 4)[number % 3], **image)


def test_runs_that_wait_for_each_other_all_run_and_never_share(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    with scene(tmp_path, monkeypatch, engine) as host:
        began = time.monotonic()
        runners = [host.start("run", "--wait", spec(host, number)) for number in range(RUNS)]
        said = [ended(runner, began) for runner in runners]
        took = time.monotonic() - began
        told(request, f"{RUNS} runs of processes and containers", f"  all ended within {took:.0f} s")
        failed = [(each, runner.returncode) for runner, each in zip(runners, said, strict=True) if runner.returncode]
        assert failed == []
        assert [len(re.findall("GPU-", out)) for out, _ in said] == [(1, 2, 4)[number % 3] for number in range(RUNS)]
        assert not (tmp_path / "shared").exists()
        assert not list(tmp_path.glob("held-*"))
        assert (host.held(), host.of_host(), host.boxes()) == (0, set(), [])


def ended(runner: subprocess.Popen[str], began: float) -> tuple[str, str]:
    """What the run has said, once it has ended."""
    out, error = runner.communicate(timeout=max(1.0, began + WITHIN - time.monotonic()))
    return out, error
