"""Real engines that fail as they do for people: told a wrong flag, short of a setting, healthy and yet broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host
from tests.real.serving import OFFLINE, PYTHON, Served, members, spec


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host on which nothing may be left."""
    host = Host(tmp_path)
    yield host
    host.mgpu("stop", "--all", "--now")
    assert host.free() == 4
    assert not members(host.state)


def test_a_wrong_value_is_told_by_mgpu_as_by_vllm_itself(host: Host, tiny: Path) -> None:
    """By mgpu before anything starts; where it does not know the flags, the engine's words and code go through."""
    refused = Served(host, spec("vllm", tiny, 18531, dtype="fp16"), "refused")
    assert refused.failed() == 1, refused.said()
    assert refused.told("'fp16'")
    assert refused.told("float16"), refused.said()
    own = {"engine": "custom", "command": ["vllm", "serve", str(tiny), "--dtype", "fp16"], "python": str(PYTHON)}
    failed = Served(host, json.dumps({"kind": "inference", "port": 18531, "env": OFFLINE, **own}))
    assert failed.failed() == 2, failed.said()
    assert "invalid choice: 'fp16' (choose from 'auto', 'bfloat16', 'float', 'float16', 'float32', 'half')" in (
        failed.out.read_text()
    )
    assert failed.told("server failed with 2")


def test_vllm_that_cannot_share_the_socket_fails_with_its_own_code(host: Host, tiny: Path) -> None:
    failed = Served(host, spec("vllm", tiny, 18532, tensor=2, bind=False))
    assert failed.failed() == 1, failed.said()
    assert "NUMA" in failed.out.read_text()
    assert failed.told("server failed with 1")


def test_sglang_that_kills_itself_is_told_as_killed(host: Host, tiny: Path) -> None:
    failed = Served(host, spec("sglang", tiny, 18533, tensor=2, bind=False))
    assert failed.failed() == 137, failed.said()
    assert failed.told("server failed with 137")


def test_a_server_that_is_healthy_and_broken_is_never_ready(host: Host, broken: Path) -> None:
    failed = Served(host, spec("vllm", broken, 18534))
    assert failed.failed() == 1, failed.said()
    assert failed.told("it ended before it was ready (POST http://127.0.0.1:18534/v1/completions: status 500: ")
    assert failed.told("EngineCore encountered an issue")
