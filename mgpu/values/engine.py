"""What an engine module says of its engine: facts, and the few functions that decide words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mgpu.values.asking import given_probe
from mgpu.values.command import Probe
from mgpu.values.flag import plain
from mgpu.values.mark import Path
from mgpu.values.plan import Layout, Task
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.limit import Limit
    from mgpu.values.memory import Correction, Estimate, Knob, Unknown
    from mgpu.values.model import Model
    from mgpu.values.recipe import Recipe

HUB_CACHE = (
    ("HF_HUB_CACHE", ""),
    ("HUGGINGFACE_HUB_CACHE", ""),
    ("HF_HOME", "hub"),
    ("XDG_CACHE_HOME", "huggingface/hub"),
    ("HOME", ".cache/huggingface/hub"),
)
"""Where models are kept: the first of these variables that is set, and what is below it (huggingface_hub.constants)."""


class Complaint(NamedTuple):
    """What an engine has against a job: `path` is relative to the job, and `key` points at the key in place of its
    value; a `warning` does not keep the job from running."""

    message: str
    path: Path = ()
    hint: str | None = None
    key: bool = False
    warning: bool = False


class Spelling(NamedTuple):
    """How the engine's parser wants its flags. `negation` makes a false flag (None: a false flag is left out);
    `equals`: a value that starts with a dash must be joined with ``=``, as argparse wants it."""

    negation: str | None = "--no-{}"
    equals: bool = True
    repeat: bool = False


class Hub(NamedTuple):
    """What a task reads of a repository on the Hugging Face hub. `choose` takes the paths of its files, and what gives
    the content of one, and says which are read; `cache` are the variables that name the folder of the engine's cache,
    each with what is below it; `instead` says why mgpu cannot fetch it, as a sentence about the engine."""

    repository: str
    choose: Callable[[Sequence[str], Callable[[str], bytes]], Sequence[str]]
    revision: str | None = None
    cache: tuple[tuple[str, str], ...] = HUB_CACHE
    instead: str | None = None


def nothing_of_the_hub(_: Task) -> Hub | None:
    """For engines that load no model of their own."""
    return None


def no_complaints(_: Job) -> Iterable[Complaint]:
    """For engines with nothing to object to."""
    return ()


def no_variables(_: Task) -> Mapping[str, Any]:
    """For engines that add nothing."""
    return {}


def none_to_write(_: Task) -> Mapping[str, Any]:
    """For engines without a config file."""
    return {}


def no_degrees(_: Job) -> Mapping[str, int]:
    """For engines whose ways of being parallel are all words of the spec."""
    return {}


def no_objections(_: Task) -> Iterable[Complaint]:
    """For engines that run on every GPU."""
    return ()


def no_estimate(task: Task, *_: object) -> Unknown:
    """For engines whose memory mgpu has no model of."""
    from mgpu.values.memory import Unknown

    return Unknown(f"what {task.job.engine} needs of a GPU's memory is not known")


def no_recipe(_: Job) -> Recipe | None:
    """For engines that train nothing, or nothing that is known."""
    return None


def no_split(*_: object) -> tuple[int, ...]:
    """For engines that share every layer, or whose shares nobody chooses."""
    return ()


def never(_: Task) -> bool:
    """For engines that end when a GPU's memory is full."""
    return False


def no_knobs(_: Task) -> Iterable[Knob]:
    """For engines of which nothing can be turned down."""
    return ()


def its_model(job: Job) -> str | None:
    """For engines whose model is what the spec calls model."""
    return job.model


def as_given(task: Task) -> Mapping[str, Any]:
    """For engines whose versions all take their flags by the names that specs have for them."""
    return task.job.args


def ranks(layout: Layout) -> int:
    """How many processes a training has: one a GPU, or without GPUs as many as `parallel` says."""
    return layout.data * layout.tensor * layout.pipeline


