"""The keeper of one run: takes it over, has its tasks supervised, and holds the leases until all of them are gone.

A program of its own, standard library only: ``python -I -S keeper.py FOLDER``, with a socket as standard input. First
comes the caller's environment, then, once there is a run, the values of secrets and the leases themselves; where the
other end is closed before, there is none to keep. It is the subreaper of everything the run starts, so nothing of the
run outlives its notice; when it exits, the kernel frees the leases.
"""

from __future__ import annotations

import os
import socket
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from mgpu.machine import notes
from mgpu.run import handover, kin, state
from mgpu.run.starting import Starter
from mgpu.run.supervisor import Supervisor
from mgpu.run.task import FAILED
from mgpu.run.witness import Witness


def main(folder: str) -> int:
    """Wait for the run in `folder`, and keep it until nothing of it lives; its exit code."""
    end = socket.socket(fileno=os.dup(0))
    hello = handover.receive(end)
    if hello is None:
        return FAILED
    kin.adopt()
    starter = Starter(folder, hello[0])
    orders = handover.receive(end)
    run = state.read(os.path.join(folder, "run.json")) if orders else None
    if orders is None or run is None:
        return FAILED
    end.close()
    state.settle_in(folder)
    given, (lock, *leases) = orders
    starter.take_over(given["secrets"], leases)
    witness = Witness(folder, run, starter.caller, leases)
    supervisor = Supervisor(folder, starter, run["commands"], witness)
    try:
        code = supervisor.keep()
        by = supervisor.first.name if supervisor.first else None
        witness.prove(code, by)
    except BaseException as error:
        state.note(folder, "broken", why=f"{type(error).__name__}: {error}")
        raise
    for lease, start in zip(leases, given["starts"], strict=True):
        notes.wipe(lease, start)
    state.note(folder, "over", code=code, by=by)
    os.close(lock)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
