"""Why a job failed, as its log shows."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """A known failure that was recognised. `short` are the few words of a list, `cause` is a sentence, `hint` what to
    change in the spec or on the host. `lasting`: started again it fails again. `memory`: less GPU memory mends it.
    `evidence` are the lines of the log that show it, `source` says where such logs and their reasons come from.
    `vague`: it only says that something failed; `asked` are the bytes of GPU memory that were not there, where the log
    has them."""

    id: str
    short: str
    cause: str
    hint: str
    lasting: bool
    evidence: tuple[str, ...]
    source: str
    memory: bool = False
    vague: bool = False
    asked: int | None = None
