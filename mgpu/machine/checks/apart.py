"""Questions in, their answers out: each is asked in a child process of its own, so that none can hang the asker.

A call into a driver that hangs, or to a disk of a server that is gone, cannot be interrupted, and a thread that waits
in one keeps its process from ending. A child is killed, and left alone where even that does not end it.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple


class Late(NamedTuple):
    """There was no answer within so many seconds."""

    seconds: float


class Failed(NamedTuple):
    """The question itself failed: `why` in words."""

    why: str


class _Asked(NamedTuple):
    at: int
    pid: int
    pipe: int
    until: float
    seconds: float


def answers(questions: Sequence[tuple[Callable[[], Any], float]]) -> list[Any]:
    """What each question (with the seconds that it may take) answers, all asked at once; Late or Failed where it does
    not. Answers must be picklable. Nothing that a question changes in memory is seen by the caller."""
    found: list[Any] = [None] * len(questions)
    with selectors.DefaultSelector() as waiting:
        for at, (question, seconds) in enumerate(questions):
            asked = _ask(at, question, seconds)
            waiting.register(asked.pipe, selectors.EVENT_READ, (asked, bytearray()))
        while waiting.get_map():
            first = min(key.data[0].until for key in waiting.get_map().values())
            for key, _ in waiting.select(max(0.0, first - time.monotonic())):
                asked, said = key.data
                piece = os.read(asked.pipe, 65536)
                said += piece
                if not piece:
                    waiting.unregister(asked.pipe)
                    found[asked.at] = _answer(asked, bytes(said))
            for key in list(waiting.get_map().values()):
                asked = key.data[0]
                if time.monotonic() >= asked.until:
                    waiting.unregister(asked.pipe)
                    found[asked.at] = Late(asked.seconds)
                    _end(asked)
    return found


def _ask(at: int, question: Callable[[], Any], seconds: float) -> _Asked:
    """Start a child that asks. It has a session of its own: what it starts is killed with it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Asked(at, pid, reader, time.monotonic() + seconds, seconds)
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(_said(question))
    finally:
        os._exit(0)


def _said(question: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(question())
    except Exception as error:  # noqa: BLE001 - whatever one check meets, the others are told
        return pickle.dumps(Failed(f"{type(error).__name__}: {error}"))


def _answer(asked: _Asked, said: bytes) -> Any:
    os.close(asked.pipe)
    os.waitpid(asked.pid, 0)
    return pickle.loads(said) if said else Failed("its process died")


def _end(asked: _Asked) -> None:
    """Kill a child and what it has started; one that hangs in the kernel is left to whoever ends that."""
    os.close(asked.pipe)
    with suppress(ProcessLookupError):
        os.kill(asked.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(asked.pid, signal.SIGKILL)
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        if os.waitpid(asked.pid, os.WNOHANG)[0]:
            return
        time.sleep(0.005)
