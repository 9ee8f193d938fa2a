"""A job and a machine in, the model that the job is about out, by whoever knows it best."""

from __future__ import annotations

from mgpu.catalog.models import by_name
from mgpu.engines import engine_named
from mgpu.values.machine import Machine
from mgpu.values.model import Model
from mgpu.values.spec import Job


def model_of(job: Job, machine: Machine) -> Model | None:
    """What the spec says of the model (`model_facts`), else what its files on this machine say, else the catalogue by
    its name; None where nobody knows it."""
    if job.model_facts:
        return job.model_facts
    name = engine_named(job.engine).model(job)
    return dict(machine.models).get(name or "") or by_name(name or "")
