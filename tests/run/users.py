"""A machine with several people on it: a folder that all may enter, stub GPUs, one folder of leases, real user ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.end_to_end.host import Host
from tests.fakes.nvml import library

ROOT = Path(__file__).parents[2]
PACKAGES = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
ADA, BOB = 23001, 23002


class Ground:
    """What the people share. `ada` and `bob` are users without a line in /etc/passwd; `root` is who runs the tests."""

    def __init__(self, gpus: int = 2, *, made_by_root: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mgpu-users-"))
        self.folder.chmod(0o755)
        shutil.copy(library(), self.folder)
        for part in ("mgpu", "templates", "specs"):
            shutil.copytree(ROOT / part, self.folder / "code" / part, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "run").mkdir()
        (self.folder / "run").chmod(0o1777)
        self.locks = self.folder / "run" / "mgpu"
        if made_by_root:
            self.locks.mkdir()
            self.locks.chmod(0o1777)
        self.root, self.ada, self.bob = (User(self, number, gpus) for number in (0, ADA, BOB))

    def close(self) -> None:
        """End what is left, and remove the folder."""
        for user in (self.ada, self.bob, self.root):
            user.mgpu("stop", "--all", "--now")
        shutil.rmtree(self.folder)


class User(Host):
    """One of them, with a home of their own that nobody else may enter."""

    def __init__(self, ground: Ground, number: int, gpus: int) -> None:
        home = ground.folder / f"home-{number}"
        home.mkdir(0o700)
        super().__init__(home, gpus)
        self.number = number
        self.env |= {
            "HOME": str(home),
            "MGPU_LOCK_DIR": str(ground.locks),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ground.folder / "code"), PACKAGES])),
            "LD_LIBRARY_PATH": str(ground.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.env.pop("VIRTUAL_ENV", None)
        for path in (home, *home.rglob("*")):
            os.chown(path, number, number)
        self.before = become(number) if number else []
        self.argv = [*self.before, python(number), "-m", "mgpu"]

    def spec(self, text: str, name: str = "job") -> Path:
        path = super().spec(text, name)
        os.chown(path, self.number, self.number)
        return path

    def mgpu(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        return self.does(*self.argv[len(self.before) :], *words, **more)

    def start(self, *words: object, **more: str) -> subprocess.Popen[str]:
        argv, pipe = [*self.argv, *map(str, words)], subprocess.PIPE
        return subprocess.Popen(argv, env={**self.env, **more}, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def does(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """What this user may do, by another program."""
        argv, env = [*self.before, *map(str, words)], {**self.env, **more}
        return subprocess.run(argv, env=env, cwd=self.folder, capture_output=True, text=True, timeout=120)  # noqa: PLW1510


def become(number: int) -> list[str]:
    """What goes before a command of this user. `env`, since what setpriv itself executes it may execute as root may."""
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "env"]


@cache
def python(number: int) -> str:
    """A Python that the user `number` may run, and that can import what mgpu imports; nothing where there is none."""
    for program in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        env = {"PYTHONPATH": PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"}
        asked = [*become(number), program or "false", "-c", "import docker, jinja2, pynvml, ruamel.yaml"]
        try:
            if subprocess.run(asked, env=env, capture_output=True, check=False).returncode == 0:
                return str(program)
        except OSError:
            continue
    return ""


def lacking() -> str:
    """Why this machine cannot be used by several people; nothing where it can."""
    if os.geteuid():
        return "only root can be other users"
    if not shutil.which("setpriv"):
        return "there is no setpriv (util-linux)"
    return "" if python(ADA) else "no Python with mgpu's packages can be run by another user"
