"""A host for killing on: what lives there of mgpu's, what is held, and the judgement once the killing is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mgpu.machine import daemon, leases, locks, processes
from mgpu.run import runs, state
from tests.end_to_end.host import Host, eventually, kill
from tests.fakes.docker import BUSYBOX, Engine
from tests.fakes.nvml import uuid

SOAK = "MGPU_SOAK" in os.environ
ARMS = Path(__file__).with_name("arms")
AGENT = """
import os, pathlib, subprocess, sys
work = "import time; time.sleep(1000)"
workers = [subprocess.Popen([sys.executable, "-c", work], start_new_session=True) for _ in range(2)]
pathlib.Path("agent.new").write_text(" ".join(str(pid) for pid in [os.getpid(), *(w.pid for w in workers)]))
os.rename("agent.new", "agent")
with open("ran", "a") as ran:
    print(file=ran)
for worker in workers:
    worker.wait()
"""
"""Like torchrun: an agent whose workers have sessions of their own, and none of its descriptors."""
JOB = "echo >> ran; exec sleep 1000"


class Scene(Host):
    """A host whose runs are killed in every way; with an engine its runs may be containers."""

    def __init__(self, folder: Path, engine: Engine | None = None, gpus: int = 4) -> None:
        super().__init__(folder, gpus=gpus)
        self.engine = engine
        self.count = 8 if engine else gpus
        self.gpus = [uuid(index) for index in range(self.count)]
        if engine:
            names = {*engine.stub.env, "DOCKER_HOST", "DOCKER_CONFIG", "PATH"}
            self.env |= {name: value for name, value in engine.env.items() if name in names}
        self.hits = folder / "hits"
        self.hits.mkdir()

    def job(self, script: str = JOB, name: str = "job", gpus: int = 2, **keys: object) -> Path:
        """The spec of a task: in a container where there is an engine."""
        image = {"image": BUSYBOX} if self.engine else {}
        return self.task(script, name, gpus=gpus, **image, **keys)

    def agent(self) -> Path:
        """The spec of a run like torchrun."""
        (self.folder / "agent.py").write_text(AGENT)
        return self.spec(f"kind: task\ngpus: 2\nstop_grace: 1s\ncommand: [{sys.executable}, agent.py]\n")

    def armed(self, **point: object) -> dict[str, str]:
        """The variables that arm a process: see sitecustomize in arms."""
        path = os.pathsep.join([str(ARMS), self.env["PYTHONPATH"]])
        return {"MGPU_ARM": json.dumps({**point, "hits": str(self.hits)}), "PYTHONPATH": path}

    def hit(self) -> int:
        """How often the point was hit."""
        return len(list(self.hits.iterdir()))

    def ran(self) -> int:
        """How often the job has been started, by what it wrote itself."""
        file = self.folder / "ran"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def keepers(self) -> set[int]:
        return {pid for pid in self._ours() if any(word.endswith(b"keeper.py") for word in command_line(pid))}

    def standins(self) -> set[int]:
        return {pid for pid in self._ours() if b"mgpu.run.container" in command_line(pid)}

    def _ours(self) -> set[int]:
        """The processes of mgpu's own that a run keeps, by the run's folder on their command line."""
        runs = os.fsencode(self.state) + b"/"
        return {pid for pid in processes.table() if any(w.startswith(runs) for w in command_line(pid))}

    def jobs(self) -> set[int]:
        """The live processes of jobs, whoever started them, and not what stands for a container."""
        mine = {run.id for run in runs.found()}
        found = {pid for run, pids in processes.by_run().items() if run in mine for pid in pids}
        return found - self.standins() - self.keepers()

    def of_host(self) -> set[int]:
        """Every live process that mgpu has started on this host, keepers and jobs and what they left."""
        own = {pid for pid in processes.table() if processes.variable(pid, "MGPU_STATE_DIR") == str(self.state)}
        return own | self._ours() | self.jobs()

    def boxes(self) -> list[daemon.Box]:
        """The containers of mgpu's, in whatever state."""
        return daemon.boxes(daemon.RUN) if self.engine else []

    def alive(self) -> bool:
        """Whether anything of a job lives: a process, or a container."""
        return bool(self.jobs()) or any(box.lives for box in self.boxes())

    def held(self) -> int:
        """How many GPUs are not free, by all that mgpu looks at."""
        return len(leases.holders(self.gpus))

    def locked(self) -> int:
        """How many GPUs the kernel itself says are held, whatever notes and marks tell."""
        return sum(locks.held(os.path.join(leases.folder(), f"gpu-{gpu}.lock")) for gpu in self.gpus)

    def events(self, what: str) -> list[dict[str, Any]]:
        """The events of this kind, of all runs."""
        return [event for run in runs.found() for event in state.events(run.folder) if event["what"] == what]

    def all_gpus(self, name: str) -> subprocess.CompletedProcess[str]:
        """Another run that wants every GPU."""
        return self.mgpu("run", self.job("true", name, gpus=self.count))

    def end(self) -> None:
        """End whatever is left, however."""
        for pid in self.of_host():
            with suppress(ProcessLookupError):
                kill(pid)
        if self.engine:
            self.engine.clear()


