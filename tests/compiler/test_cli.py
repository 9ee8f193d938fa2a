"""The verbs that compile, as a person calls them: what goes where, in which format, with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = "kind: task\nname: good\ncommand: [echo, hi]\ngpus: 1\nmachine: 1xrtx-4090\n"
BAD = "kind: task\ncomand: [a]\n"


def mgpu(*words: object, cwd: Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **env}
    argv = [sys.executable, "-m", "mgpu", *map(str, words)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, cwd=cwd, env=full, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "good.mgpu.yaml").write_text(GOOD)
    return tmp_path


def test_validate_says_what_is_wrong_on_stdout(place: Path) -> None:
    done = mgpu("validate", "specs", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 spec: good\n")
    (place / "specs" / "bad.mgpu.yaml").write_text(BAD)
    done = mgpu("validate", "specs", cwd=place)
    assert done.returncode == 1
    told = ["specs/bad.mgpu.yaml:2:1: unknown key 'comand'", "    2 | comand: [a]", "      | ^"]
    assert done.stdout.split("\n") == [*told, "      = did you mean 'command'?", ""]
    assert "1 problem in 1 of 2 specs" in done.stderr


def test_validate_for_machines(place: Path) -> None:
    done = mgpu("validate", "-", "--format", "json", cwd=place, stdin=BAD)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["file"], problem["line"], problem["column"], problem["path"]) == ("stdin", 2, 1, "comand")
    done = mgpu("validate", "-", "--format", "github", cwd=place, stdin=BAD)
    assert done.stdout == "::error file=stdin,line=2,col=1,title=mgpu::unknown key 'comand' (did you mean 'command'?)\n"


def test_validate_resolved(place: Path) -> None:
    done = mgpu("validate", "specs/good.mgpu.yaml", "--resolved", "--set", "gpus=2", "--set", "env.LR=0.10x", cwd=place)
    assert done.returncode == 0
    assert "gpus: 2\n" in done.stdout
    assert "LR: 0.10x" in done.stdout


def test_render_out_and_check(place: Path) -> None:
    first = mgpu("render", "specs", "--out", "rendered", cwd=place)
    assert first.returncode == 0
    assert "echo hi" in (place / "rendered" / "good.sh").read_text()
    assert mgpu("render", "specs", "--out", "rendered", "--check", cwd=place).returncode == 0
    (place / "specs" / "good.mgpu.yaml").write_text(GOOD.replace("echo, hi", "echo, ho"))
    changed = mgpu("render", "specs", "--out", "rendered", "--check", cwd=place)
    assert changed.returncode == 1
    assert "-echo hi\n+echo ho" in changed.stdout
    mgpu("render", "specs", "--out", "rendered", cwd=place)
    (place / "rendered" / "old.sh").write_text("")
    left = mgpu("render", "specs", "--out", "rendered", "--check", cwd=place)
    assert (left.returncode, "old.sh" in left.stdout) == (1, True)


def test_render_json_and_machine(place: Path) -> None:
    done = mgpu("render", "specs/good.mgpu.yaml", "--json", "--machine", "8xh100", cwd=place)
    data = json.loads(done.stdout)
    assert (data["version"], data["machine"], data["commands"][0]["argv"]) == (1, "8xh100-sxm", ["echo", "hi"])


def test_render_refuses_what_can_never_run(place: Path) -> None:
    done = mgpu("render", "specs/good.mgpu.yaml", "--set", "gpus=9", cwd=place)
    assert (done.returncode, done.stdout) == (1, "")
    assert "good needs 9 GPUs" in done.stderr


def test_templates_of_ones_own_are_named(place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "task.sh.j2").write_text("nice -n 5 {{ command }}\n")
    done = mgpu("render", "specs/good.mgpu.yaml", "--templates", "mine", cwd=place)
    assert "# templates: mine" in done.stdout
    assert "nice -n 5 echo hi" in done.stdout
    (place / "mine" / "task.sh.j2").write_text("{{ comand }}\n")
    wrong = mgpu("render", "specs/good.mgpu.yaml", "--templates", "mine", cwd=place)
    assert (wrong.returncode, "comand" in wrong.stderr, "Traceback" in wrong.stderr) == (125, True, False)


def test_new_lists_and_writes_and_keeps(place: Path) -> None:
    assert "llama-3.1-8b-vllm-1xrtx-4090" in mgpu("new", cwd=place).stdout
    assert mgpu("new", "list-gpus", cwd=place).returncode == 0
    assert mgpu("validate", "list-gpus.mgpu.yaml", cwd=place).returncode == 0
    assert (place / "list-gpus.mgpu.yaml").read_text().startswith("# yaml-language-server: $schema=mgpu.schema.json\n")
    assert json.loads((place / "mgpu.schema.json").read_text())["definitions"]
    assert mgpu("new", "list-gpus", cwd=place).returncode == 2
    assert "list-gpus" in mgpu("new", "lst-gpus", cwd=place).stderr


@pytest.mark.parametrize(("words", "code", "word"), [
    (["validat"], 2, "validate"),
    (["validate"], 2, "usage"),
    (["validate", "gone.mgpu.yaml"], 2, "gone"),
    (["validate", "specs/god.mgpu.yaml"], 2, "good.mgpu.yaml"),
    (["render", "specs", "--machine", "2xrtx-4091"], 2, "rtx-4090"),
    (["render", "specs", "--machine", "box.yaml"], 2, "box.yaml"),
    (["render", "specs", "--check"], 2, "--out"),
    (["run", "a.mgpu.yaml", "--priority", "high"], 2, "a priority is from -100 to 100, not 'high'"),
    (["run", "a.mgpu.yaml", "--priority", "101"], 2, "a priority is from -100 to 100, not '101'"),
    (["logs", "a", "--tail", "-1"], 2, "a number of lines is 0 or more, not '-1'"),
])  # fmt: skip
def test_a_wrong_command_line(place: Path, words: list[str], code: int, word: str) -> None:
    done = mgpu(*words, cwd=place)
    assert (done.returncode, word in done.stderr, done.stdout) == (code, True, "")


def test_help_keeps_the_case_of_names(place: Path) -> None:
    assert "Show the GPUs of this host, their links, and who holds them." in mgpu("machine", "--help", cwd=place).stdout


def test_a_reader_that_leaves_is_no_error(place: Path) -> None:
    argv = f"{sys.executable} -m mgpu schema | head -1"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["bash", "-c", argv], capture_output=True, text=True, env=env, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")
