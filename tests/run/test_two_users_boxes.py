"""Containers on a machine of two people: the GPU of one that lives is held, also by whoever may not ask the engine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from mgpu.machine import processes
from tests.end_to_end.host import eventually, kill, lives
from tests.fakes.docker import BUSYBOX, Engine, lacking
from tests.fakes.nvml import uuid
from tests.require import require
from tests.run import users
from tests.run.users import ADA, BOB, Ground, User

GPU = uuid(0)
SOAK = "MGPU_SOAK" in os.environ


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Ground, Engine]]:
    """A machine of two GPUs, and a Docker engine whose socket is in a folder that all may enter."""
    require("users", not users.lacking(), users.lacking())
    require("docker", not lacking(), lacking())
    ground = Ground()
    folder = ground.folder / "engine"
    folder.mkdir(0o755)
    engine = Engine(folder, stub=ground.root.stub)
    try:
        engine.start()
        for user in (ground.root, ground.ada, ground.bob):
            user.env |= {name: engine.env[name] for name in ("DOCKER_HOST", "PATH")}
            user.env["DOCKER_CONFIG"] = str(user.folder / "docker")
        yield ground, engine
    finally:
        engine.stop()
        ground.close()


@pytest.fixture
def ground(shared: tuple[Ground, Engine]) -> Iterator[Ground]:
    """The machine, on which ada alone may ask Docker, and nothing runs."""
    made, engine = shared
    admit(engine, ADA)
    yield made
    for pid in strays(made):
        kill(pid)
    engine.clear()
    for user in (made.ada, made.bob, made.root):
        user.mgpu("ps")
    for file in made.locks.iterdir():
        file.unlink()


@pytest.fixture
def engine(shared: tuple[Ground, Engine], ground: Ground) -> Engine:
    return shared[1]


def strays(ground: Ground) -> set[int]:
    """The keepers on this machine, and what stands for containers, by the folders on their command lines."""
    found = {pid for pid in processes.pids() if str(ground.folder).encode() + b"/home" in command_line(pid)}
    return {pid for pid in found if lives(pid)}


def command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def admit(engine: Engine, *groups: int) -> None:
    """Let just the users of one group ask the engine; of all, where there are more."""
    os.chown(engine.socket, 0, groups[0])
    engine.socket.chmod(0o660 if len(groups) == 1 else 0o666)


def boxed(user: User, name: str = "boxed", gpus: int = 2) -> str:
    """Start a container that goes on; the id of its run."""
    done = user.mgpu("run", "--detach", spec(user, name, gpus))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def spec(user: User, name: str = "boxed", gpus: int = 2) -> object:
    script = "trap exit TERM; while true; do sleep 0.1; done"
    return user.task(script, name, gpus=gpus, runtime="docker", image=BUSYBOX)


def running(engine: Engine) -> list[str]:
    return engine.docker("ps", "--format", "{{.Names}}").stdout.split()


def refused(user: User, gpus: int = 2) -> str:
    done = user.mgpu("run", user.task("true", "other", gpus=gpus))
    assert done.returncode == 75, (done.returncode, done.stderr)
    return done.stderr


def orphaned(ground: Ground, engine: Engine) -> None:
    """A container of ada's whose keeper, and what stood for it, were killed."""
    boxed(ground.ada)
    eventually(lambda: running(engine), "the container runs")
    for pid in strays(ground):
        kill(pid)
    eventually(lambda: not strays(ground), "its keeper is dead")
    assert running(engine)


def test_a_container_holds_its_gpu_against_who_may_not_ask_docker(ground: Ground, engine: Engine) -> None:
    run = boxed(ground.ada)
    eventually(lambda: running(engine), "the container runs")
    assert "is held by run boxed of 23001" in refused(ground.bob)
    assert ground.ada.mgpu("stop", run).returncode == 0
    assert not running(engine)
    assert ground.bob.mgpu("run", ground.bob.task("true", "other", gpus=2)).returncode == 0