def command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


@contextmanager
def scene(
    folder: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine | None = None, gpus: int = 4
) -> Iterator[Scene]:
    """A host in which, at the end, nothing that a test started is left; this process looks at it as its mgpu does."""
    made = Scene(folder, engine, gpus)
    for name in ("MGPU_LOCK_DIR", "MGPU_STATE_DIR", "DOCKER_HOST", "DOCKER_CONFIG"):
        if name in made.env:
            monkeypatch.setenv(name, made.env[name])
    try:
        yield made
    finally:
        made.end()


def judge(host: Scene, gpus: int = 2) -> None:
    """What must hold once the killing is over: of a run that lives no GPU is free, `ps` has it, and `stop` ends it."""
    eventually(lambda: host.ran() or not host.of_host(), "either the job came about, or nothing did")
    for box in host.boxes():
        with suppress(daemon.Missing):
            daemon.ask(f"/containers/{box.id}/json")  # waits for a start that is under way
    if host.alive():
        kept = bool(host.keepers() or host.standins())
        refused = host.all_gpus("other")
        if host.alive():  # it did all the while
            judge_live(host, refused, gpus, kept)
    settled(host)


def judge_live(host: Scene, refused: subprocess.CompletedProcess[str], gpus: int, kept: bool) -> None:
    """What must hold of a run that lives."""
    assert (refused.returncode, "job" in refused.stderr) == (75, True), refused.stderr
    assert host.held() == gpus, "a run lives, and not all its GPUs are held"
    if kept:
        assert host.locked() == gpus, "a keeper or what stands for a container lives, and the kernel holds no lock"
    alive = [run for run in host.runs() if run["state"] in ("running", "unkept")]
    assert [run["name"] for run in alive] == ["job"], f"a job lives, and ps does not show it: {host.runs()}"
    stopped = host.mgpu("stop", alive[0]["id"])
    assert stopped.returncode == 0, stopped.stderr
    assert not host.alive(), "stop came back, and the job lives"


def settled(host: Scene) -> None:
    """What must hold once nothing lives: every GPU is free within a second, and the next run gets them all."""
    eventually(lambda: not host.alive(), "the job has ended")
    eventually(lambda: host.held() == 0, "the GPUs are free once nothing lives", within=1.0)
    eventually(lambda: not host.of_host(), "no keeper, nor what stands for a container, is left", within=5.0)
    done = host.all_gpus("next")
    assert done.returncode == 0, done.stderr
    if host.boxes():  # the engine was still making it for somebody dead
        assert host.all_gpus("next").returncode == 0
    assert host.boxes() == [], "a container is left after the next run"
    assert host.of_host() == set()


class Tally:
    """Kills by their kind, and how many of them broke a promise; printed once, at the end of its module."""

    def __init__(self) -> None:
        self.kills: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Count what is judged inside as a kill of this kind."""
        self.kills[kind] += 1
        self.broken[kind] += 1
        yield
        self.broken[kind] -= 1

    def told(self) -> str:
        """All of it in words."""
        rows = [f"  {kind}: {count} kills, {self.broken[kind]} violations" for kind, count in self.kills.items()]
        return "\n".join([*rows, f"  in all: {self.kills.total()} kills, {self.broken.total()} violations"])


def told(request: pytest.FixtureRequest, title: str, words: str) -> None:
    """Print figures past pytest's capture, which shows only those of tests that failed."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{title}\n{words}", flush=True)
