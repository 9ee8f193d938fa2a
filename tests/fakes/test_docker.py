"""That the fake engine is what it claims to be: a real Docker with GPUs that a container sees only where asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import eventually, lives
from tests.fakes.docker import BUSYBOX, VLLM, Engine, lacking
from tests.fakes.docker.podman import Podman
from tests.fakes.docker.registry import Registry
from tests.fakes.nvml import uuid
from tests.require import require

RUN = ["run", "--rm"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Engine]:
    """An engine that the test may treat badly."""
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path)
    try:
        yield engine.start()
    finally:
        engine.stop()


@pytest.fixture(autouse=True)
def no_containers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"engine", "engine28"}.intersection(request.fixturenames):
        request.getfixturevalue(name).clear()


def gpus(*names: object) -> list[str]:
    """The words of `docker run` that ask for these."""
    return ["--gpus", f'"device={",".join(map(str, names))}"']


def http_get(engine: Engine, url: str) -> str:
    """The body; nothing while nobody answers."""
    return subprocess.run(
        [*engine.inside, "busybox", "wget", "-qO-", url], capture_output=True, text=True, check=False
    ).stdout


def serve(engine: Engine, *words: str, name: str = "model") -> None:
    """A fake vLLM on port 8000 of the engine's namespace, with two GPUs; it answers."""
    published = ["run", "--detach", "--name", name, "--publish", "127.0.0.1:8000:8000"]
    engine.docker(*published, *gpus(2, 5), VLLM, "org/model", "--tensor-parallel-size", "2", *words, check=True)
    eventually(lambda: "org/model" in http_get(engine, "http://127.0.0.1:8000/v1/models"), "the model answers")


