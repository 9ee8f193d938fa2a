"""Commands in, processes in a network and mount namespace of their own out, all ended with the test that had them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
PRIVATE = Path("/run/containerd")
"""A folder that is another one in there: short, because the sockets in it may have no long path."""
COUNT = itertools.count()
UNSHARE = ["unshare", "--net", "--mount", "--propagation", "slave"]


class Namespace:
    """A namespace that lives from here to `close`, or to the end of this process however that comes."""

    def __init__(self) -> None:
        self.name = f"mgpu-{os.getpid()}-{next(COUNT)}"
        argv = [*UNSHARE, sys.executable, "-I", str(KEEPER), self.name]
        pipe = subprocess.PIPE
        self._keeper = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        assert self._answer() == "ready", "no network namespace can be made here"

    @property
    def inside(self) -> list[str]:
        """What goes before a command that shall reach the ports in here; it keeps its user and its files."""
        return ["nsenter", f"--net=/proc/{self._keeper.pid}/ns/net"]

    def start(self, argv: Sequence[object], env: Mapping[str, str], log: Path) -> int:
        """The process id of `argv`, begun in here."""
        assert self._keeper.stdin
        order = {"argv": list(map(str, argv)), "env": dict(env), "log": str(log)}
        print(json.dumps(order), file=self._keeper.stdin, flush=True)
        return int(self._answer())

    def close(self) -> None:
        """End all that runs in here."""
        assert self._keeper.stdin
        assert self._keeper.stdout
        self._keeper.stdin.close()
        self._keeper.wait(60)
        self._keeper.stdout.close()

    def _answer(self) -> str:
        assert self._keeper.stdout
        return self._keeper.stdout.readline().strip()


def possible() -> bool:
    """Whether this user may make namespaces, mount in them, and see cgroups."""
    done = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True, check=False)
    return done.returncode == 0
