"""Whole runs on a host with stub GPUs: the exit codes, what a job sees, who gets which GPU, how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.host import Host, eventually, kill, lives
from tests.fakes.nvml import FakeGpu
from tests.require import require

SERVER = """
import http.server, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"data": [{"id": "tiny"}]}')
time.sleep(float(sys.argv[2]))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def pid_in(file: Path) -> int:
    """The pid that a job has written to `file`."""
    return int(eventually(lambda: file.exists() and file.read_text().strip(), f"{file.name} is written"))


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_run_exits_with_the_job_s_own_code(host: Host, script: str, code: int) -> None:
    assert host.mgpu("run", host.task(script)).returncode == code


def test_output_of_a_single_job_goes_through_byte_for_byte(host: Host) -> None:
    done = host.mgpu("run", host.task("printf 'a\\033[1mb\\n\\n  no end'"))
    assert done.stdout == "a\033[1mb\n\n  no end"


def test_a_job_sees_just_its_gpus_and_none_of_the_callers_ranks(host: Host) -> None:
    names = "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER PYTHONUNBUFFERED RANK MASTER_PORT PET_NNODES WANDB_API_KEY"
    spec = host.task("; ".join(f"echo {name}=${name}" for name in names.split()), gpus=2)
    said = host.mgpu("run", spec, RANK="7", MASTER_PORT="1", PET_NNODES="9", WANDB_API_KEY="x" * 40).stdout.split("\n")
    uuids = "GPU-00000000-0000-4000-8000-000000000000,GPU-00000001-0000-4000-8000-000000000001"
    assert said[:3] == [f"CUDA_VISIBLE_DEVICES={uuids}", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "PYTHONUNBUFFERED=1"]
    assert said[3:7] == ["RANK=", "MASTER_PORT=", "PET_NNODES=", "WANDB_API_KEY="]


def test_what_is_printed_is_what_runs(host: Host) -> None:
    program = host.folder / "torchrun"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    (host.folder / "train.py").touch()
    spec = host.spec(
        "kind: training\nengine: torchrun\nscript: train.py\nscript_args: {lr: 1.0e-4, tag: \"a 'b' $c\"}\ngpus: 2\n"
    )
    path = f"{host.folder}:{os.environ['PATH']}"
    ran = host.mgpu("run", spec, PATH=path)
    printed = host.mgpu("render", spec, PATH=path).stdout
    script = host.folder / "printed.sh"
    script.write_text(printed)
    pasted = subprocess.run(
        ["bash", script], env={**host.env, "PATH": path}, cwd=host.folder, capture_output=True, text=True, check=True
    )
    assert ran.returncode == 0
    assert ran.stdout == pasted.stdout != ""


def test_gpus_are_exclusive_and_the_refusal_names_the_holder(host: Host) -> None:
    assert host.mgpu("run", "--detach", host.task("exec sleep 100", "first", gpus=3)).returncode == 0
    assert host.free() == 1
    refused = host.mgpu("run", host.task("true", "second", gpus=2))
    assert refused.returncode == 75
    assert "first" in refused.stderr
    assert "--wait" in refused.stderr
    assert host.mgpu("run", host.task("true", "third", gpus=5)).returncode == 1, "five can never fit on four"
    assert host.mgpu("stop", "first").returncode == 0
    assert host.free() == 4


def test_wait_starts_once_the_gpus_are_free(host: Host) -> None:
    host.mgpu("run", "--detach", host.task("exec sleep 100", "first", gpus=4))
    waiter = host.start("run", "--wait", host.task("echo mine", "second", gpus=1))
    assert waiter.stderr
    assert "waiting" in waiter.stderr.readline()
    host.mgpu("stop", "first")
    out, _ = waiter.communicate(timeout=30)
    assert (waiter.returncode, out) == (0, "mine\n")


def test_a_foreign_process_keeps_its_gpu_unless_ignored(host: Host) -> None:
    host.stub.write([FakeGpu(processes=((1, 2**30),)), FakeGpu()])
    assert host.mgpu("run", host.task("true", gpus=1)).returncode == 0
    refused = host.mgpu("run", host.task("true", gpus=2))
    assert refused.returncode == 75
    assert "--ignore-foreign" in refused.stderr
    assert host.mgpu("run", "--ignore-foreign", host.task("true", gpus=2)).returncode == 0


def test_a_name_is_unique_among_live_runs(host: Host) -> None:
    spec = host.task("exec sleep 100", "twin")
    assert host.mgpu("run", "--detach", spec).returncode == 0
    again = host.mgpu("run", "--detach", spec)
    assert again.returncode != 0
    assert "twin" in again.stderr
    assert "--name" in again.stderr
    assert host.mgpu("run", "--detach", spec, "--name", "other").returncode == 0
    assert host.mgpu("stop", "--all").returncode == 0
    assert {run["state"] for run in host.runs()} == {"stopped"}