@pytest.mark.parametrize("admitted", [(ADA,), (ADA, BOB)], ids=["shut-out", "admitted"])
def test_a_container_alone_holds_its_gpu(ground: Ground, engine: Engine, admitted: tuple[int, ...]) -> None:
    orphaned(ground, engine)
    admit(engine, *admitted)
    words = "what is left of run boxed" if len(admitted) > 1 else "what may be left of run boxed"
    assert words in refused(ground.bob)
    assert "what is left of run boxed" in refused(ground.ada)
    assert "what is left of run boxed" in refused(ground.root)
    for user in (ground.bob, ground.ada, ground.root):
        user.mgpu("ps")
    assert words in refused(ground.bob)
    assert "unkept" in [run["state"] for run in ground.ada.runs()]
    assert ground.ada.mgpu("stop", "boxed").returncode == 0
    ground.ada.mgpu("ps")
    assert ground.bob.mgpu("run", ground.bob.task("true", "other", gpus=2)).returncode == 0


def test_a_container_without_any_note_is_known_by_its_label(ground: Ground, engine: Engine) -> None:
    orphaned(ground, engine)
    for file in ground.locks.iterdir():
        file.unlink()
    admit(engine, ADA, BOB)
    assert "is held by the container mgpu-boxed of run boxed-" in refused(ground.bob)


def test_the_name_of_a_container_that_another_user_left(ground: Ground, engine: Engine) -> None:
    label = ["--label", "mgpu.run=boxed-1", "--label", f"mgpu.user={ADA}"]
    engine.docker("run", "--name", "mgpu-boxed", *label, BUSYBOX, "true", check=True)
    admit(engine, ADA, BOB)
    done = ground.bob.mgpu("run", spec(ground.bob))
    assert (done.returncode, "--name" in done.stderr, "another user's" in done.stderr) == (125, True, True), done.stderr


@pytest.mark.parametrize("state", ["create", "run"])
def test_a_stranger_s_container_with_a_gpu_s_label(ground: Ground, engine: Engine, state: str) -> None:
    more = ["--detach"] if state == "run" else []
    engine.docker(state, *more, "--name", "liar", "--label", f"mgpu.gpus={GPU}", BUSYBOX, "sleep", "1000", check=True)
    if state == "run":
        assert "is held by the container liar" in refused(ground.ada)
    else:
        assert ground.ada.mgpu("run", ground.ada.task("true", gpus=2)).returncode == 0
        assert engine.docker("inspect", "liar").returncode == 0, "it is nobody's but its maker's"


@pytest.mark.parametrize("what", ["pause", "rename", *["restart"] * (20 if SOAK else 3)])
def test_a_container_that_somebody_lays_hands_on(ground: Ground, engine: Engine, what: str) -> None:
    boxed(ground.ada)
    eventually(lambda: running(engine), "the container runs")
    time.sleep(2)  # paused while mgpu asks it for its GPUs, this engine hangs, whoever asks what
    more = {"pause": [], "rename": ["other"], "restart": ["--time", "0"]}[what]
    engine.docker(what, "mgpu-boxed", *more, check=what != "restart")
    if running(engine):
        assert "is held by run boxed" in refused(ground.bob)
        began = time.monotonic()
        assert ground.ada.mgpu("stop", "boxed").returncode == 0
        assert time.monotonic() - began < 8, "it was asked to end, and not killed after its grace period"
    eventually(lambda: not running(engine), "the container is gone")
    eventually(lambda: not strays(ground), "and its keeper")
    assert ground.bob.mgpu("run", ground.bob.task("true", "other", gpus=2)).returncode == 0


def test_an_engine_that_hangs_delays_a_process_once(ground: Ground, engine: Engine) -> None:
    os.kill(engine._pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = ground.ada.mgpu("run", ground.ada.task("true", gpus=2))
        took = time.monotonic() - began
    finally:
        os.kill(engine._pid, signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    assert took < 25, f"{took:.1f} s"


def test_stop_does_not_call_a_container_over_that_it_cannot_ask_about(ground: Ground, engine: Engine) -> None:
    orphaned(ground, engine)
    os.kill(engine._pid, signal.SIGSTOP)
    try:
        done = ground.ada.mgpu("stop", "boxed", "--now")
    finally:
        os.kill(engine._pid, signal.SIGCONT)
    assert done.returncode == 125, (done.returncode, done.stderr)
    assert "does not answer" in done.stderr
    assert ground.ada.mgpu("stop", "boxed").returncode == 0
    assert not running(engine)
