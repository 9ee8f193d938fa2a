"""mgpu lock asks a real registry and a stand-in of the hub, and run, render and pull take just what it found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host
from tests.fakes.docker import Engine
from tests.fakes.docker.registry import Registry
from tests.fakes.hub import Hub, Repository

NAME = "org/model"
VLLM = f"kind: inference\nname: x\nengine: vllm\nmodel: {NAME}\nruntime: process\n"
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.repositories[NAME] = Repository({"config.json": b"{}", "model.safetensors": b"1" * 100})
        yield hub


@pytest.fixture
def host(tmp_path: Path, hub: Hub) -> Host:
    host = Host(tmp_path, gpus=1)
    for name in [name for name in host.env if name.startswith(("HF_", "HUGGING"))]:
        del host.env[name]
    host.env |= {"HF_ENDPOINT": hub.url}
    return host


def rendered(host: Host, spec: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return host.mgpu("render", spec, "--locked", "--machine", "1xh100", *words)


def test_a_model_is_locked_by_its_commit_and_taken_by_that(host: Host, hub: Hub) -> None:
    spec = host.spec(VLLM)
    commit = hub.repositories[NAME].commit
    assert rendered(host, spec).returncode == 1, "there is no lock yet"
    done = host.mgpu("lock", spec)
    lock = spec.with_name("job.mgpu.lock")
    assert (done.returncode, done.stdout) == (0, f"{lock}: written\n"), done.stderr
    assert lock.read_text().splitlines()[1:] == [
        "version: 1", "jobs:", "  job:", "    engine: vllm", '    version: "0.32.0"', f"    model: {NAME}",
        f'    commit: "{commit}"' if commit[0].isdigit() else f"    commit: {commit}",
    ]  # fmt: skip
    assert f"--revision {commit}" in rendered(host, spec).stdout
    pulled = host.mgpu("pull", spec, "--locked", "--json")
    assert json.loads(pulled.stdout)["items"][0]["commit"] == commit, pulled.stderr
    assert any(f"/revision/{commit}" in asked for asked in hub.asked)
    assert host.mgpu("lock", "--check", spec).stdout == f"{lock}: as it was\n"


def test_what_the_hub_has_since_changes_the_lock_and_not_the_run(host: Host, hub: Hub) -> None:
    spec = host.spec(VLLM)
    host.mgpu("lock", spec)
    before, old = rendered(host, spec).stdout, hub.repositories[NAME].commit
    hub.repositories[NAME] = Repository({"config.json": b"{}", "model.safetensors": b"2" * 100})
    done = host.mgpu("lock", "--check", spec)
    assert (done.returncode, f"-    commit: {old}" in done.stdout.replace('"', "")) == (1, True), done.stdout
    assert rendered(host, spec).stdout == before


def test_a_spec_that_changed_since_is_refused_with_the_key(host: Host) -> None:
    spec = host.spec(VLLM)
    host.mgpu("lock", spec)
    done = host.mgpu("run", spec, "--locked", "--set", "model=org/other")
    assert (done.returncode, ":4:8: model is 'org/other', and 'org/model' is locked" in done.stderr) == (1, True)


def test_what_cannot_be_locked_is_told(host: Host, hub: Hub) -> None:
    (host.folder / "models").mkdir()
    (host.folder / "models" / "mine").mkdir()
    told = host.mgpu("lock", host.spec(VLLM.replace(NAME, "models/mine")))
    assert (told.returncode, "models/mine is a folder of this host: it is not pinned" in told.stderr) == (0, True)
    assert rendered(host, host.folder / "job.mgpu.yaml").returncode == 0
    llama = host.spec(VLLM.replace("vllm", "llamacpp"), "llama")
    told = host.mgpu("lock", llama)
    assert (told.returncode, f"llamacpp has no flag for a commit: {NAME} is not pinned" in told.stderr) == (0, True)
    assert rendered(host, llama).returncode == 0
    hub.status = 503
    told = host.mgpu("lock", llama, host.spec(VLLM))
    assert (told.returncode, "the hub answers with status 503" in told.stderr) == (125, True)
    away = host.mgpu("lock", host.spec(VLLM), HF_ENDPOINT="http://127.0.0.1:1")
    assert (away.returncode, "the hub is not reached" in away.stderr) == (125, True), away.stderr
    image = VLLM.replace("runtime: process", "image: 127.0.0.1:1/a/b:1")
    away = host.mgpu("lock", host.spec(image, "boxed"), DOCKER_HOST=NOWHERE)
    assert (away.returncode, "the registry 127.0.0.1:1 is not reached" in away.stderr) == (125, True), away.stderr
    assert "Traceback" not in away.stderr


@pytest.mark.parametrize("release", ["engine", "engine28"])
def test_an_image_is_locked_by_its_digest_and_run_by_that(
    release: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(release)
    registry = Registry(engine).start()
    try:
        host = Host(tmp_path, gpus=1, engine=engine)
        image = registry.push(f"org/locked-{os.urandom(4).hex()}:1", 4096, 1)
        spec = host.task("echo hello", image=image)
        done = host.mgpu("lock", spec)
        lock = spec.with_name("job.mgpu.lock")
        assert done.returncode == 0, done.stderr
        digest = lock.read_text().partition("digest: ")[2].strip().strip('"')
        assert digest.startswith("sha256:")
        assert f"    {image}@{digest} \\\n" in rendered(host, spec).stdout
        direct = host.mgpu("lock", "--check", spec, DOCKER_HOST=NOWHERE)
        assert direct.returncode == 0, f"asked of the registry itself: {direct.stdout + direct.stderr}"
        ran = host.mgpu("run", spec, "--locked")
        assert (ran.returncode, ran.stdout) == (0, "hello\n"), ran.stderr
        again = host.mgpu("run", spec, "--locked")
        assert (again.returncode, "pull" in again.stderr) == (0, False), again.stderr
        gone = image.rpartition(":")[0] + ":2"
        unknown = host.mgpu("lock", host.task("true", "other", image=gone))
        assert (unknown.returncode, gone in unknown.stderr) == (125, True), unknown.stderr
    finally:
        registry.stop()
        engine.clear()