def test_a_container_sees_just_the_gpus_it_asked_for(engine: Engine) -> None:
    listed = engine.docker(*RUN, *gpus(uuid(5), uuid(2)), BUSYBOX, "nvidia-smi", "-L").stdout
    assert listed.splitlines() == [
        f"GPU 0: NVIDIA H100 80GB HBM3 (UUID: {uuid(2)})",
        f"GPU 1: NVIDIA H100 80GB HBM3 (UUID: {uuid(5)})",
    ]
    asked = engine.docker(*RUN, *gpus(0), BUSYBOX, "nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
    assert asked.stdout.split() == [uuid(0)]
    everything = engine.docker(*RUN, "--gpus", "all", BUSYBOX, "nvidia-smi", "-L")
    assert len(everything.stdout.splitlines()) == 8
    assert [call["asked"] for call in engine.hook_calls()[-3:]] == [f"{uuid(5)},{uuid(2)}", "0", "all"]


def test_a_container_that_asked_for_none_has_none(engine: Engine) -> None:
    assert engine.docker(*RUN, BUSYBOX, "nvidia-smi", "-L").returncode == 127


def test_an_unknown_gpu_is_refused(engine: Engine) -> None:
    done = engine.docker(*RUN, *gpus(9), BUSYBOX, "true")
    assert done.returncode == 125
    assert "nvidia-container-cli: device error: 9: unknown device" in done.stderr


def test_a_lying_hook_gives_fewer(engine: Engine) -> None:
    with engine.lying():
        assert len(engine.docker(*RUN, *gpus(2, 5), BUSYBOX, "nvidia-smi", "-L").stdout.splitlines()) == 1
        refused = engine.docker(*RUN, *gpus(2, 5), VLLM, "org/model", "--tensor-parallel-size=2")
    assert refused.returncode == 1
    assert "cannot be larger than the number of available GPUs (1)" in refused.stderr
    assert len(engine.docker(*RUN, *gpus(2, 5), BUSYBOX, "nvidia-smi", "-L").stdout.splitlines()) == 2


def test_published_ports_answer_inside(engine: Engine) -> None:
    serve(engine)
    models = json.loads(http_get(engine, "http://127.0.0.1:8000/v1/models"))
    assert [model["id"] for model in models["data"]] == ["org/model"]
    assert "Application startup complete" in engine.docker("logs", "model").stdout
    engine.docker("stop", "model", check=True)
    assert engine.docker("inspect", "--format", "{{.State.ExitCode}}", "model").stdout.strip() == "0"


def test_images_of_a_test(engine: Engine) -> None:
    name = engine.image(
        "own:1",
        entrypoint=["sh", "-c", "/opt/hello; exit 3"],
        env={"WHO": "you"},
        files={"/opt/hello": "#!/bin/sh\necho $WHO"},
    )
    done = engine.docker(*RUN, name)
    assert (done.returncode, done.stdout) == (3, "you\n")
    engine.tag("vllm/vllm-openai:v0.32.0")
    assert engine.docker("image", "inspect", "vllm/vllm-openai:v0.32.0").returncode == 0


def test_the_toolkit_is_found_where_it_is_installed(engine: Engine, tmp_path: Path) -> None:
    found = shutil.which("nvidia-container-runtime-hook", path=engine.env["PATH"])
    assert found
    assert found.startswith(str(engine.folder))
    bare = Engine(tmp_path, toolkit=False)
    assert str(tmp_path) not in (shutil.which("nvidia-container-runtime-hook", path=bare.env["PATH"]) or "")
    try:
        refused = bare.start().docker(*RUN, *gpus(0), BUSYBOX, "true")
    finally:
        bare.stop()
    assert refused.returncode == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in refused.stderr


def test_an_image_is_pulled(engine: Engine) -> None:
    registry = Registry(engine).start()
    name = registry.push("org/big:1")
    try:
        pulled = engine.docker("pull", name)
        assert pulled.returncode == 0
        assert pulled.stdout.count("Pull complete") == 4
        assert engine.docker(*RUN, name, "ls", "/data").stdout.split() == ["0", "1", "2", "3"]
        assert "manifest unknown" in engine.docker("pull", f"{registry.address}/org/none:1").stderr
    finally:
        registry.stop()
    assert "connection refused" in engine.docker("pull", name).stderr


def test_a_pull_without_a_login_is_refused(engine: Engine) -> None:
    registry = Registry(engine, 5001, login=True).start()
    try:
        name = registry.push("org/secret:1", size=2**20, layers=1)
        refused = engine.docker("pull", name)
        assert refused.returncode == 1
        assert "no basic auth credentials" in refused.stderr
        assert engine.docker("pull", name, env=registry.logged_in).returncode == 0
    finally:
        registry.stop()


def test_cdi_gives_gpus_by_index_and_by_uuid(engine28: Engine) -> None:
    devices = {device["ID"] for device in engine28.ask("/info")["DiscoveredDevices"]}
    indices = {f"nvidia.com/gpu={index}" for index in range(8)}
    assert devices == indices | {f"nvidia.com/gpu={uuid(index)}" for index in range(8)} | {"nvidia.com/gpu=all"}
    words = ["--device", "nvidia.com/gpu=1", "--device", f"nvidia.com/gpu={uuid(4)}"]
    listed = engine28.docker(*RUN, *words, BUSYBOX, "nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
    assert listed.stdout.split() == [uuid(1), uuid(4)], listed.stderr
    unknown = engine28.docker(*RUN, "--device", "nvidia.com/gpu=9", BUSYBOX, "true")
    assert "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9" in unknown.stderr


def test_the_hook_serves_a_newer_engine_too(engine28: Engine) -> None:
    assert engine28.docker(*RUN, *gpus(3), BUSYBOX, "nvidia-smi", "-L").stdout.count(uuid(3)) == 1
    serve(engine28)


def test_podman_says_who_it_is(tmp_path: Path) -> None:
    require("podman", not lacking() and shutil.which("podman") is not None, "podman cannot run here")
    podman = Podman(tmp_path)
    try:
        version = podman.start().ask("/version")
    finally:
        podman.stop()
    assert version["Components"][0]["Name"] == "Podman Engine"
    assert left(tmp_path) == []


def test_restart_stops_containers_and_keeps_them(own: Engine) -> None:
    serve(own)
    own.restart()
    assert own.docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "model").stdout == "exited 0\n"


def test_containers_survive_a_crash_until_the_next_start(own: Engine) -> None:
    serve(own)
    pid = int(own.docker("inspect", "--format", "{{.State.Pid}}", "model").stdout)
    own.kill()
    assert lives(pid)
    assert own.docker("ps").returncode == 1
    own.start()
    assert not lives(pid)
    assert own.docker("inspect", "--format", "{{.State.Status}}", "model").stdout == "exited\n"


def test_nothing_is_left(tmp_path: Path) -> None:
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path).start()
    serve(engine)
    engine.docker("run", "--detach", "--restart", "always", BUSYBOX, "sleep", "1000", check=True)
    engine.stop()
    assert left(tmp_path) == []


def test_nothing_is_left_by_a_test_that_was_killed(tmp_path: Path) -> None:
    require("docker", not lacking(), lacking())
    code = f"""
from pathlib import Path
from tests.fakes.docker import BUSYBOX, Engine
engine = Engine(Path({str(tmp_path)!r})).start()
engine.docker("run", "--detach", BUSYBOX, "sleep", "1000", check=True)
print("up", flush=True)
engine.docker("run", BUSYBOX, "sleep", "1000")
"""
    root = Path(__file__).parents[2]
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    assert killed.stdout.readline() == "up\n"
    assert left(tmp_path)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    eventually(lambda: not left(tmp_path), "the engine's processes and mounts are gone")


def left(folder: Path) -> list[str]:
    """The processes and mounts of this machine that have to do with the folder."""
    commands = {path.parent.name: read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    processes = [f"{pid}: {command}" for pid, command in commands.items() if str(folder) in command]
    return processes + [line for line in read(Path("/proc/mounts")).splitlines() if str(folder) in line]


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
