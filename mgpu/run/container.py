"""A container's task in, as a process: it lives as long as the container does, and ends with its exit status.

A program of its own, ``python -m mgpu.run.container FOLDER``, that stands for the container among the run's processes:
it holds the leases, hands signals on, and has box carry the container through. Its task, that task's secrets and the
leases come through a socket, its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from mgpu.run import handover, state
from mgpu.run.box import Box


def words(numbers: SimpleQueue[int], box: Box) -> Iterator[str]:
    """The signals for the container that come in, by name, for as long as it lives."""
    while True:
        number = numbers.get()
        if number == 0:
            return
        yield "SIGKILL" if number == signal.SIGQUIT else box.command["stop"]["signal"]


def tell(end: socket.socket, word: dict[str, Any]) -> None:
    """Say a word to the keeper; it may be gone."""
    with suppress(OSError):
        end.sendall(json.dumps(word).encode() + b"\n")


def main(folder: str) -> int:
    """Carry a task's container through; the exit status of this process is the container's."""
    import docker  # noqa: F401 - the wait for a task is the time to import it

    end = socket.socket(fileno=os.dup(0))
    orders = handover.receive(end)
    if orders is None:
        return 0
    state.settle_in(folder)
    numbers: SimpleQueue[int] = SimpleQueue()
    for number in handover.STOPPING:
        signal.signal(number, lambda number, _: numbers.put(number))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    box, said = Box(folder, orders[0], lambda word: tell(end, word)), [-signal.SIGKILL]

    def work() -> None:
        try:
            said[0] = box.carry()
        finally:
            numbers.put(0)

    worker = Thread(target=work)
    worker.start()
    for word in words(numbers, box):
        box.signal(word)
    worker.join()
    return said[0]


def entry(folder: str) -> int:
    """What `main` says. Where it has no status, by a bug or because the engine went away while the container was made,
    this process must not end with one: killed, it is started anew."""
    import traceback

    try:
        status = main(folder)
    except Exception:  # noqa: BLE001 - it is no status of the container's
        traceback.print_exc()
        status = -1
    if status < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return status  # by os._exit: an interpreter that tidies up holds up whoever waits for the job


if __name__ == "__main__":
    os._exit(entry(sys.argv[1]))
