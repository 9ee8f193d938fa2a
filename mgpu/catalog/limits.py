"""A job in, what its model is not made for out."""

from __future__ import annotations

from collections.abc import Iterator

from mgpu.catalog.models import by_name
from mgpu.values.engine import Complaint
from mgpu.values.said import said
from mgpu.values.spec import Job


def context(job: Job, who: str, variable: str, flags: tuple[str, ...]) -> Iterator[Complaint]:
    """The warning that an engine will not start with more tokens than the model is made for: not unless the environment
    has `variable`, or one of `flags` stretches the model."""
    if not job.context_length:
        return
    model = job.model_facts or by_name(job.model or "")
    most = model.context if model else None
    if model is None or not most or (job.context_length or 0) <= most:
        return
    if job.env.get(variable) or any(said(job, flag) for flag in flags):
        return
    message = f"context_length is {job.context_length:,}, and {model.id} is made for {most:,}: {who} refuses to start"
    hint = f"context_length: {most}, or where it may be more, env: {{{variable}: '1'}}"
    yield Complaint(message, ("context_length",), hint, warning=True)
