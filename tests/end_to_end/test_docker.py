"""Whole runs in containers of a real engine: what they get, that they are seen, logged, stopped, and outlive others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.host import Host, eventually, kill, lives
from tests.fakes.docker import BUSYBOX, VLLM, Engine, lacking
from tests.fakes.nvml import uuid
from tests.require import require
from tests.run.users import ADA, Ground
from tests.run.users import lacking as nobody_else

PAGE = "mkdir -p /tmp/w; echo yes > /tmp/w/index.html; exec httpd -f -p $PORT -h /tmp/w"


@pytest.fixture
def host(tmp_path: Path, engine: Engine) -> Iterator[Host]:
    """A host with Docker; afterwards no container is left."""
    yield Host(tmp_path, engine=engine)
    left = engine.docker("ps", "--all", "--format", "{{.Names}} {{.Status}}").stdout
    engine.clear()
    assert left == "", "a test left containers behind"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Engine]:
    """An engine that the test may treat badly."""
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path, options=["--live-restore"])
    try:
        yield engine.start()
    finally:
        engine.stop()


def boxed(host: Host, script: str, name: str = "job", **keys: object) -> Path:
    """The spec of a task that runs `script` in a container."""
    return host.task(script, name, image=BUSYBOX, **keys)


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    """What the engine says of a container."""
    found = json.loads(engine.docker("inspect", name, check=True).stdout)[0]
    assert isinstance(found, dict)
    return found


def running(engine: Engine, name: str = "mgpu-job") -> dict[str, Any]:
    """The container once it runs."""
    eventually(lambda: engine.docker("inspect", "-f", "{{.State.Running}}", name).stdout == "true\n", f"{name} runs")
    return inspected(engine, name)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("nope-no", 127)])
def test_run_exits_with_the_container_s_own_code(host: Host, script: str, code: int) -> None:
    assert host.mgpu("run", boxed(host, script)).returncode == code


def test_output_goes_through_byte_for_byte(host: Host) -> None:
    assert host.mgpu("run", boxed(host, "printf 'a\\033[1mb\\n\\n  no end'")).stdout == "a\033[1mb\n\n  no end"
    assert host.mgpu("run", boxed(host, "printf 'to stderr' >&2")).stdout == "to stderr"


def test_a_container_gets_exactly_its_gpus_and_is_what_was_rendered(host: Host, engine: Engine) -> None:
    spec = boxed(
        host,
        "nvidia-smi -L; echo $NVIDIA_VISIBLE_DEVICES; env | grep CUDA; echo over; sleep 60",
        gpus={"ids": ["2", "5"]},
    )
    assert host.mgpu("run", "--detach", spec, MASTER_PORT="1").returncode == 0
    box = running(engine)
    (request,) = box["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == [uuid(2), uuid(5)]
    assert box["HostConfig"]["Init"] is True
    assert box["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert box["HostConfig"]["LogConfig"]["Type"] == "local"
    assert box["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    assert box["HostConfig"]["Privileged"] is False
    labels = box["Config"]["Labels"]
    assert labels["mgpu.gpus"] == f"{uuid(2)},{uuid(5)}"
    assert labels["mgpu.run"].startswith("job-")
    assert f"MGPU_RUN={labels['mgpu.run']}" in box["Config"]["Env"]
    said = eventually(lambda: "over" in (log := host.mgpu("logs", "job").stdout) and log.splitlines(), "it has spoken")
    assert [line.split("UUID: ")[1].rstrip(")") for line in said[:2]] == [uuid(2), uuid(5)]
    assert said[2:] == [f"{uuid(2)},{uuid(5)}", "over"], (
        "the toolkit was asked for just these, and no host number came in"
    )
    assert host.mgpu("stop", "--now", "job").returncode == 0


def test_it_is_seen_logged_and_stopped_by_others(host: Host, engine: Engine) -> None:
    spec = boxed(host, "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done", gpus=2)
    assert host.mgpu("run", "--detach", spec).returncode == 0
    eventually(lambda: host.mgpu("logs", "job").stdout == "up\n", "its log is there")
    listed = host.mgpu("ps").stdout.splitlines()[1].split()
    assert listed[:3] == ["job", "ready", "0,1"]
    assert host.free() == 6
    follower = host.start("logs", "-f", "job")
    assert host.mgpu("stop", "job").returncode == 0
    assert follower.communicate(timeout=30)[0] == "up\nbye\n"
    assert host.free() == 8
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    assert [(run["state"], task["state"]) for run in host.runs() for task in run["tasks"]] == [("stopped", "ended")]


def test_a_container_that_is_deaf_is_killed_after_its_grace(host: Host, engine: Engine) -> None:
    host.mgpu(
        "run", "--detach", boxed(host, "trap '' TERM; echo up; while true; do sleep 0.1; done", stop_grace="300ms")
    )
    running(engine)
    assert host.mgpu("stop", "job").returncode == 0
    assert engine.docker("ps", "--all", "--quiet").stdout == ""


def test_interrupt_and_timeout(host: Host, engine: Engine) -> None:
    runner = host.start("run", boxed(host, "trap 'exit 0' TERM; while true; do sleep 0.1; done"))
    running(engine)
    runner.send_signal(signal.SIGINT)
    runner.communicate(timeout=30)
    assert runner.returncode == 130
    assert host.mgpu("run", boxed(host, "sleep 60", timeout="1s", stop_grace="100ms")).returncode == 124


@pytest.mark.parametrize("_", range(4))
def test_a_stop_right_after_the_start_is_heard(host: Host, _: int) -> None:
    """Before its container is made, while it starts, or just after: in the end there is none."""
    assert host.mgpu("run", "--detach", boxed(host, "sleep 60", stop_grace="100ms", gpus=1)).returncode == 0
    assert host.mgpu("stop", "job").returncode == 0
    assert host.free() == 8


def test_a_server_is_ready_when_the_right_model_answers(host: Host, engine: Engine) -> None:
    engine.tag("vllm/vllm-openai:v0.32.0")
    spec = host.spec("""
