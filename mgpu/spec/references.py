"""References between a pipeline's jobs, ``${jobs.llm.url}``: found in texts, and filled in once ports are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mgpu.values.mark import Path
from mgpu.values.spec import Job

REFERENCE = re.compile(r"\$\{jobs\.([^${}]*)\}")
OPEN = "${jobs."
KEYS = ("env", "command", "args", "script_args", "config")
"""The keys of a job whose texts may hold references."""
PARTS = ("url", "urls", "host", "port")
"""What a job can be asked for; `urls` are those of all its replicas, with commas between."""


def texts(job: Job) -> Iterator[tuple[Path, str]]:
    """Every text of the job that may hold references, with its path in the document."""
    for key in KEYS:
        yield from texts_in(getattr(job, key), (*job.path, key))


def texts_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text inside plain data, with its path; `path` is that of `value`."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_in(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from texts_in(item, (*path, at))


def asked(text: str) -> list[tuple[str, str]]:
    """The (job, part) pairs that `text` asks for; a part is empty where the reference is malformed."""
    return [(name, part) for name, _, part in (inner.partition(".") for inner in REFERENCE.findall(text))]


def filled(value: Any, answer: Callable[[str, str], str]) -> Any:
    """`value` with every reference in its texts replaced by what `answer(job, part)` says."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda found: answer(*found[1].split(".", 1)), value) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: filled(item, answer) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(filled(item, answer) for item in value)
    return value