def test_the_runner_killed_changes_nothing(host: Host) -> None:
    """The job lives on, is seen with its GPUs, its log grows, stop ends it, and its lease is free then, not before."""
    spec = host.task("echo $$ > pid; while true; do echo tick; sleep 0.05; done", gpus=2)
    runner = host.start("run", spec)
    pid = pid_in(host.folder / "pid")
    kill(runner.pid)
    runner.communicate()
    assert lives(pid)
    (run,) = host.runs()
    assert run["state"] == "running"
    assert len(run["tasks"][0]["gpus"]) == 2
    log = next(host.state.rglob("job.log"))
    size = log.stat().st_size
    eventually(lambda: log.stat().st_size > size, "the log grows")
    assert host.free() == 2
    assert host.mgpu("stop", "job").returncode == 0
    assert not lives(pid)
    assert host.free() == 4


def test_keeper_and_runner_killed_leave_job_and_lease(host: Host) -> None:
    spec = host.task("echo $$ > pid; exec sleep 100", gpus=1)
    host.mgpu("run", "--detach", spec)
    pid = pid_in(host.folder / "pid")
    keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    kill(keeper)
    eventually(lambda: not lives(keeper), "the keeper is dead")
    assert lives(pid)
    assert host.free() == 3
    (run,) = host.runs()
    assert run["state"] not in ("ended", "failed", "lost")
    assert host.mgpu("stop", "job").returncode == 0
    assert not lives(pid)
    assert host.free() == 4


@pytest.mark.parametrize("script", [
    "trap '' TERM; echo $$ > pid; while true; do sleep 0.1; done",
    "(trap '' TERM; sh -c 'echo $$ > pid; trap \"\" TERM; sleep 100; true') & wait",
    "setsid sh -c 'echo $$ > pid; sleep 100; true' & sleep 100",
    "(setsid sh -c 'echo $$ > pid; sleep 100; true' &) ; exec sleep 100",
])  # fmt: skip
def test_stop_leaves_nothing(host: Host, script: str) -> None:
    host.mgpu("run", "--detach", host.task(script, stop_grace="300ms"))
    pid = pid_in(host.folder / "pid")
    assert host.mgpu("stop", "job").returncode == 0
    assert not lives(pid)


def test_what_a_task_leaves_behind_is_ended_with_it(host: Host) -> None:
    spec = host.task("setsid sh -c 'echo $$ > pid; sleep 100; true' & while [ ! -s pid ]; do sleep 0.01; done", gpus=1)
    assert host.mgpu("run", spec).returncode == 0
    assert not lives(pid_in(host.folder / "pid"))
    assert host.free() == 4


@pytest.mark.parametrize(("lasts", "told"), [("0.1", False), ("100", True)])
def test_what_sees_the_end_for_itself_is_not_told(host: Host, lasts: str, told: bool) -> None:
    done = host.mgpu("run", host.task(f"trap '' TERM; sleep {lasts} & exit 0", stop_grace="1s"))
    assert done.returncode == 0
    assert ("left processes behind" in done.stderr) is told


def test_interrupt_stops_and_a_second_one_kills(host: Host) -> None:
    spec = host.task("trap 'echo stopping; exit 0' TERM; echo $$ > pid; while true; do sleep 0.05; done")
    runner = host.start("run", spec)
    pid_in(host.folder / "pid")
    runner.send_signal(signal.SIGINT)
    out, _ = runner.communicate(timeout=30)
    assert (runner.returncode, out.splitlines()[-1]) == (130, "stopping")

    (host.folder / "pid").unlink()
    runner = host.start("run", host.task("trap '' TERM; echo $$ > pid; while true; do sleep 0.05; done", "deaf"))
    pid = pid_in(host.folder / "pid")
    runner.send_signal(signal.SIGINT)
    assert runner.stderr
    eventually(lambda: "stopping" in runner.stderr.readline(), "the first interrupt is told")
    assert lives(pid)
    runner.send_signal(signal.SIGINT)
    runner.communicate(timeout=30)
    assert runner.returncode == 130
    assert not lives(pid)


def test_timeout_ends_with_124(host: Host) -> None:
    done = host.mgpu("run", host.task("echo $$ > pid; exec sleep 100", timeout="300ms"))
    assert done.returncode == 124
    assert not lives(pid_in(host.folder / "pid"))