kind: pipeline
jobs:
  llm: {kind: inference, engine: vllm, model: org/model, gpus: 2, port: 18500, runtime: docker, env: {FAKE_LOAD: "0.6"}}
  ask:
    kind: task
    command: [python3, -c, "import os, urllib.request as u; print(u.urlopen(os.environ['URL']).read().decode())"]
    env: {URL: "${jobs.llm.url}/v1/models"}
    needs: {llm: ready}
""")
    done = host.mgpu("run", spec)
    assert done.returncode == 0, done.stderr
    assert '"id":"org/model"' in done.stdout.replace(" ", "").replace("\n", "")
    assert "llm is ready at http://127.0.0.1:18500 after" in done.stderr
    assert engine.docker("ps", "--all", "--quiet").stdout == ""


def test_replicas_have_their_own_gpus_and_the_next_ports(host: Host, engine: Engine) -> None:
    spec = host.spec(f"""
kind: inference
engine: vllm
name: twins
model: org/model
image: {VLLM}
gpus: 2
replicas: 3
port: 18510
""")
    assert host.mgpu("run", "--detach", spec).returncode == 0

    def rows() -> list[list[str]]:
        return [line.split() for line in host.mgpu("ps").stdout.splitlines()[1:]]

    eventually(
        lambda: [row[-6] if len(row) > 8 else row[1] for row in rows()] and all("ready" in row for row in rows()),
        "all are ready",
    )
    assert [(row["name"], len(row["gpus"]), row["port"]) for row in host.runs()[0]["tasks"]] == [
        ("twins.0", 2, 18510),
        ("twins.1", 2, 18511),
        ("twins.2", 2, 18512),
    ]
    gpus = [gpu for row in host.runs()[0]["tasks"] for gpu in row["gpus"]]
    assert len(set(gpus)) == 6
    assert host.mgpu("stop", "twins").returncode == 0
    assert host.free() == 8


def test_what_a_script_writes_is_the_user_s(engine: Engine) -> None:
    """torchrun's container runs as whoever runs mgpu: nothing in the spec's folder or the cache becomes root's."""
    require("users", not nobody_else(), nobody_else())
    script = '#!/bin/sh\nid -u; echo "$HOME" "$HF_HOME"; touch made "$HF_HOME/cached" /tmp/own\n'
    engine.image("trainer:1", files={"/usr/bin/torchrun": script})
    ground = Ground()
    before = engine.socket.stat().st_mode
    try:
        engine.socket.chmod(0o666)
        for folder in (engine.folder, *engine.folder.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o011)
        home = ground.ada.folder
        spec = ground.ada.spec("kind: training\nengine: torchrun\nscript: train.py\nimage: trainer:1\ngpus: 1\n")
        (home / "train.py").touch()
        place = {"DOCKER_HOST": f"unix://{engine.socket}", "PATH": engine.env["PATH"]}
        done = ground.ada.mgpu("run", spec, **place)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{ADA}\n/tmp /cache/huggingface\n"
        assert {(home / path).stat().st_uid for path in ("made", ".cache/huggingface/cached")} == {ADA}
        assert (home / ".cache/huggingface").stat().st_uid == ADA
    finally:
        engine.socket.chmod(before)
        ground.close()


