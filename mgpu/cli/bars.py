"""Estimates of a task's GPUs in, a bar a GPU out: every line of memory a stretch with its letter, in text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Line, exactly

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FILLS = "█▒▓░"
"""Neighbours differ without colours too."""
COLOURS = (34, 32, 33, 35, 36, 31, 94, 92, 93, 95, 96)
FREE, OTHERS, MISSING = "·", "/", "!"
MORE = "cache for more"
"""What an engine that fills its budget makes of the rest of it."""
LEAST = 20


class Stretch(NamedTuple):
    """Cells of a bar: as many as `cells`, of the line with this `letter`; of none, `letter` is what fills it."""

    letter: str
    cells: int


def lines_of(estimate: Estimate) -> tuple[Line, ...]:
    """The lines of a GPU in the order in which they are drawn: what counts against the engine's budget, what it makes
    of the rest of that, and what is beside it."""
    inside = tuple(line for line in estimate.lines if not line.outside)
    outside = tuple(line for line in estimate.lines if line.outside)
    rest = (estimate.budget or 0) - estimate.inside.expected
    if rest <= 0:
        return (*inside, *outside)
    why = "the rest of what the engine allows itself"
    return (*inside, Line(MORE, exactly(rest), "source", why), *outside)


def letters(estimates: Sequence[Estimate]) -> dict[str, str]:
    """A letter for every line, the same on every GPU."""
    names = dict.fromkeys(line.name for estimate in estimates for line in lines_of(estimate))
    return {name: LETTERS[at % len(LETTERS)] for at, name in enumerate(names)}


def scale(pairs: Sequence[tuple[Gpu, Estimate]]) -> int:
    """The bytes that a whole bar stands for: those of the largest GPU, or of what will not fit."""
    return max(max(gpu.memory, used(gpu, estimate) + drawn(estimate)) for gpu, estimate in pairs)


def drawn(estimate: Estimate) -> int:
    """Bytes that the lines of a bar come to."""
    return sum(line.bytes.expected for line in lines_of(estimate))


def used(gpu: Gpu, estimate: Estimate) -> int:
    """Bytes of the GPU that others have."""
    return max(0, gpu.memory - estimate.room)


def bar(gpu: Gpu, estimate: Estimate, known: Mapping[str, str], whole: int, width: int) -> list[Stretch]:
    """The stretches of a bar of `width` cells for `whole` bytes. What is over the GPU's memory is MISSING."""
    parts = [(known[line.name], line.bytes.expected) for line in lines_of(estimate)]
    parts.append((OTHERS, used(gpu, estimate)))
    parts.append((FREE, max(0, gpu.memory - sum(size for _, size in parts))))
    edge, cells = round(gpu.memory * width / whole), list[str]()
    total = 0
    for letter, size in parts:
        total += size
        cells += letter * (round(total * width / whole) - len(cells))
    cells[edge:] = [MISSING if cell != FREE else cell for cell in cells[edge:]]
    return _stretches(cells)


def _stretches(cells: Sequence[str]) -> list[Stretch]:
    found: list[Stretch] = []
    for cell in cells:
        if found and found[-1].letter == cell:
            found[-1] = Stretch(cell, found[-1].cells + 1)
        else:
            found.append(Stretch(cell, 1))
    return found


def painted(stretches: Sequence[Stretch], colour: bool) -> str:
    """A bar as text: a stretch begins with its letter; in colour with ANSI's."""
    return "".join(_painted(stretch, colour) for stretch in stretches)


def _painted(stretch: Stretch, colour: bool) -> str:
    letter, count = stretch
    if letter not in LETTERS:
        text = letter * count
        return f"\033[31m{text}\033[0m" if colour and letter == MISSING else text
    at = LETTERS.index(letter)
    text = letter + FILLS[at % len(FILLS)] * (count - 1)
    return f"\033[{COLOURS[at % len(COLOURS)]}m{text}\033[0m" if colour else text


def key(letter: str, colour: bool) -> str:
    """A letter as it stands in the legend."""
    return f"\033[{COLOURS[LETTERS.index(letter) % len(COLOURS)]}m{letter}\033[0m" if colour else letter


def rows(pairs: Sequence[tuple[Gpu, Estimate]], width: int, *, colour: bool = False) -> list[str]:
    """A row a GPU: its number, its name where they are not all the same, its bar, and what is taken of it."""
    known, whole = letters([estimate for _, estimate in pairs]), scale(pairs)
    alike = len({gpu.name for gpu, _ in pairs}) == 1
    heads = [f"GPU {gpu.index}" + ("" if alike else f" {short(gpu)[:18]}") for gpu, _ in pairs]
    tails = [f"{taken(estimate) / GIB:.1f} of {estimate.room / GIB:.1f} GiB" for _, estimate in pairs]
    head, tail = max(map(len, heads)), max(map(len, tails))
    cells = max(LEAST, width - head - tail - 4)
    return [
        f"{name:<{head}} │{painted(bar(gpu, estimate, known, whole, cells), colour)}│ {end:>{tail}}"
        for name, end, (gpu, estimate) in zip(heads, tails, pairs, strict=True)
    ]


def taken(estimate: Estimate) -> int:
    """Bytes that are in use once it runs, or that are needed where these are more."""
    return max(estimate.taken.expected, estimate.total.expected)


def short(gpu: Gpu) -> str:
    """A GPU's name without its maker's."""
    return gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
