"""Nine questions to the Docker engine, five ways for an answer to go wrong: each with its outcome, none a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host, eventually
from tests.fakes.docker import BUSYBOX, Engine
from tests.fakes.docker.faulty import KINDS, Fault, faulty
from tests.run.scene import SOAK

QUESTIONS = {
    "info": r"GET /(version|info)",
    "list": r"GET /containers/json",
    "image": r"GET /images/",
    "create": r"POST /containers/create",
    "start": r"POST /containers/\w+/start",
    "inspect": r"GET /containers/\w+/json",
    "logs": r"GET /containers/\w+/logs",
    "kill": r"POST /containers/\w+/(kill|unpause)",
    "remove": r"DELETE /containers/",
}
CELLS = [(question, kind) for question in QUESTIONS for kind in KINDS]
CHEAP = [
    ("info", "drop"), ("list", "garbage"), ("image", "garbage"), ("create", "drop"), ("start", "garbage"),
    ("inspect", "error"), ("logs", "drop"), ("kill", "slow"), ("remove", "error"),
]  # fmt: skip
"""What every test run looks at: each question, and each way that takes no time."""
REFUSED, OWN, ASKED = 125, 7, 130
"""mgpu or Docker could not do it; the job's own status, as if nothing had been; it was stopped as it was asked to."""


def outcome(question: str, kind: str) -> int:
    """What the run ends with. Before there is a container an answer that makes no sense ends it, with words; so does a
    plain refusal of what its start needs. All else is asked again, and what came of it is looked at."""
    if kind != "slow" and question in ("info", "image"):
        return REFUSED
    if kind == "error" and question in ("create", "start", "inspect"):
        return REFUSED
    return ASKED if question == "kill" else OWN


@pytest.fixture
def host(tmp_path: Path, engine: Engine) -> Iterator[Host]:
    yield Host(tmp_path, engine=engine)
    engine.clear()


@pytest.mark.parametrize(("question", "kind"), CELLS if SOAK else CHEAP)
def test_an_answer_goes_wrong(host: Host, engine: Engine, question: str, kind: str) -> None:
    script = "echo working; exec sleep 100" if question == "kill" else "echo working; exit 7"
    spec = host.task(script, image=BUSYBOX, gpus=8, stop_grace="2s")
    with faulty(host.folder, engine.socket, Fault(QUESTIONS[question], kind, 2)) as between:
        host.env["DOCKER_HOST"] = f"unix://{between.path}"
        runner = host.start("run", spec)
        if question == "kill":
            eventually(lambda: "working" in host.mgpu("logs", "job").stdout, "it works")
            assert host.mgpu("stop", "job").returncode == 0
        out, said = runner.communicate(timeout=90)
    assert between.hits, "the fault was never met"
    assert runner.returncode == outcome(question, kind), said
    assert out == ("" if runner.returncode == REFUSED else "working\n")
    assert not [word for word in ("Traceback", "index", "line 1", "NoneType") if word in said], said
    host.env["DOCKER_HOST"] = f"unix://{engine.socket}"
    after = host.mgpu("run", host.task("echo after", "after", image=BUSYBOX, gpus=8))
    assert (after.returncode, after.stdout) == (0, "after\n"), after.stderr
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
