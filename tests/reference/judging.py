"""A reference row and who answers in, whether the answer is right or how far off out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.reference.asking import OWN, Answer, asked, options, unmeasured

Row = Mapping[str, Any]
TIE = 1.05
"""Below this ratio two layouts are about equal."""


class Judged(NamedTuple):
    """What came of a row: the `error` of a number (None: it is none, or there is no answer), and for each verdict that
    it holds whether that was right."""

    kind: str
    name: str
    answered: bool
    error: float | None = None
    verdicts: tuple[bool, ...] = ()
    words: str = ""

    @property
    def line(self) -> str:
        """The row in a line."""
        how = "" if self.error is None else f"{100 * self.error:+8.3f} %"
        return f"{self.kind:24} {self.name:44} {how or ' '.join(map(str, self.verdicts)) or '-':>10}  {self.words}"


def judged(row: Row, known: Mapping[str, Answer]) -> Judged:
    """How the row is answered."""
    answer = known.get(row["kind"])
    given: object = None
    try:
        given = answer(asked(row)) if answer else None
    except Exception as error:  # noqa: BLE001 - a row that breaks the planner is a row without an answer
        given = error
    if row["kind"] in OWN:
        name = " ".join(str(value) for key, value in asked(row).items() if key != "kind" and value is not None)
        return _number(row["kind"], name, given, row[OWN[row["kind"]]], "bytes")
    if "inputs" in row:
        return _memory(row, given)
    return _sweep(row, given) if row["kind"] == "tp_sweep_nvswitch" else _layout(row, given)


def truth(row: Row) -> float | bool:
    """What is to come out: of the table that has twice too many heads, half of it."""
    published: float | bool = row["published"]
    return published / 2 if row["kind"] == "kv_known_wrong" else published


def _memory(row: Row, given: object) -> Judged:
    is_, name, right = row["kind"], row["id"], truth(row)
    if row["unit"] == "fits":
        fits = isinstance(given, bool) and given == right
        return Judged(is_, name, isinstance(given, bool), None, (fits,), f"{given} for {right}")
    return _number(is_, name, given, right, row["unit"])


def _number(kind: str, name: str, given: object, right: float, unit: str) -> Judged:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return Judged(kind, name, False, words=f"{given!r} for {right:g} {unit}")
    return Judged(kind, name, True, given / right - 1, (), f"{given:g} for {right:g} {unit}")


def _sweep(row: Row, given: object) -> Judged:
    names = ("lowest_tpot_tp", "best_per_gpu_tp")
    found = given if isinstance(given, Mapping) else {}
    verdicts = tuple(found.get(name) == row[name] for name in names)
    words = ", ".join(f"{name} {found.get(name)} for {row[name]}" for name in names)
    return Judged(row["kind"], row["id"], all(name in found for name in names), None, verdicts, words)


def tie(row: Row) -> bool:
    """Whether the two layouts did about equally well."""
    note, ratio = str(row.get("note") or "").lower(), row.get("ratio")
    return "tie" in note.split() or "about equal" in note or (ratio is not None and ratio < TIE)


def _layout(row: Row, given: object) -> Judged:
    better = options(row).index(unmeasured(row["better"], row.get("values")))
    right = given == better or (given == "tie" and tie(row))
    answered = given == "tie" or (isinstance(given, int) and not isinstance(given, bool))
    told = "a tie" if tie(row) else options(row)[better]
    return Judged(row["kind"], row["id"], answered, None, (right and answered,), f"{given} of {options(row)}: {told}")


@dataclass
class Tally:
    """What came of the rows of one kind."""

    rows: int = 0
    answered: int = 0
    errors: list[float] = field(default_factory=list)
    verdicts: int = 0
    right: int = 0

    @property
    def mean(self) -> float:
        """The mean of the errors, without their signs."""
        return sum(map(abs, self.errors)) / len(self.errors) if self.errors else 0.0

    @property
    def worst(self) -> float:
        """The largest of them."""
        return max(map(abs, self.errors), default=0.0)


def tallied(results: Iterable[Judged]) -> dict[str, Tally]:
    """The results by kind."""
    tallies: dict[str, Tally] = {}
    for result in results:
        tally = tallies.setdefault(result.kind, Tally())
        tally.rows += 1
        tally.answered += result.answered
        tally.errors += [] if result.error is None else [result.error]
        tally.verdicts += len(result.verdicts)
        tally.right += sum(result.verdicts)
    return tallies