def threads(task: Task, count: int | None = None) -> Mapping[str, str]:
    """A rank's share of the cores; where they are not known, the 1 that torchrun itself sets, without its warning.
    There are `count` ranks, if not as many as the layout says."""
    return {"OMP_NUM_THREADS": str(max(1, (task.cpus or 1) // (count or ranks(task.layout))))}


def asked_ranks(job: Job) -> int | None:
    """How many processes the spec alone says; None where that is as many as there are free GPUs."""
    sizes = job.parallel
    by_layout = (sizes.data or 1) * (sizes.tensor or 1) * (sizes.pipeline or 1)
    return by_layout if job.gpus.count == 0 else job.gpus.count


def sharing(job: Job) -> int:
    """Over how many processes the spec says that one copy of the model is split."""
    return (job.parallel.tensor or 1) * (job.parallel.pipeline or 1)


Naming = Literal["uuid", "index", "nothing"]
"""How CUDA_VISIBLE_DEVICES names GPUs to a process; `nothing`: it must not be set."""


def by_uuid(_: str | None) -> Naming:
    """For engines that take UUIDs in CUDA_VISIBLE_DEVICES, in every version."""
    return "uuid"


def key_in_sight(job: Job, flags: Iterable[str], who: str, instead: str) -> Iterable[Complaint]:
    """Refuse a key that would stand in the command line, where everyone on the machine reads it."""
    for name in job.args:
        if plain(name) in flags:
            message = f"{who} takes {name} only as a word of its command line, where everyone on the machine reads it"
            yield Complaint(message, ("args", name), instead, key=True)


@dataclass(frozen=True)
class Engine:
    """An engine. `takes` are the spec keys that only some engines have, `requires` those it cannot do without; `lists`
    names, for a spec key that holds flags (args, script_args, config), the catalogue's list of them, with a version of
    its own behind ``@`` where it is not the engine's; `owned` maps a flag to the spec key that sets it; `entrypoint`
    are the leading words that the image's own entrypoint supplies; `shm` in bytes; `ulimits` those of its container;
    `cache` is the model cache inside the container, `cache_home` what of the host's home it is, `workspace` the spec's
    folder; `package` is the Python package whose version is the engine's; `rendezvous`: its ranks meet at a port, which
    mgpu chooses; `config` is the name of its config file, by which `${config}` is filled in; `key` is the variable that
    holds the key which a server asks for where it has one; `revision` is the flag that takes a model's commit;
    `finite`: it ends by itself when its work is done, and listens nowhere; `gguf`: it reads GGUF files; `degrees` are
    the ways of being parallel that are flags of its own, each with its number of GPUs.

    `check` looks at a job, `fits` at a task with its GPUs; `files` gives what is to be written before the start, by
    file name: plain data, dumped as the name's ending says, or text. Templates see the paths as ``files``, by
    the name without its ending. `arguments` are the job's `args` as this version takes them as flags, `environment`
    what it is given as variables. `model` is the name of the model that a job is about. `memory` says what a task
    needs on each of its GPUs, in their order, with what is known of its model and of this host; `split` is how
    many whole layers each is best given, where that has to be said, `recipe` how a job trains, `knobs` are the changes
    that make it need less, and `spills` says whether it leaves to the CPU what the GPUs do not hold; `limit` is how it
    is held to a share of a GPU, None where nothing holds it.
    """

    name: str
    kinds: tuple[str, ...]
    version: str | None = None
    image: str | None = None
    entrypoint: tuple[str, ...] = ()
    package: str | None = None
    port: int | None = None
    dimensions: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    requires: frozenset[str] = frozenset()
    lists: Mapping[str, str] = field(default_factory=dict)
    owned: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    key: str | None = None
    revision: str | None = None
    workspace: str = "/workspace"
    rendezvous: bool = False
    finite: bool = False
    gguf: bool = False
    shm: int | None = None
    ulimits: tuple[tuple[str, int], ...] = ()
    cache: str | None = None
    cache_home: str = ".cache/huggingface"
    stop_signal: str = "SIGTERM"
    stop_grace: float = 10.0
    spelling: Spelling = Spelling()
    names_gpus: Callable[[str | None], Naming] = by_uuid
    degrees: Callable[[Job], Mapping[str, int]] = no_degrees
    check: Callable[[Job], Iterable[Complaint]] = no_complaints
    fits: Callable[[Task], Iterable[Complaint]] = no_objections
    files: Callable[[Task], Mapping[str, Any]] = none_to_write
    probe: Callable[[Task], Probe | None] = given_probe
    variables: Callable[[Task], Mapping[str, Any]] = no_variables
    environment: Callable[[Task], Mapping[str, str]] = no_variables
    arguments: Callable[[Task], Mapping[str, Any]] = as_given
    hub: Callable[[Task], Hub | None] = nothing_of_the_hub
    model: Callable[[Job], str | None] = its_model
    memory: Callable[[Task, Model | None, Sequence[Correction]], tuple[Estimate, ...] | Unknown] = no_estimate
    split: Callable[[Task, Model], tuple[int, ...]] = no_split
    recipe: Callable[[Job], Recipe | None] = no_recipe
    knobs: Callable[[Task], Iterable[Knob]] = no_knobs
    spills: Callable[[Task], bool] = never
    limit: Limit | None = None

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """What `owned` holds, by the names of the flags with hyphens."""
        return {plain(name): owner for name, owner in self.owned.items()}

    @property
    def scripted(self) -> bool:
        """Whether it writes for the user, by his script or by itself: what it writes, in a container too, is to be
        the user's."""
        return self.finite or bool(self.requires & {"script", "config", "trainer"})
