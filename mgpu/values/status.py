"""An exit code in, what it says in words out; standard library only."""

from __future__ import annotations

import signal

SIGNALS = {
    "SIGKILL": "killed: by the kernel for want of the host's memory, or by somebody",
    "SIGSEGV": "it crashed, in one of its libraries or in the driver",
    "SIGABRT": "it gave up: an error of C++ or of NCCL that nobody caught, or an assertion",
    "SIGBUS": "it crashed on memory that was not there: /dev/shm is full, or a file that was mapped",
    "SIGILL": "one of its libraries was built for another kind of CPU",
    "SIGFPE": "it crashed on a division",
    "SIGTERM": "it was asked to end",
    "SIGINT": "^C, or whoever started it, ended it",
    "SIGXFSZ": "a file grew beyond what ulimit -f allows",
}
CODES = {
    0: "it ended well",
    2: "most programs say so that they do not understand their arguments",
    124: "it ran out of its time",
    125: "mgpu or Docker could not carry it out",
    126: "its program may not be executed",
    127: "its program was not found",
}


def words(code: int) -> str:
    """What a program's exit code says: 128 + n is the signal that ended it."""
    if code in CODES:
        return CODES[code]
    try:
        name = signal.Signals(code - 128).name if code > 128 else ""
    except ValueError:
        name = ""
    if not name:
        return "it ended with an error of its own"
    return f"{name}: {SIGNALS[name]}" if name in SIGNALS else f"{name} ended it"
