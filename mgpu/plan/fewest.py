"""A copy whose number of GPUs is left to the planner in, the smallest number on which it fits out."""

from __future__ import annotations

from mgpu.errors import NoRoom, SpecError
from mgpu.plan.choose import Chosen
from mgpu.plan.copies import Copy
from mgpu.plan.seats import refused, seated
from mgpu.plan.sums import told, verdict
from mgpu.plan.tasks import Site
from mgpu.values.memory import Unknown
from mgpu.values.plan import Task


def fewest(site: Site, copy: Copy, allowed: Chosen) -> int:
    """The number of GPUs of `allowed`: the fewest on which it fits, else the fewest on which it is tight; where it fits
    on no number of them the most that it can use, so that what it lacks is seen and mended as with a number.

    Raises NoRoom with the sum where others of the same plan want GPUs too, SpecError where its memory is not known.
    """
    tight, last, wrong = None, None, None
    for count in range(1, len(allowed) + 1):
        try:
            task = _alone(site, copy, allowed, count)
        except SpecError as error:
            wrong = error
            continue
        if task is None:
            continue
        if task.memory is None or isinstance(task.memory, Unknown):
            raise _unknown(site, copy, task)
        found = verdict(task)
        if found == "fits":
            return count
        tight = tight or (count if found == "tight" else None)
        last = task
    if tight:
        return tight
    if wrong and not last:
        raise wrong
    if last and isinstance(last.memory, tuple) and len(site.copies) == 1:
        return last.gpu_count
    raise _none(site, copy, last)


def _alone(site: Site, copy: Copy, allowed: Chosen, count: int) -> Task | None:
    """The task as if it were the only one; None for a number that the engine cannot use."""
    tasks = seated(site, (copy,), {copy.name: allowed}, {copy.name: count})
    task = tasks[copy.name] if tasks else None
    return None if task and refused(task) else task


def _unknown(site: Site, copy: Copy, task: Task) -> SpecError:
    known = task.memory if isinstance(task.memory, Unknown) else Unknown(f"what {copy.name} needs is not known")
    document = site.spec.document
    hint = "a number of GPUs" + (f", or {known.hint}" if known.hint else "")
    return document.error(document.problem(f"gpus: auto cannot be: {known.why}", (*copy.job.path, "gpus"), hint))


def _none(site: Site, copy: Copy, task: Task | None) -> NoRoom:
    total = len(site.machine.gpus)
    if task is None or not isinstance(task.memory, tuple):
        return NoRoom(f"{copy.name} needs a GPU, and none of {total} on {site.machine.name} can be had")
    count = f"the {task.gpu_count} GPUs" if task.gpu_count > 1 else "a GPU"
    message = f"{copy.name} does not fit on {count} of {site.machine.name}: {told(task.memory, task.layout)}"
    return NoRoom(message, "a smaller model, or a larger machine", ever=False)
