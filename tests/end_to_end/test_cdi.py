"""An engine that lists its GPUs as CDI devices: a container gets its own by name, as in the line that is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host
from tests.fakes.docker import BUSYBOX, Engine
from tests.fakes.nvml import uuid


@pytest.fixture
def host(tmp_path: Path, engine28: Engine) -> Iterator[Host]:
    yield Host(tmp_path, engine=engine28)
    assert engine28.docker("ps", "--all", "--quiet").stdout == ""


def test_what_docker_lists_is_seen(host: Host) -> None:
    docker = json.loads(host.mgpu("machine", "--json").stdout)["docker"]
    assert docker["gpus"] is True
    assert {uuid(0), uuid(7), "0", "7"} <= set(docker["cdi"])
    assert "all" not in docker["cdi"]


def test_a_container_gets_its_gpus_by_cdi(host: Host) -> None:
    spec = host.task("env | grep FAKE_CDI", image=BUSYBOX, gpus={"ids": ["1", "6"]})
    printed = host.mgpu("render", spec).stdout
    assert f"--device nvidia.com/gpu={uuid(1)}" in printed
    assert "--gpus" not in printed
    done = host.mgpu("run", spec)
    assert done.returncode == 0, done.stderr
    assert sorted(line.split("=")[1] for line in done.stdout.splitlines()) == [uuid(1), uuid(6)]


def test_inference_runs_in_a_container_where_one_can_have_gpus(host: Host, engine28: Engine) -> None:
    engine28.tag("vllm/vllm-openai:v0.32.0")
    spec = host.spec("kind: inference\nengine: vllm\nmodel: org/model\ngpus: 1\nport: 18620\n", "llm")
    assert host.mgpu("run", "--detach", spec).returncode == 0
    assert engine28.docker("ps", "--format", "{{.Names}}").stdout in ("", "mgpu-llm\n")
    assert host.mgpu("stop", "llm").returncode == 0
