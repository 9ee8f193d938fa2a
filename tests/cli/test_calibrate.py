"""`mgpu calibrate`: a log's figures are shown, what holds for other models is kept, and a plan then uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mgpu.cli import main

LOGS = Path(__file__).parents[1] / "memory" / "boot_logs"
VLLM = str(LOGS / "vllm-0.25.log")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def kept() -> dict[str, int]:
    from mgpu.machine import measured

    return {one.line: one.bytes for one in measured.read().corrections}


def test_a_log_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", VLLM, "--gpu", "H100-SXM"]) == 0
    printed = capsys.readouterr().out
    assert "vllm 0.25.1 on h100-sxm" in printed
    assert "tensor 4, pipeline 1" in printed
    assert set(kept()) == {"non-torch", "CUDA graphs", "CUDA context"}
    assert kept()["non-torch"] == int(0.6 * 2**30)


def test_a_dry_run_keeps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", VLLM, "--gpu", "h100-sxm", "--dry-run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["figures"]["weights"] == int(7.39 * 2**30)
    assert answer["kept"] == []
    assert not kept()


def test_the_device_of_a_log_needs_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(LOGS / "llamacpp-b7100.log")]) == 0
    assert "on rtx-4090" in capsys.readouterr().out
    assert kept() == {"CUDA context": 456 * 2**20}


def test_a_gpu_that_nobody_knows_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", VLLM, "--gpu", "h100-sxn"]) == 2
    assert "did you mean 'h100-sxm'?" in capsys.readouterr().err
    assert main(["calibrate", VLLM, "--gpu", "banana"]) == 2
    assert not kept()


def test_what_is_no_boot_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.log").write_text("Serving HTTP on 0.0.0.0 port 8000\n")
    assert main(["calibrate", str(tmp_path / "other.log"), "--gpu", "h100-sxm"]) == 2
    assert main(["calibrate", str(tmp_path / "none.log"), "--gpu", "h100-sxm"]) == 2
    assert "says nothing of memory" in capsys.readouterr().err
