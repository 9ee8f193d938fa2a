"""A job and the name of one of its engine's flags in, what the spec says of it out, however the name is written."""

from __future__ import annotations

from typing import Any

from mgpu.values.flag import plain
from mgpu.values.spec import Job


def said(job: Job, flag: str) -> Any:
    """What the job gives this flag of its engine's, with hyphens or underscores; None where it does not."""
    return job.args.get(written(job, flag))


def written(job: Job, flag: str) -> str:
    """The flag of this name as the spec writes it."""
    return next((name for name in job.args if plain(name) == plain(flag)), flag)


def degree(job: Job, flag: str) -> int:
    """What the job gives a flag that counts GPUs: 1 where it gives none, or none that counts."""
    value = said(job, flag)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def secret(job: Job, name: str | None) -> str | None:
    """The name, if the job has a secret that is called so."""
    return name if any(secret.name == name for secret in job.secrets) else None
