"""The line that is printed and the call that is made ask the engine for the same container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mgpu import Compiled, compile, compile_spec
from mgpu.catalog.machines import shorthand
from mgpu.command.data import command_data
from mgpu.command.docker import create_arguments
from mgpu.command.text import script
from mgpu.machine.file import resolve
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.override import override
from mgpu.values.machine import Machine
from tests.command.recorder import VERSION, Recorder
from tests.require import require

ROOT = Path(__file__).parents[2]
SPECS = sorted(path for folder in ("specs", "examples") for path in ROOT.glob(f"{folder}/**/*.mgpu.yaml"))
LIVE = ROOT / "tests" / "machines" / "8x-h100.yaml"
OWN = {
    ("AttachStdout",), ("AttachStderr",),  # the command stays to listen; mgpu listens by the log
    ("HostConfig", "AutoRemove"),  # --rm: mgpu removes the container itself, once it has its exit status
    ("HostConfig", "NetworkMode"), ("NetworkingConfig",),  # both mean the default network
    ("HostConfig", "RestartPolicy"),  # both mean never
    ("HostConfig", "MemorySwappiness"),  # both mean the host's own
    ("HostConfig", "ConsoleSize"),  # of the terminal that the command was typed in
}  # fmt: skip
"""What `docker run` says of itself, and not of the container."""
SECRETS = ("HF_TOKEN", "VLLM_API_KEY")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    require("docker", shutil.which("docker") is not None, "the docker command is not installed")
    made = Recorder(tmp_path / "docker.sock")
    yield made
    made.close()


def typed(done: Compiled, recorder: Recorder, folder: Path) -> list[dict[str, Any]]:
    """The create requests of the printed text, given to bash and the real docker command."""
    recorder.requests.clear()
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_HOST": recorder.url, "DOCKER_CONFIG": str(folder)}
    env |= dict.fromkeys(SECRETS, "x")
    text = script(done.plan, done.commands).replace(") &\n", ")\n")
    said = subprocess.run(["bash"], input=text, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert len(recorder.requests) == len(done.commands), said.stderr
    return [told(request) for request in recorder.requests]


def called(done: Compiled, recorder: Recorder) -> list[dict[str, Any]]:
    """The create requests of the SDK, for the commands as a run's state holds them."""
    from docker import APIClient

    recorder.requests.clear()
    api = APIClient(base_url=recorder.url, version=VERSION)
    for command in done.commands:
        data = json.loads(json.dumps(command_data(command)))
        secrets = {secret["name"]: "x" for secret in data["secrets"]}
        arguments = create_arguments(data["argv"], {**data["env"], **secrets}, data["container"])
        host = api.create_host_config(**arguments.pop("host_config"))
        api.create_container(**arguments, host_config=host)
    return [told(request) for request in recorder.requests]


def known(machine: Machine, folder: Path) -> Machine:
    """The machine with what a shell there would know of it."""
    here, user = str(folder), f"{os.getuid()}:{os.getgid()}"
    return replace(machine, home=machine.home or here, folder=machine.folder or here, user=machine.user or user)


def told(request: Any, path: tuple[str, ...] = ()) -> Any:
    """What a request says: no empty values, and nothing that clients say of themselves; order only where it counts."""
    if isinstance(request, dict):
        inner = {key: told(value, (*path, key)) for key, value in request.items() if (*path, key) not in OWN}
        return {key: value for key, value in inner.items() if value}
    if path in (("Env",), ("HostConfig", "Binds")):
        return sorted(request)
    return [told(item, path) for item in request] if isinstance(request, list) else request or None


def boxed(path: Path, machine: Machine) -> Compiled:
    """A spec of the catalogue or an example, in containers."""
    document = read(path.name, path.read_text())
    jobs = [f"jobs.{name}." for name in document.data.get("jobs", {})] or [""]
    sets = [f"{job}{key}" for job in jobs for key in ("runtime=docker", "image=an/image:1")]
    return compile_spec(check(override(document, sets)), machine)


@pytest.mark.parametrize("machine", ["8xh100", str(LIVE)], ids=["unknown", "live"])
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_catalogue_and_examples(path: Path, machine: str, recorder: Recorder, tmp_path: Path) -> None:
    given = resolve(machine)
    line = typed(boxed(path, given), recorder, tmp_path)
    assert line == called(boxed(path, known(given, tmp_path)), recorder)