def test_the_runner_killed_changes_nothing(host: Host, engine: Engine) -> None:
    runner = host.start("run", boxed(host, "while true; do echo tick; sleep 0.05; done", gpus=2, stop_grace="100ms"))
    running(engine)
    kill(runner.pid)
    runner.communicate()
    size = len(host.mgpu("logs", "job").stdout)
    eventually(lambda: len(host.mgpu("logs", "job").stdout) > size, "the log grows")
    assert [run["state"] for run in host.runs()] == ["running"]
    assert host.free() == 6
    assert host.mgpu("stop", "job").returncode == 0
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    assert host.free() == 8


def standins(host: Host) -> list[int]:
    """The processes that stand for this host's containers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"mgpu.run.container" in words and any(word.startswith(os.fsencode(host.state)) for word in words):
                found.append(int(entry.name))
    return found


def test_what_stands_for_a_container_is_started_anew_and_loses_no_line(host: Host, engine: Engine) -> None:
    """Killed three times while its container counts, the log has every number once, and the exit code is right."""
    script = "i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 5"
    runner = host.start("run", boxed(host, script, gpus=1))
    running(engine)
    for _ in range(3):
        (pid,) = eventually(lambda: standins(host), "somebody stands for the container")
        kill(pid)
        eventually(lambda pid=pid: not lives(pid), "it is dead")
    out, _ = runner.communicate(timeout=60)
    assert (out.split(), runner.returncode) == ([str(number) for number in range(40)], 5)
    assert host.free() == 8


def test_keeper_and_standin_killed_leave_the_container_its_gpus(host: Host, engine: Engine) -> None:
    host.mgpu("run", "--detach", boxed(host, "echo up; sleep 60", gpus=3, stop_grace="100ms"))
    running(engine)
    (keeper,) = [event["pid"] for event in events(host) if event["what"] == "kept"]
    pids = [keeper, *standins(host)]
    for pid in pids:
        kill(pid)
    eventually(lambda: not any(map(lives, pids)), "both are dead")
    assert host.free() == 5
    refused = host.mgpu("run", host.task("true", "other", gpus=6))
    assert refused.returncode == 75
    assert "job" in refused.stderr
    (run,) = host.runs()
    assert run["state"] == "unkept"
    assert host.mgpu("stop", "job").returncode == 0
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    assert host.free() == 8


def events(host: Host) -> list[dict[str, Any]]:
    """What has happened in the one run there is."""
    return [json.loads(line) for line in next(host.state.rglob("events.jsonl")).read_text().splitlines()]


def test_a_run_whose_state_is_gone_is_still_seen_by_its_container(host: Host, engine: Engine) -> None:
    host.mgpu("run", "--detach", boxed(host, "sleep 60", gpus=1, stop_grace="100ms"))
    running(engine)
    (keeper,) = [event["pid"] for event in events(host) if event["what"] == "kept"]
    for pid in [keeper, *standins(host)]:
        kill(pid)
    os.rename(host.state, host.folder / "elsewhere")
    assert [run["name"] for run in host.runs()] == ["job"]
    assert host.mgpu("stop", "job").returncode == 0
    assert host.free() == 8


def test_a_gpu_that_the_container_did_not_get_is_told(host: Host, engine: Engine) -> None:
    with engine.lying():
        done = host.mgpu("run", boxed(host, "sleep 60", gpus=2))
    assert done.returncode == 125
    assert f"its container sees 1 GPUs ({uuid(0)}) and was to have {uuid(1)}" in done.stderr
    assert host.free() == 8


def test_the_engine_restarted_under_a_container_is_survived(tmp_path: Path, own: Engine) -> None:
    """With live-restore the container goes on, and so does its run: its log, its lease, its exit code."""
    host = Host(tmp_path, engine=own)
    script = "i=0; while [ ! -e go ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 7"
    runner = host.start("run", boxed(host, script, gpus=2))
    running(own)
    for end in (own.restart, own.kill):
        end()
        assert host.free() == 6
        own.start() if end == own.kill else None
        size = len(host.mgpu("logs", "job").stdout)
        eventually(lambda size=size: len(host.mgpu("logs", "job").stdout) > size, "the log grows again")
        assert [run["state"] for run in host.runs()] == ["running"]
    (tmp_path / "go").touch()
    out, _ = runner.communicate(timeout=60)
    numbers = [int(word) for word in out.split()]
    assert (numbers, runner.returncode) == (list(range(len(numbers))), 7)
    assert host.free() == 8


def test_an_engine_that_stops_its_containers_ends_the_run_and_frees_its_gpus(tmp_path: Path) -> None:
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path)
    try:
        host = Host(tmp_path, engine=engine.start())
        runner = host.start("run", boxed(host, "trap 'exit 9' TERM; while true; do sleep 0.1; done", gpus=2))
        running(engine)
        engine.restart()
        _, said = runner.communicate(timeout=90)
        assert runner.returncode == 9, said
        assert host.free() == 8
        assert engine.docker("ps", "--all", "--quiet").stdout == ""
    finally:
        engine.stop()


def test_what_was_made_and_never_started_goes_with_its_own_gpu_s_lease(host: Host, engine: Engine) -> None:
    """Its start may be under way in the engine: whoever gets the lease makes sure that it comes to nothing."""
    marks = ["--label", "mgpu.run=dead-1", "--label", f"mgpu.gpus={uuid(7)}"]
    engine.docker("create", "--name", "halfway", *marks, BUSYBOX, "sleep", "60", check=True)
    assert host.mgpu("run", host.task("true", gpus={"ids": ["0"]})).returncode == 0
    assert "halfway" in engine.docker("ps", "--all", "--format", "{{.Names}}").stdout
    assert host.mgpu("run", host.task("true", gpus={"ids": ["7"]})).returncode == 0
    assert "halfway" not in engine.docker("ps", "--all", "--format", "{{.Names}}").stdout


def test_a_pasted_line_claims_its_gpus(host: Host, engine: Engine) -> None:
    """What `render` prints bears the label, so a container that a person started holds its GPUs like any other."""
    printed = host.mgpu("render", boxed(host, "sleep 60", gpus=3)).stdout
    docker = [line for line in printed.splitlines() if not line.startswith("#")]
    script = host.folder / "pasted.sh"
    script.write_text("\n".join(docker).replace("docker run", "docker run --detach", 1))
    subprocess.run([*engine.inside, "bash", script], env=host.env, check=True, capture_output=True)
    assert host.free() == 5
    refused = host.mgpu("run", host.task("true", "other", gpus=6))
    assert (refused.returncode, "the container mgpu-job" in refused.stderr) == (75, True), refused.stderr
    engine.docker("rm", "--force", "mgpu-job", check=True)
    assert host.free() == 8


def test_containers_of_one_spec_reach_each_other_by_their_names(host: Host, engine: Engine) -> None:
    spec = host.spec(f"""
