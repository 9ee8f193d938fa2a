"""Two people on one machine: who holds a GPU holds it against the other, whatever the other tries and whatever dies."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import eventually, kill, lives
from tests.fakes.nvml import uuid
from tests.require import require
from tests.run.users import Ground, User, lacking

PROTECTED = Path("/proc/sys/fs/protected_regular")
AGENT = """
import os, pathlib, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
pathlib.Path("agent.new").write_text(f"{os.getppid()} {os.getpid()} {worker.pid}")
os.rename("agent.new", "agent")
worker.wait()
"""
"""Like torchrun's: its worker has none of its descriptors, and so no lease."""


@pytest.fixture(params=["0", "2"], ids=["plain", "protected"])
def protected(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both rules of the kernel for other users' files in sticky folders (fs.protected_regular)."""
    require("users", not lacking(), lacking())
    before = PROTECTED.read_text().strip()
    try:
        PROTECTED.write_text(request.param)
        possible = PROTECTED.read_text().strip() == request.param
    except OSError:
        possible = before == request.param
    require("sysctl", possible, "fs.protected_regular cannot be set")
    yield request.param
    if PROTECTED.read_text().strip() != before:
        PROTECTED.write_text(before)


@pytest.fixture(params=[True, False], ids=["roots-folder", "adas-folder"])
def ground(protected: str, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A machine of two GPUs, its folder of leases made by root, or by whoever comes first: ada."""
    made = Ground(made_by_root=request.param)
    yield made
    made.close()


@pytest.fixture
def plain() -> Iterator[Ground]:
    """The same as the kernel happens to be set, with root's folder."""
    require("users", not lacking(), lacking())
    made = Ground()
    yield made
    made.close()


def begun(user: User, name: str = "job", gpus: int = 2) -> str:
    """Start a run that goes on; its id."""
    done = user.mgpu("run", "--detach", user.task("echo $$ > pid; exec sleep 1000", name, gpus=gpus))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(user: User, gpus: int = 2) -> str:
    """Why a run of this user is refused."""
    done = user.mgpu("run", user.task("true", "other", gpus=gpus))
    assert done.returncode == 75, (done.returncode, done.stderr)
    return done.stderr


def runs(user: User, gpus: int = 2) -> bool:
    """Whether this user gets the GPUs now."""
    return user.mgpu("run", user.task("true", "other", gpus=gpus)).returncode == 0


def agent(user: User) -> list[int]:
    """Start a run on one GPU whose worker holds no lease; the ids of its keeper, its agent, its worker."""
    (user.folder / "agent.py").write_text(AGENT)
    spec = user.spec(f"kind: task\ngpus: 1\ncommand: [{user.argv[-3]}, agent.py]\n")
    done = user.mgpu("run", "--detach", spec)
    assert done.returncode == 0, done.stderr
    file = user.folder / "agent"
    return [int(pid) for pid in eventually(lambda: file.exists() and file.read_text().split(), "the agent runs")]


def test_a_gpu_is_held_against_the_other_user_and_free_right_after(ground: Ground) -> None:
    run = begun(ground.ada)
    assert "is held by run job of 23001" in refused(ground.bob)
    machine = json.loads(ground.bob.mgpu("machine", "--json").stdout)
    assert ["run job of 23001" in gpu["holder"] for gpu in machine["gpus"]] == [True, True]
    assert "held by run job of 23001" in ground.bob.mgpu("machine").stdout
    assert ground.ada.mgpu("stop", run).returncode == 0
    eventually(lambda: ground.bob.free() == 2, "they are free for the other", within=1.0)
    assert runs(ground.bob)
    begun(ground.bob)
    assert "is held by run job of 23002" in refused(ground.ada)


def test_the_same_name_is_no_clash(ground: Ground) -> None:
    begun(ground.ada, "train", 1)
    begun(ground.bob, "train", 1)
    assert [run["name"] for user in (ground.ada, ground.bob) for run in user.runs()] == ["train", "train"]
    assert ground.bob.mgpu("stop", "train").returncode == 0
    assert [run["state"] for run in ground.ada.runs()] == ["running"]


def test_the_other_user_cannot_free_it(ground: Ground) -> None:
    run = begun(ground.ada)
    pid = int(eventually((ground.ada.folder / "pid").read_text, "the job runs"))
    file = ground.locks / f"gpu-{uuid(0)}.lock"
    bob = ground.bob
    assert bob.mgpu("stop", "job").returncode == 2
    assert bob.mgpu("stop", run).returncode == 2
    assert bob.mgpu("stop", "--all", "--now").returncode == 0
    assert bob.mgpu("ps", "--all").returncode == 0
    assert bob.does("rm", "-f", file).returncode == 1
    assert bob.does("mv", file, ground.folder / "run" / "away").returncode == 1
    assert bob.does("kill", "-9", pid).returncode == 1
    assert bob.does("ls", ground.ada.state).returncode == 2
    assert "is held by run job of 23001" in refused(bob)
    assert bob.does("truncate", "--no-create", "--size", "0", file).returncode == 0
    assert "is held by" in refused(bob)
    assert lives(pid)
    assert [each["state"] for each in ground.ada.runs()] == ["running"]


def test_a_job_holds_on_without_its_keeper(ground: Ground) -> None:
    begun(ground.ada)
    pid = int(eventually((ground.ada.folder / "pid").read_text, "the job runs"))
    (keeper,) = [int(word) for word in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1:2]]
    kill(keeper)
    eventually(lambda: not lives(keeper), "the keeper is dead")
    assert "is held by run job of 23001" in refused(ground.bob)
    assert [run["state"] for run in ground.ada.runs()] == ["unkept"]
    kill(pid)
    eventually(lambda: not lives(pid), "the job is dead")
    ground.ada.mgpu("ps")
    assert runs(ground.bob)


@pytest.mark.parametrize("tidier", ["ada", "root"])
def test_a_worker_that_the_other_user_cannot_see_keeps_its_gpu(ground: Ground, tidier: str) -> None:
    keeper, first, worker = agent(ground.ada)
    kill(keeper)
    kill(first)
    eventually(lambda: not lives(keeper) and not lives(first), "both are dead")
    assert "what may be left of run job of 23001" in refused(ground.bob)
    assert "what is left of run job of 23001" in refused(ground.root)
    assert "what is left of run job of 23001" in refused(ground.ada)
    assert [run["state"] for run in ground.ada.runs()] == ["unkept"]
    for user in (ground.bob, ground.ada, ground.root):
        assert user.mgpu("ps").returncode == 0
    assert "what may be left of run job of 23001" in refused(ground.bob)
    assert runs(ground.bob, 1), "the other GPU is free all the time"
    kill(worker)
    eventually(lambda: not lives(worker), "the worker is dead")
    assert getattr(ground, tidier).mgpu("ps").returncode == 0
    assert runs(ground.bob)


def test_a_user_with_other_young_processes_frees_the_gpu_by_looking(plain: Ground) -> None:
    keeper, first, worker = agent(plain.ada)
    with subprocess.Popen([*plain.ada.before, "sleep", "1000"]) as sleeper:
        for pid in (keeper, first, worker):
            kill(pid)
        eventually(lambda: not lives(worker), "all of the run are dead")
        assert "mgpu ps tells them" in refused(plain.bob)
        assert plain.bob.mgpu("ps").returncode == 0
        assert "mgpu ps tells them" in refused(plain.bob)
        assert plain.ada.mgpu("ps").returncode == 0
        assert runs(plain.bob)
        sleeper.kill()


def test_processes_that_are_hidden_count_as_there(plain: Ground) -> None:
    keeper, first, worker = agent(plain.ada)
    kill(keeper)
    kill(first)
    eventually(lambda: not lives(keeper) and not lives(first), "both are dead")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    argv = [*hidden, *plain.bob.argv, "run", str(plain.bob.task("true", "other", gpus=2))]
    done = subprocess.run(argv, env=plain.bob.env, cwd="/", capture_output=True, text=True, check=False)
    kill(worker)
    require("hidepid", "mount:" not in done.stderr, "a /proc of one's own cannot be mounted")
    assert (done.returncode, "what may be left of run job" in done.stderr) == (75, True), done.stderr


def test_the_first_user_s_umask_shuts_nobody_out(plain: Ground) -> None:
    plain.locks.rmdir()
    spec = plain.ada.task("true", gpus=2)
    assert plain.ada.does("sh", "-c", 'umask 077 && exec "$@"', "sh", *plain.ada.argv[-3:], "run", spec).returncode == 0
    assert runs(plain.bob)
    assert [file.stat().st_mode & 0o7777 for file in (plain.locks, *plain.locks.iterdir())] == [0o1777, 0o666, 0o666]


def test_a_user_without_a_home_is_told_what_to_name(plain: Ground) -> None:
    env = {name: value for name, value in plain.ada.env.items() if name not in ("HOME", "MGPU_STATE_DIR")}
    argv = [*plain.ada.argv, "run", str(plain.ada.task("true"))]
    done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, "MGPU_STATE_DIR" in done.stderr) == (125, True), done.stderr
    for home in ("/proc", str(plain.bob.folder)):
        done = subprocess.run(argv, env={**env, "HOME": home}, cwd="/", capture_output=True, text=True, check=False)
        assert (done.returncode, "the folder of runs cannot be made" in done.stderr) == (125, True), done.stderr
    done = plain.ada.mgpu("run", plain.ada.task("echo hi"), HOME="/nowhere")
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


def test_a_lock_file_that_may_not_be_opened_holds_its_gpu(plain: Ground) -> None:
    file = plain.locks / f"gpu-{uuid(0)}.lock"
    for mode in (0o600, 0o644):
        file.touch()
        file.chmod(mode)
        assert runs(plain.bob, 1)
        done = plain.bob.mgpu("run", plain.bob.task("true", "other", gpus=2))
        assert (done.returncode, "may not be opened" in done.stderr) == (75, True), done.stderr


def test_a_user_who_may_start_no_more_processes_is_told(plain: Ground) -> None:
    done = plain.ada.does("prlimit", "--nproc=1", *plain.ada.argv[-3:], "run", plain.ada.task("true"))
    assert (done.returncode, "the keeper of the run cannot be started" in done.stderr) == (125, True), done.stderr