FULL = """
kind: inference
engine: vllm
name: full
model: org/a model
gpus: 3
parallel: {pipeline: 3}
port: 9000
host: "::1"
runtime: docker
secrets: [HF_TOKEN, VLLM_API_KEY]
volumes: ["~/a b:/c:ro", "data:/data", "/srv:/srv"]
workdir: inner
env: {A: "x y", B: "quote ' and \\" and $HOME", EMPTY: ""}
args: {hf-overrides: {rope: {factor: 2}}}
"""


@pytest.mark.parametrize("machine", [shorthand("8xh100"), resolve(str(LIVE))], ids=["device ids", "cdi"])
def test_every_setting_at_once(machine: Machine, recorder: Recorder, tmp_path: Path) -> None:
    (line,) = typed(compile(FULL, machine), recorder, tmp_path)
    (call,) = called(compile(FULL, known(machine, tmp_path)), recorder)
    assert line == call
    assert line["HostConfig"]["DeviceRequests"][0]["DeviceIDs"]
    assert line["HostConfig"]["PortBindings"] == {"9000/tcp": [{"HostIp": "::1", "HostPort": "9000"}]}
    assert line["Labels"]["mgpu.gpus"]
    assert line["WorkingDir"] == "/workspace/inner"


def test_the_limits_of_an_engine(recorder: Recorder, tmp_path: Path) -> None:
    spec = "kind: inference\nname: x\nengine: tensorrt-llm\nmodel: a/b\n"
    (line,) = typed(compile(spec, shorthand("1xh100")), recorder, tmp_path)
    (call,) = called(compile(spec, known(shorthand("1xh100"), tmp_path)), recorder)
    assert line == call
    assert line["HostConfig"]["Ulimits"][0] == {"Name": "memlock", "Hard": -1, "Soft": -1}


POWERS = """
container:
  privileged: true
  cap_add: [SYS_PTRACE, CAP_IPC_LOCK]
  devices: [/dev/fuse, "/dev/infiniband:/dev/infiniband:rw"]
  ulimits: {memlock: -1, nofile: 65536}
"""


@pytest.mark.parametrize("more", ["  shm_size: 1500MB\n", "  ipc: host\n  pid: host\n"])
@pytest.mark.parametrize("machine", [shorthand("8xh100"), resolve(str(LIVE))], ids=["device ids", "cdi"])
def test_powers_and_limits(machine: Machine, more: str, recorder: Recorder, tmp_path: Path) -> None:
    text = FULL + POWERS + more
    (line,) = typed(compile(text, machine), recorder, tmp_path)
    (call,) = called(compile(text, known(machine, tmp_path)), recorder)
    assert line == call
    host = line["HostConfig"]
    assert (host["Privileged"], host["CapAdd"]) == (True, ["CAP_IPC_LOCK", "CAP_SYS_PTRACE"])
    assert [device["PathOnHost"] for device in host["Devices"]] == ["/dev/fuse", "/dev/infiniband"]
    assert (host.get("ShmSize"), host.get("PidMode")) == ((1_500_000_000, None) if "shm" in more else (None, "host"))


def test_the_network_of_the_host(recorder: Recorder, tmp_path: Path) -> None:
    spec = "kind: inference\nname: x\nengine: vllm\nmodel: a/b\ncontainer: {network: host}\n"
    done = compile(spec, known(shorthand("1xh100"), tmp_path))
    recorder.requests.clear()
    (line,) = typed(done, recorder, tmp_path)
    raw = recorder.requests[0]["HostConfig"]["NetworkMode"]
    (call,) = called(done, recorder)
    assert line == call
    assert raw == recorder.requests[0]["HostConfig"]["NetworkMode"] == "host"


def test_a_difference_would_be_seen(recorder: Recorder, tmp_path: Path) -> None:
    done = compile(FULL, known(shorthand("8xh100"), tmp_path))
    changes: list[tuple[str, Any]] = [
        ("shm_size", 1), ("init", False), ("security_opt", []), ("binds", []), ("port_bindings", None),
        ("device_requests", None), ("log_config", {"Type": "json-file", "Config": {}}),
    ]  # fmt: skip
    (line,) = typed(done, recorder, tmp_path)
    for name, value in changes:
        from docker import APIClient

        data = command_data(done.commands[0])
        arguments = create_arguments(data["argv"], data["env"] | dict.fromkeys(SECRETS, "x"), data["container"])
        api = APIClient(base_url=recorder.url, version=VERSION)
        host = api.create_host_config(**{**arguments.pop("host_config"), name: value})
        api.create_container(**arguments, host_config=host)
        assert told(recorder.requests[-1]) != line, name
