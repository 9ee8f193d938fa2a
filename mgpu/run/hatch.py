"""A spec in, a keeper that waits for its run out: started before anything is known, since starting takes it longer.

While the machine is looked at, it and what will stand for a container import what they need.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mgpu.errors import HostError
from mgpu.run import handover, state

if TYPE_CHECKING:
    import socket

    from mgpu.values.spec import Spec

KEEPER = os.path.join(os.path.dirname(__file__), "keeper.py")


class Keeper(NamedTuple):
    """A keeper that waits for its run, and this end of the socket that it waits at."""

    run: str
    process: subprocess.Popen[bytes]
    end: socket.socket

    def dismiss(self) -> None:
        """There is no run: it ends by itself."""
        self.end.close()
        self.process.wait()


def hatched(spec: Spec) -> Keeper:
    """Start a keeper for the run that may come about. Raises HostError where the host starts no process.

    It is asked to stop by signals, which wait until it listens.
    """
    identity = state.identity(spec.name)
    ours, its = handover.pair()
    try:
        with its, _blocked():
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", KEEPER, state.folder(identity)],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            )
    except OSError as error:
        raise HostError(f"the keeper of the run cannot be started: {error.strerror}", "look at ulimit -a") from error
    keeper = Keeper(identity, process, ours)
    boxed = any(job.runtime == "docker" or job.image for job in spec.jobs)
    hello = {"env": dict(os.environ), "path": os.pathsep.join(filter(None, sys.path)), "boxed": boxed}
    sent(keeper, hello)
    return keeper


@contextmanager
def _blocked() -> Iterator[None]:
    """A process that is begun inside hears no request to stop until it says that it listens: none is lost."""
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, handover.STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


def sent(keeper: Keeper, data: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send the keeper data and descriptors. Raises HostError where it is gone."""
    try:
        handover.send(keeper.end, data, fds)
    except OSError as error:
        raise HostError(f"the keeper of the run did not start: {error.strerror}") from None
