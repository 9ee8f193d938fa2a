"""Any program at all as a server or a training job, so that nobody waits for a release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mgpu.memory.recipes import finished
from mgpu.memory.trainings import BY_RECIPE, estimated, levers
from mgpu.values.engine import Engine, no_estimate
from mgpu.values.plan import Task
from mgpu.values.recipe import Recipe
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Correction, Estimate, Knob, Unknown
    from mgpu.values.model import Model


def recipe(job: Job) -> Recipe | None:
    """What the spec says of a training whose program is the user's own."""
    return finished(Recipe(), job) if job.recipe else None


def memory(task: Task, model: Model | None, _: Sequence[Correction]) -> tuple[Estimate, ...] | Unknown:
    """What a training takes, by the recipe; of a server nothing is known."""
    return estimated(task, model, recipe(task.job)) if task.job.kind == "training" else no_estimate(task)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes a training take less."""
    return levers(recipe(task.job), BY_RECIPE)


ENGINE = Engine(
    name="custom",
    kinds=("inference", "training"),
    takes=frozenset(("model", "recipe")),
    requires=frozenset(("command",)),
    memory=memory,
    recipe=recipe,
    knobs=knobs,
)