def test_a_pipeline_starts_in_order_and_stops_its_servers(host: Host) -> None:
    (host.folder / "server.py").write_text(SERVER)
    spec = host.spec(
        """
kind: pipeline
jobs:
  prepare: {kind: task, command: [sh, -c, "sleep 0.2; echo made > made"]}
  llm:
    kind: inference
    engine: custom
    command: [sh, -c, "cat made && exec python3 server.py ${jobs.llm.port} 0.3"]
    gpus: 1
    port: 18431
    ready: {http: /v1/models}
    needs: {prepare: done}
  ask:
    kind: task
    command: [python3, -c, "import os, urllib.request as u; print(u.urlopen(os.environ['URL']).read())"]
    env: {URL: "${jobs.llm.url}/v1/models"}
    needs: {llm: ready}
""",
        "line",
    )
    done = host.mgpu("run", spec)
    assert done.returncode == 0, done.stderr
    assert 'ask     | b\'{"data": [{"id": "tiny"}]}\'' in done.stdout
    assert "llm is ready at http://127.0.0.1:18431" in done.stderr
    assert host.free() == 4


def test_a_failed_job_stops_the_rest_and_gives_its_code(host: Host) -> None:
    spec = host.spec("""
kind: pipeline
jobs:
  good: {kind: task, command: [sh, -c, "echo $$ > pid; exec sleep 100"]}
  bad: {kind: task, command: [sh, -c, "exit 7"], needs: {good: started}}
""")
    done = host.mgpu("run", spec)
    assert done.returncode == 7
    assert "bad" in done.stderr
    assert not lives(pid_in(host.folder / "pid"))


def test_ready_has_a_deadline(host: Host) -> None:
    spec = host.spec("""
kind: inference
engine: custom
command: [sleep, "100"]
gpus: 0
port: 18432
ready: {tcp: true, within: 300ms}
""")
    done = host.mgpu("run", spec)
    assert done.returncode not in (0, 143)
    assert "ready" in done.stderr


@pytest.mark.parametrize(("keys", "code", "word"), [
    ("command: [no-such-program]", 127, "no-such-program"),
    ("command: [./plain-file]", 126, "plain-file"),
    ("command: ['true']\nsecrets: [MISSING_TOKEN]", 1, "MISSING_TOKEN"),
    ("command: ['true']\nworkdir: nowhere", 1, "nowhere"),
    ("command: ['true']\nimage: busybox", 125, "Docker"),
])  # fmt: skip
def test_what_cannot_start_is_told_before_a_gpu_is_taken(host: Host, keys: str, code: int, word: str) -> None:
    (host.folder / "plain-file").write_text("no program\n")
    done = host.mgpu("run", host.spec(f"kind: task\ngpus: 1\n{keys}\n"))
    assert (done.returncode, word in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(host.state.rglob("*.log"))


def test_a_missing_script_is_told_with_its_line(host: Host) -> None:
    done = host.mgpu("run", host.spec("kind: training\nengine: torchrun\nscript: gone.py\ngpus: 1\n"))
    assert done.returncode == 1
    assert ":3:9: " in done.stderr


def test_a_port_in_use_is_told(host: Host) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 18433)):
        spec = host.spec("kind: inference\nengine: custom\ncommand: ['true']\ngpus: 0\nport: 18433\n")
        done = host.mgpu("run", spec)
    assert done.returncode == 75
    assert "18433" in done.stderr


def test_a_state_folder_of_a_newer_version_is_shown_and_left_alone(host: Host) -> None:
    host.mgpu("run", host.task("true"))
    run = next(host.state.rglob("run.json"))
    run.write_text('{"format": 999, "name": "tomorrow"}')
    (run.parent.parent / "junk").mkdir()
    (run.parent.parent / "junk" / "run.json").write_text("{not json")
    listed = host.mgpu("ps", "--all")
    assert listed.returncode == 0
    assert "newer" in listed.stdout
    assert "Traceback" not in listed.stderr
    assert host.mgpu("run", host.task("true")).returncode == 0


def test_a_full_disk_is_told_and_nothing_is_kept(host: Host, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    require("mount", mounted, "a small disk cannot be mounted here")
    try:
        (disk / "fill").write_bytes(b"")
        with open(disk / "fill", "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        done = host.mgpu("run", host.task("true", gpus=1), MGPU_STATE_DIR=str(disk / "state"))
        assert done.returncode == 125, done.stderr
        assert "space" in done.stderr
        assert host.free() == 4
    finally:
        subprocess.run(["umount", disk], check=True)


def test_logs_during_and_after(host: Host) -> None:
    host.mgpu("run", "--detach", host.task("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two"))
    eventually(lambda: host.mgpu("logs", "job").stdout == "one\n", "the first line is there")
    follower = host.start("logs", "-f", "job")
    (host.folder / "go").touch()
    assert follower.communicate(timeout=30)[0] == "one\ntwo\n"
    assert host.mgpu("logs", "job").stdout == "one\ntwo\n"
    wrong = host.mgpu("logs", "jab")
    assert (wrong.returncode, "job" in wrong.stderr) == (2, True)
