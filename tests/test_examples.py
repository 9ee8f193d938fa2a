"""Every example and catalogue spec is good and renders; the examples run for real."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mgpu.cli import main
from mgpu.spec.document import read
from tests.end_to_end.examples import ROOT, needs, run

FOLDERS = ("examples", "specs")
FOUND = [path.relative_to(ROOT) for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.yaml")]
SPECS = sorted(path for path in FOUND if not any(part.startswith(".") for part in path.parts))
EACH = pytest.mark.parametrize("spec", SPECS, ids=str)
SENTENCE = "I know only this sentence, but every word of it came from a real llama.cpp server."


def test_specs_are_found_where_people_look_for_them() -> None:
    assert {path.parts[0] for path in SPECS} == {"examples", "specs"}
    assert not [path for path in SPECS if not path.name.endswith(".mgpu.yaml")]


@EACH
def test_first_lines_name_the_schema_and_say_what_it_is(spec: Path) -> None:
    first, second, *_ = (ROOT / spec).read_text().splitlines()
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / spec.parent / schema).resolve() == ROOT / "specs" / "mgpu.schema.json"
    assert second.startswith("# ")
    assert second.endswith((".", ":"))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.parts[0] == "specs"], ids=str)
def test_a_catalogue_name_is_model_engine_and_gpus(spec: Path) -> None:
    """The GPUs are just those of the machine that the spec names."""
    data = read(str(spec), (ROOT / spec).read_text()).data
    name = spec.name.removesuffix(".mgpu.yaml")
    if name not in {"custom-server", "list-gpus", "two-gpus-by-number"}:
        jobs = data.get("jobs", {"": data}).values()
        assert name.endswith(f"-{data['machine']}")
        assert any(f"-{job.get('engine', '')}-" in f"-{name}-" for job in jobs)
        whole, shared = ([count(job) for job in jobs if shares(job) is wanted] for wanted in (False, True))
        assert data["machine"].startswith(f"{sum(whole) + max(shared, default=0)}x")


def shares(job: Any) -> bool:
    """Whether others may have a part of the GPUs of a job, too."""
    return isinstance(job.get("gpus"), Mapping) and "share" in job["gpus"]


def count(job: Any) -> int:
    """How many GPUs a job of a spec takes."""
    gpus = job.get("gpus", 0 if job["kind"] == "task" else 1)
    return int(gpus.get("count", 1) if isinstance(gpus, Mapping) else gpus) * int(job.get("replicas", 1))


@EACH
def test_valid(spec: Path) -> None:
    assert main(["validate", str(ROOT / spec)]) == 0


@EACH
def test_renders_on_a_machine_with_gpus(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one that it names; else two A100."""
    named = read(str(spec), (ROOT / spec).read_text()).data.get("machine")
    assert main(["render", str(ROOT / spec), *([] if named else ["--machine", "2xa100-sxm4-80gb"])]) == 0
    assert capsys.readouterr().out.startswith("# ")


def test_digits_renders_on_two_gpus_when_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(ROOT / "examples/digits/digits.mgpu.yaml")
    assert main(["render", spec, "--set", "gpus=2", "--machine", "2xrtx-4090"]) == 0
    text = capsys.readouterr().out
    assert "CUDA_VISIBLE_DEVICES=0,1\n" in text
    assert "--nproc-per-node 2 " in text


def test_hello(tmp_path: Path) -> None:
    result = run("hello/hello.mgpu.yaml", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "hello from mgpu" in result.stdout


def test_digits_are_learnt(tmp_path: Path) -> None:
    needs("torch", "sklearn")
    result = run("digits/digits.mgpu.yaml", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ranks: 2, gloo on cpu" in result.stdout
    percent = float(result.stdout.partition("test accuracy: ")[2].split()[0])
    assert 95 < percent <= 100


def test_chat_answers_and_stops(tmp_path: Path) -> None:
    needs("xllamacpp", "gguf")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = run("chat/chat.mgpu.yaml", tmp_path, "--set", f"jobs.llm.port={port}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"answer:   {SENTENCE}" in result.stdout
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
