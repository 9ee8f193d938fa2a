"""Where mgpu keeps what it knows from one run to the next: this user's folder, and files that are whole or not there.

Standard library only: the keeper imports this too.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def folder(env: Mapping[str, str] | None = None) -> str:
    """This user's folder: MGPU_STATE_DIR, else mgpu in XDG_STATE_HOME, which is absolute or void.

    Raises HostError where this user has no home, and has named no folder.
    """
    env = os.environ if env is None else env
    given = env.get("MGPU_STATE_DIR")
    if given:
        return os.path.abspath(given)
    state = env.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(env.get("HOME") or os.path.expanduser("~"), ".local", "state")
    if not os.path.isabs(state):
        from mgpu.errors import HostError

        raise HostError("this user has no home folder to keep runs in", "export MGPU_STATE_DIR=/a/folder/of/yours")
    return os.path.join(state, "mgpu")


def write(path: str, data: dict[str, Any]) -> None:
    """Write `data` as JSON so that `path` holds either all of it or what it held before. Raises OSError."""
    temporary = f"{path}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def read(path: str) -> dict[str, Any] | None:
    """The JSON object in the file, or None where there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
