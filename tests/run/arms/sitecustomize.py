"""A point of mgpu's own code in, a process dead just there out: for a process that a test has armed, and no other.

Python imports this at the start of every program that has this folder on PYTHONPATH. MGPU_ARM holds JSON: `role` is
runner, keeper or standin; `file` and `name` say which function, `event` when (call, return, or c_call:NAME and
c_return:NAME for a built-in that it calls), `within` a function of mgpu that must be under way, `life` which of a
container's lives it must be, `nth` which time;
`act` is what to do: kill itself; kill its parent or the whole line up to the runner too; halt, to be gone on with; or
``set MODULE NAME NUMBER``, a constant of mgpu's that is too long for a test.
`hits` is a folder: a file there for each time, so that what is started anew is killed only `times` times.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

ROLES = {"keeper.py": "keeper", "mgpu.run.container": "standin", "mgpu": "runner"}
PRELUDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prelude.py")


class Arm:
    """Waits for its point, and acts there."""

    def __init__(self, point: dict[str, Any]) -> None:
        self.point = point
        self.event, _, self.builtin = point["event"].partition(":")
        self.left = point.get("nth", 1)

    def __call__(self, frame: FrameType, event: str, what: Any) -> None:
        if event != self.event or not self._here(frame) or (self.builtin and what.__name__ != self.builtin):
            return
        self.left -= 1
        if self.left == 0 and self._claimed():
            act(self.point.get("act", "kill"))

    def _here(self, frame: FrameType) -> bool:
        code, within, life = frame.f_code, self.point.get("within"), self.point.get("life")
        if code.co_name != self.point["name"] or not code.co_filename.endswith(self.point["file"]):
            return False
        if life is not None and getattr(frame.f_locals.get("self"), "life", None) != life:
            return False
        return within is None or within in callers(frame)

    def _claimed(self) -> bool:
        for number in range(self.point.get("times", 1)):
            try:
                path = os.path.join(self.point["hits"], str(number))
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
                return True
            except FileExistsError:
                continue
        return False


def callers(frame: FrameType | None) -> set[str]:
    """The names of the functions of mgpu that are under way."""
    found = set()
    while frame:
        if "/mgpu/" in frame.f_code.co_filename:
            found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


def act(what: str) -> None:
    """Do what the point says."""
    sys.setprofile(None)
    if what.startswith("set "):
        _, module, name, value = what.split()
        setattr(sys.modules[module], name, float(value))
        return
    if what == "halt":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    line = [os.getpid(), *ancestors(os.getpid(), {"kill": 0, "kill parent": 1, "kill line": 2}[what])]
    for pid in reversed(line):
        os.kill(pid, signal.SIGKILL)


def ancestors(pid: int, count: int) -> list[int]:
    """The parent of a process, its parent, and so on, but never one that is none of mgpu's."""
    found: list[int] = []
    while len(found) < count:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            if not any(word in ROLES or word.endswith("keeper.py") for word in file.read().split("\0")):
                break
        found.append(pid)
    return found


def role(words: list[str]) -> str | None:
    """What this program is to mgpu, by its command line."""
    named = (ROLES.get(os.path.basename(word) if word.endswith(".py") else word) for word in words[1:4])
    return next((found for found in named if found), None)


def arm(words: list[str]) -> None:
    """Wait for the point if it is this program's."""
    point = json.loads(os.environ.get("MGPU_ARM") or "{}")
    mine = role(words)
    if point and point["role"] == mine:
        waiting = Arm(point)
        threading.setprofile(waiting)
        sys.setprofile(waiting)
    elif point and point["role"] == "keeper" and mine == "runner":
        wrap()


def wrap() -> None:
    """Have the keeper, which imports nothing of its own accord, begin with the prelude that arms it."""
    import subprocess

    begun = subprocess.Popen.__init__

    def begin(self: Any, argv: list[str], **more: Any) -> None:
        at = next((index for index, word in enumerate(argv) if word.endswith("/run/keeper.py")), None)
        if at is not None:
            argv = [*argv[:at], PRELUDE, *argv[at:]]
            more["env"] = {**more["env"], "MGPU_ARM": os.environ["MGPU_ARM"]}
        begun(self, argv, **more)

    subprocess.Popen.__init__ = begin  # type: ignore[method-assign, assignment]


if __name__ == "sitecustomize":
    arm(sys.orig_argv)
