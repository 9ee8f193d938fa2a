"""Why a run failed, as `mgpu why` and `mgpu run` tell it: of real runs, in every state that a run can be in."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.host import Host, eventually, kill

LOGS = Path(__file__).parents[1] / "run" / "logs" / "failed"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, gpus=2)


def prints(name: str, code: int) -> str:
    """A script that writes a real log, and ends with this code."""
    return f"grep -v '^# ' {LOGS / name}; exit {code}"


def why(host: Host, *words: str) -> list[dict[str, Any]]:
    """What `why --json` says of the tasks."""
    answer = host.mgpu("why", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    tasks = json.loads(answer.stdout)["tasks"]
    assert isinstance(tasks, list)
    return tasks


def test_a_known_failure_is_told_with_its_cause_evidence_and_change(host: Host) -> None:
    ran = host.mgpu("run", host.task(prints("port-taken-uvicorn.1.log", 1), "server"))
    assert ran.returncode == 1
    assert (
        "mgpu: server: somebody listens on port 44319 of 0.0.0.0 already\n  hint: another port: in the spec"
        in ran.stderr
    )
    told = host.mgpu("why", "server").stdout
    assert told.startswith("server: it failed with exit code 1: it ended with an error of its own\n")
    assert "  cause   somebody listens on port 44319" in told
    assert "| [2024-09-05T00:38:34Z] ERROR:    [Errno 98] error while attempting to bind on" in told
    assert str(host.state) in told
    assert "vllm-project/vllm#8204" in told
    assert "failed with 1: a port is taken" in host.mgpu("ps", "--all").stdout


def test_what_is_not_known_is_told_by_its_status_its_last_error_and_its_end(host: Host) -> None:
    host.mgpu("run", host.task(prints("rank-failed.1.log", 1) + "; echo", "unlike"))
    (reason,) = why(host, "unlike")
    assert (reason["id"], reason["error"]) == ("rank-failed", "[rank1]: ValueError: this rank does not like its data")
    host.mgpu("run", host.task("seq 100; kill -SEGV $$", "crash"))
    (reason,) = why(host, "crash")
    assert "exit code 139: SIGSEGV: it crashed" in reason["how"]
    assert reason["tail"][-1] == "100"
    assert reason["cause"] is None
    told = host.mgpu("why", "crash").stdout
    assert "| 100" in told


def test_what_mgpu_saw_itself_is_told_unless_the_log_says_more(host: Host) -> None:
    says = f"grep -v '^# ' {LOGS / 'vllm-no-kv-room.1.log'}; sleep 60"
    never = {"log": "never", "within": "1s"}
    runs = [
        host.start("run", host.task("sleep 60", "late", ready=never)),
        host.start("run", host.task("sleep 60", "slow", timeout="1s")),
        host.start("run", host.task(says, "more", ready=never)),
    ]
    for run in runs:
        run.communicate(timeout=60)
    (late,), (slow,), (more,) = (why(host, name) for name in ("late", "slow", "more"))
    assert late["how"] == more["how"] == "it was not ready within 1 s, and was stopped"
    assert "no line of the log matches 'never'" in late["cause"]
    assert slow["cause"] == "it was still running when its time was over"
    assert more["id"] == "vllm-no-kv-room"


def test_a_run_that_is_well_says_so(host: Host) -> None:
    host.mgpu("run", host.task("echo done", "well"))
    assert "nothing is wrong with it: it ended well" in host.mgpu("why", "well").stdout
    host.mgpu("run", "--detach", host.task("sleep 60", "runs"))
    assert "nothing is wrong with it: it is ready" in host.mgpu("why", "runs").stdout
    host.mgpu("stop", "runs")
    assert "it was stopped, as it was asked" in host.mgpu("why", "runs").stdout
    assert host.mgpu("why", "none").returncode == 2


def test_of_one_that_is_not_ready_its_probe_is_asked(host: Host) -> None:
    host.mgpu("run", "--detach", host.task("sleep 60", "starts", ready={"log": "soon", "within": "10m"}))
    told = host.mgpu("why", "starts").stdout
    assert "it is not ready yet, after" in told
    assert "no line of the log matches 'soon'" in " ".join(told.split())
    host.mgpu("stop", "--now", "starts")


def test_of_one_that_was_started_anew_its_last_life_is_told(host: Host) -> None:
    once = f"test -e {host.folder}/once && exec sleep 60; touch {host.folder}/once; exit 7"
    restart = {"policy": "on-failure", "max": 3}
    host.mgpu("run", "--detach", host.task(once, "again", restart=restart))
    eventually(lambda: "started anew 1 time" in why(host, "again")[0]["how"], "it was started anew")
    assert "nothing is wrong with it: it is ready" in why(host, "again")[0]["how"]
    host.mgpu("stop", "--now", "again")


def test_a_run_that_nobody_saw_end_is_told_by_its_log(host: Host) -> None:
    script = f"grep -v '^# ' {LOGS / 'gpu-lost.2.log'}; echo $$; sleep 60"
    host.mgpu("run", "--detach", host.task(script, "lost"))
    (run,) = host.runs()
    log = Path(run["folder"]) / "logs" / "lost.log"
    eventually(lambda: log.exists() and log.read_text().strip().endswith(tuple("0123456789")), "it has written")
    events = [json.loads(line) for line in (Path(run["folder"]) / "events.jsonl").read_text().splitlines()]
    kill(next(event["pid"] for event in events if event["what"] == "kept"))
    assert "without its keeper" in host.mgpu("why", "lost").stdout
    os.killpg(int(log.read_text().split()[-1]), signal.SIGKILL)
    eventually(lambda: host.runs()[0]["state"] == "lost", "nothing of it lives")
    (reason,) = why(host, "lost")
    assert "nobody saw it end" in reason["how"]
    assert reason["id"] == "gpu-lost"


def test_of_a_pipeline_the_job_that_failed_first_is_told(host: Host) -> None:
    lines = ["kind: pipeline", "name: two", "jobs:"]
    lines += ["  good: {kind: task, command: [sleep, '60']}", "  bad:", "    kind: task"]
    lines += [f"    command: [sh, -c, {json.dumps(prints('module-missing.1.log', 1))}]"]
    host.mgpu("run", host.spec("\n".join(lines) + "\n", "two"))
    (reason,) = why(host, "two")
    assert (reason["task"], reason["id"]) == ("bad", "module-missing")
    assert host.mgpu("why", "two").stdout.startswith("two, bad: ")
    assert "it was stopped, since bad had failed" in why(host, "two", "good")[0]["how"]
    assert host.mgpu("why", "two", "god").returncode == 2


def test_after_an_out_of_memory_the_change_has_a_number(host: Host) -> None:
    """The engine is asked to fail as vLLM did: a program of that name writes its log."""
    program = host.folder / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{prints('vllm-oom.1.log', 1)}\n")
    program.chmod(0o755)
    model = "model: Qwen/Qwen3-8B\ncontext_length: 16384\n"
    spec = host.spec(f"kind: inference\nengine: vllm\nversion: '0.32.0'\nruntime: process\n{model}", "llm")
    path = f"{program.parent}:{host.env['PATH']}"
    ran = host.mgpu("run", "--force", spec, PATH=path)
    assert "vLLM asked for 1.74 GiB more than a GPU had left" in ran.stderr, ran.stderr
    (reason,) = why(host, "llm")
    assert reason["id"] == "vllm-oom"
    change = reason["change"][0]
    assert any(character.isdigit() for character in change), change
    assert "max-batch-size" not in json.dumps(reason)
