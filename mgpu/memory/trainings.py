"""A task that trains, its model and its recipe in, an estimate for each of its GPUs out, and what would need less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mgpu.values.mark import Path
from mgpu.values.memory import GIB, Estimate, Knob, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.recipe import Recipe
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.memory import Estimating

HINT = "add model: and recipe: {method: full, precision: amp, micro_batch: 1, sequence: 2048}"


def estimated(task: Task, model: Model | None, recipe: Recipe | None) -> tuple[Estimate, ...] | Unknown:
    """What each GPU needs, or what is not known and what would tell it."""
    if recipe is None:
        return Unknown("the script is the user's own, and the spec does not say what it trains, nor how", HINT)
    if model is None:
        return Unknown("the sizes of the model that is trained are not known", "add model:, or model_facts:")
    if model.kind != "llm":
        return Unknown(f"only the training of language models is reckoned here, and {model.id} is none")
    from mgpu.memory.training import lines

    try:
        found = lines(model, recipe, max(1, len(task.gpus)))
    except ValueError as error:
        return Unknown(str(error), "add model_facts:")
    return tuple(Estimate(gpu.index, found, gpu.free) for gpu in task.gpus)


def trained(recipe: Callable[[Job], Recipe | None]) -> Estimating:
    """What the tasks of an engine need whose jobs train as `recipe` reads in them."""
    return lambda task, model, _: estimated(task, model, recipe(task.job))


def host_warning(model: Model, recipe: Recipe, ranks: int, memory: int | None) -> str | None:
    """A sentence where what is offloaded is more than the host's `memory` (bytes), or most of it; None otherwise."""
    from mgpu.memory.states import host_bytes

    size = host_bytes(model, recipe, ranks)
    if not memory or size < 0.8 * memory:
        return None
    verb = "is more than" if size > memory else "is most of"
    return f"{size / GIB:.0f} GiB are put into the host's memory, which {verb} its {memory / GIB:.0f} GiB"


class Lever(NamedTuple):
    """Where an engine's job says something, and what is to be said there to turn it down; `value` None: the number
    itself."""

    path: Path
    value: Any = None


BY_RECIPE: Mapping[str, Lever] = {
    "checkpointing": Lever(("recipe", "checkpointing"), True),
    "loss": Lever(("recipe", "loss"), "fused"),
    "optimizer": Lever(("recipe", "optimizer"), "adamw-8bit"),
    "offload": Lever(("recipe", "offload_optimizer"), True),
    "micro_batch": Lever(("recipe", "micro_batch")),
    "sequence": Lever(("recipe", "sequence")),
    "method": Lever(("recipe", "method"), "lora"),
}
"""For engines whose script is the user's own: it has to do as the spec then says."""


def levers(recipe: Recipe | None, at: Mapping[str, Lever]) -> Iterator[Knob]:
    """The changes that make a training need less, the cheapest first, where `at` says how this engine takes them."""
    if recipe is None:
        return
    switches = (
        ("loss", recipe.loss == "eager", "a fused loss, which makes the logits piece by piece", 1),
        ("checkpointing", not recipe.checkpointing, "gradient checkpointing: about a third more computing", 1),
        ("optimizer", recipe.optimizer in ("adamw", "adamw-fused"), "an optimizer whose states have 8 bits", 4),
        ("offload", bool(recipe.stage) and not recipe.offload_optimizer, "the optimizer in the host's memory", 1),
        ("method", recipe.method == "full", "a LoRA in place of all weights", 4),
    )
    for name, wanted, words, cost in switches:
        if wanted and name in at:
            told = f"{words} (the script has to do so too)" if at is BY_RECIPE else words
            yield Knob(at[name].path, at[name].value, told, cost)
    if recipe.sharding in ("ddp", "none", "zero-1", "zero-2") and "stage" in at and recipe.deepspeed:
        yield Knob(at["stage"].path, recipe.stage + 1, f"stage {recipe.stage + 1} of ZeRO", 1)
    if recipe.micro_batch > 1 and "micro_batch" in at:
        half = recipe.micro_batch // 2
        yield Knob(at["micro_batch"].path, half, f"{half} samples at once, accumulated to the same batch", 1)
    if recipe.sequence > 512 and "sequence" in at:
        yield Knob(at["sequence"].path, recipe.sequence // 2, f"samples of {recipe.sequence // 2} tokens", 3)
