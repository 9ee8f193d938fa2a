"""The stages measured in one process: the catalogue compiled and printed, and placement on a very large machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from mgpu import compile, compile_spec
from mgpu.cli.new import catalogue as specs
from mgpu.command.text import script
from mgpu.machine.file import resolve
from mgpu.plan import place
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.document import Document
from mgpu.values.machine import Machine
from tests.bench.figure import Figure, interleaved, milliseconds, repeated

Case = tuple[str, str, Document, Machine]

ROUNDS = 10
GPUS = 1024
SPECS = {
    "1": "{kind: task, command: [x], gpus: 1}",
    "8": "{kind: task, command: [x], gpus: 8}",
    "all": "{kind: task, command: [x], gpus: all}",
    "16 x 8": "{kind: task, command: [x], gpus: 8, replicas: 16}",
}


def catalogue() -> Iterator[Figure]:
    """Specs a second over the whole catalogue, each for the machine it names: from text, and from parsed Documents."""
    cases = [_case(name, path.read_text()) for name, path in specs().items()]

    def from_text() -> None:
        for name, text, _, machine in cases:
            done = compile(text, machine, name)
            script(done.plan, done.commands)

    def from_documents() -> None:
        for _, _, document, machine in cases:
            done = compile_spec(check(document), machine)
            script(done.plan, done.commands)

    works = [_rounds(from_text), _rounds(from_documents)]
    text, documents = interleaved(works, 7)
    count = len(cases) * ROUNDS
    yield _rate("catalogue rendered, parsing included", count, text, 150)
    yield _rate("catalogue rendered, from parsed Documents", count, documents, 300)


def placement() -> Iterator[Figure]:
    """Placing jobs on 1,024 GPUs, NVLink islands of eight."""
    machine = resolve(f"{GPUS}xh100-sxm")
    for gpus, text in SPECS.items():
        spec = check(read("bench.mgpu.yaml", text))
        yield milliseconds(f"place {gpus} of {GPUS:,} GPUs", repeated(partial(place, spec, machine), 9), 50)


def _case(name: str, text: str) -> Case:
    document = read(name, text)
    return name, text, document, resolve(document.data["machine"])


def _rounds(work: Callable[[], object]) -> Callable[[], None]:
    def rounds() -> None:
        for _ in range(ROUNDS):
            work()

    return rounds


def _rate(name: str, count: int, seconds: list[float], bound: float) -> Figure:
    return Figure(name, count / min(seconds), count / median(seconds), "specs/s", bound, more_is_better=True)
