"""A container and a command that shows readiness in, whether it ended with 0 in there out, as words to the keeper."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mgpu.machine import processes
from mgpu.run.probes import OFTEN, PATIENCE, SELDOM, SOON
from mgpu.run.sdk import away, client

if TYPE_CHECKING:
    from docker import APIClient


def ask(identity: str, probe: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Ask until the command ends well, or the container is gone; a question is never asked beside another."""
    from docker.errors import APIError

    api, began, told = client(), time.monotonic(), ""
    while True:
        try:
            refusal = _asked(api, identity, list(probe["argv"]))
        except APIError as error:
            if error.status_code == HTTPStatus.NOT_FOUND:
                return
            refusal = str(error.explanation or error)
        except away() as error:
            refusal = f"Docker does not answer ({type(error).__name__})"
        if refusal is None:
            tell({"ready": True})
            return
        if refusal != told:
            told = refusal
            tell({"refusal": f"{probe['target']} {refusal}"[:1000]})
        time.sleep(OFTEN if time.monotonic() - began < SOON else SELDOM)


def _asked(api: APIClient, identity: str, argv: list[str]) -> str | None:
    """None where the command has ended with 0; else how it ended."""
    question = api.exec_create(identity, argv, stdout=False, stderr=False)["Id"]
    api.exec_start(question, detach=True)
    deadline = time.monotonic() + PATIENCE
    while (said := api.exec_inspect(question))["Running"] or said["ExitCode"] is None:
        if time.monotonic() > deadline:
            _kill(int(said["Pid"] or 0))
        time.sleep(OFTEN)
    if time.monotonic() > deadline:
        return f"did not end within {PATIENCE:g} s"
    return None if said["ExitCode"] == 0 else f"ended with {said['ExitCode']}"


def _kill(pid: int) -> None:
    """End it and all that descends from it. Where its user may not be signalled from here it is waited for."""
    table = processes.table()
    for each in processes.descendants([pid], table) if pid > 1 else ():
        processes.send(table[each], signal.SIGKILL)