kind: pipeline
name: pair
jobs:
  llm: {{kind: inference, engine: vllm, model: org/model, image: {VLLM}, gpus: 1, port: 18530}}
  ask:
    kind: task
    image: {BUSYBOX}
    command: [wget, -qO-, "${{jobs.llm.url}}/v1/models"]
    needs: {{llm: ready}}
""")
    done = host.mgpu("run", spec)
    assert (done.returncode, "org/model" in done.stdout) == (0, True), done.stdout + done.stderr
    assert "mgpu-" not in engine.docker("network", "ls", "--format", "{{.Name}}").stdout, (
        "the network goes with the run"
    )


def test_a_container_does_not_reach_a_process_of_the_host_and_is_told_so(host: Host) -> None:
    spec = host.spec(f"""
kind: pipeline
name: split
jobs:
  llm: {{kind: inference, engine: custom, command: [sleep, "9"], gpus: 0, port: 18531}}
  ask: {{kind: task, image: {BUSYBOX}, command: [wget, "${{jobs.llm.url}}"]}}
""")
    done = host.mgpu("run", spec)
    assert done.returncode == 1
    assert ":6:58: ask runs in a container, and llm as a process of the host, which it does not reach" in done.stderr


def test_a_container_has_the_power_that_is_allowed_and_bears_what_it_came_from(host: Host, engine: Engine) -> None:
    given = {"cap_add": ["SYS_PTRACE"], "devices": ["/dev/null:/dev/mine"], "network": "host", "pid": "host"}
    spec = boxed(
        host, "test -c /dev/mine && echo got it; sleep 60", container={**given, "shm_size": "96MiB"}, stop_grace="1s"
    )
    refused = host.mgpu("run", spec)
    assert (refused.returncode, refused.stderr.endswith("--allow cap_add,devices,network,pid\n")) == (1, True)
    assert host.mgpu("run", "--detach", spec, "--allow", "cap_add,devices,network,pid").returncode == 0
    found = running(engine)
    eventually(lambda: host.mgpu("logs", "job").stdout == "got it\n", "the container has its device")
    settings = found["HostConfig"]
    assert (settings["NetworkMode"], settings["PidMode"], settings["ShmSize"]) == ("host", "host", 96 * 2**20)
    assert (settings["CapAdd"], settings["Privileged"]) == (["CAP_SYS_PTRACE"], False)
    assert "no-new-privileges" in settings["SecurityOpt"]
    labels = found["Config"]["Labels"]
    assert {"mgpu.run", "mgpu.spec-hash", "mgpu.version", "mgpu.gpus"} <= labels.keys()
    assert len(labels["mgpu.spec-hash"]) == 16
    assert host.mgpu("stop", "job").returncode == 0
