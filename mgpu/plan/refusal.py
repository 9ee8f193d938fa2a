"""Why there is no room, in words: how many GPUs each task wants, how many it could have, and what keeps the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mgpu.errors import NoRoom
from mgpu.plan import sums
from mgpu.plan.choose import Wish
from mgpu.plan.copies import Copy
from mgpu.plan.fitness import unfit, unusable
from mgpu.plan.links import UNKNOWN, words
from mgpu.plan.shares import left
from mgpu.values.machine import Gpu, Machine
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.plan import Plan, Task
from mgpu.values.spec import Gpus, Spec


def refusal(wishes: list[Wish], copies: Sequence[Copy], machine: Machine, ignore_foreign: bool, ever: bool) -> NoRoom:
    """The NoRoom that says what is missing; `wishes` are those of the `copies`."""
    asking = [wish for wish in wishes if wish.count]
    short = next((wish for wish in asking if len(wish.allowed) < wish.count), None)
    total = len(machine.gpus)
    if not total:
        first = max(asking, key=lambda wish: wish.count)
        hint = machine.notes[0] if machine.notes else "name a machine that has them: --machine 2xrtx-4090"
        return NoRoom(f"{first.task} needs {_gpus(first.count)}, and this machine has none", hint, ever=False)
    share = short.share if short else _least(asking)
    busy = [(gpu, why) for gpu in machine.gpus if (why := unusable(gpu, machine, ignore_foreign, share))]
    lines = [f"GPU {gpu.index} {why}" for gpu, why in busy]
    if short:
        message = f"{short.task} needs {_wanted(short)} and {_could(len(short.allowed))}, of {total} on {machine.name}"
        fit = {gpu.index for gpu in short.allowed} | {gpu.index for gpu, _ in busy}
        asks = next(copy.job.gpus for copy in copies if copy.name == short.task)
        others = [gpu for gpu in machine.gpus if gpu.index not in fit]
        lines += [f"GPU {gpu.index} {_lacking(gpu, asks)}" for gpu in others]
    elif any(wish.rank < UNKNOWN for wish in asking):
        wish = next(wish for wish in asking if wish.rank < UNKNOWN)
        message = f"{wish.task} needs {_gpus(wish.count)} joined by {words(wish.rank)}, and no such set is free"
    else:
        parts = ", ".join(f"{wish.task} {_part(wish)}" for wish in asking)
        message = f"these need GPUs at the same time: {parts}; {total - len(busy)} of {total} are free"
        gpus = [gpu for gpu in machine.gpus if gpu.index not in {other.index for other, _ in busy}] if share else []
        lines += [f"GPU {gpu.index} has {sums.gib(left(gpu))} of {sums.gib(gpu.memory)} GiB for shares" for gpu in gpus]
    foreign = not ignore_foreign and any(not unusable(gpu, machine, True, share) for gpu, _ in busy)
    hint = "wait for them: mgpu run --wait" if ever else "ask for fewer, or for a larger machine"
    hint += "; use GPUs that others use too with --ignore-foreign" if foreign else ""
    return NoRoom("\n  ".join([message, *lines]), hint, ever)


def unfitting(spec: Spec, plan: Plan) -> NoRoom | None:
    """The refusal of the first task that does not fit into the memory of its GPUs, with the sum and what would fit;
    None where all may."""
    task = next((task for task in plan.tasks if sums.verdict(task) == "does not fit"), None)
    if task is None or task.memory is None or isinstance(task.memory, Unknown):
        return None
    message = f"{task.name} does not fit: {sums.told(task.memory, task.layout)}"
    later = sums.worst(_emptied(task, task.memory)) != "does not fit"
    if later:
        return NoRoom(message, "it would fit were they empty: mgpu run --wait waits for that", ever=True)
    from mgpu.plan.advice import advice

    instead = "".join(f"{sentence}\n        " for sentence in advice(spec, plan.machine, task))
    return NoRoom(message, f"{instead}--force starts it all the same", ever=False)


def _emptied(task: Task, estimates: tuple[Estimate, ...]) -> list[Estimate]:
    """The same if nothing else were on the GPUs; a share does not grow by that."""
    memory = {gpu.index: gpu.memory if gpu.budget is None else gpu.budget for gpu in task.gpus}
    return [replace(estimate, room=memory[estimate.index]) for estimate in estimates]


def _lacking(gpu: Gpu, asks: Gpus) -> str:
    """Why a GPU is not what the spec asks for."""
    why = unfit(gpu, asks) or "is not what it asks for"
    return f"{why}, of {sums.gib(asks.memory)} GiB that are asked for" if asks.memory and "free" in why else why


def _least(asking: Sequence[Wish]) -> int | None:
    """The smallest share that is asked for; None where all want whole GPUs."""
    return min((wish.share for wish in asking if wish.share), default=None)


def _part(wish: Wish) -> str:
    return f"{wish.count}" if wish.share is None else f"{wish.count} x {sums.gib(wish.share)} GiB"


def _wanted(wish: Wish) -> str:
    if wish.share is None:
        return _gpus(wish.count)
    return f"{sums.gib(wish.share)} GiB of {'a GPU' if wish.count == 1 else f'each of {wish.count} GPUs'}"


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count != 1 else ''}"


def _could(count: int) -> str:
    return "can have none" if count == 0 else f"can have {count}"
