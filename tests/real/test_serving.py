"""A real vLLM and a real SGLang, on one GPU and on two: ready, answering, measured, listed, stopped without a rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host, kill
from tests.real.serving import Served, members, parent, spec

PORTS = {("vllm", 1): 18511, ("vllm", 2): 18512, ("sglang", 1): 18521, ("sglang", 2): 18522}
METRIC = {"vllm": "vllm:request_success_total", "sglang": "sglang:num_requests_total"}


@pytest.fixture(scope="module", params=PORTS, ids=lambda case: f"{case[0]}-tp{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[str, int]:
    """An engine, and the number of its GPUs."""
    engine, tensor = request.param
    return engine, tensor


@pytest.fixture(scope="module")
def server(case: tuple[str, int], tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server, ready."""
    engine, tensor = case
    host = Host(tmp_path_factory.mktemp(engine), gpus=4)
    served = Served(host, spec(engine, tiny, PORTS[case], tensor))
    try:
        yield served.ready()
    finally:
        served.end()


def test_it_completes_and_chats(server: Served) -> None:
    status, answer = server.post("/v1/completions", prompt="hello")
    assert (status, answer["usage"]["completion_tokens"]) == (200, 4), answer
    status, answer = server.post("/v1/chat/completions", messages=[{"role": "user", "content": "hello"}])
    assert (status, answer["choices"][0]["message"]["role"]) == (200, "assistant"), answer


def test_it_counts_its_requests(server: Served, case: tuple[str, int]) -> None:
    assert METRIC[case[0]] in server.get("/metrics")


def test_ps_tells_all_of_it(server: Served, case: tuple[str, int]) -> None:
    run = server.run()
    (task,) = run["tasks"]
    assert (task["state"], task["port"], len(task["gpus"])) == ("ready", PORTS[case], case[1])
    assert len(server.ranks()) == case[1]
    assert members(server.host.state) <= set(run["pids"])
    assert server.host.free() == 4 - case[1]


def test_nothing_of_it_stays(server: Served, case: tuple[str, int]) -> None:
    """By `mgpu stop`, by ^C, and after the worst that can happen to a run: its keeper and the server's front killed."""
    host = server.host
    if case == ("vllm", 2):
        front = server.run()["tasks"][0]["pid"]
        kill(parent(front))
        kill(front)
        assert server.over() == 125, server.said()
        assert server.run()["state"] == "unkept"
        assert len(server.ranks()) == 2, "the ranks of a vLLM whose front is killed live on"
        assert host.free() == 2
        assert host.mgpu("stop", server.name).returncode == 0
    elif case == ("sglang", 2):
        assert server.interrupt() == 130, server.said()
    else:
        assert host.mgpu("stop", server.name).returncode == 0
        assert server.over() == 130, server.said()
    assert server.run()["state"] == "stopped"
    assert not server.told("killed"), server.said()
    assert not members(host.state)
    assert host.free() == 4


def test_its_end_is_no_crash(server: Served) -> None:
    """Only its first process is asked to end: SGLang takes the end of a child for a crash."""
    assert "crashed with exit code" not in server.out.read_text()
