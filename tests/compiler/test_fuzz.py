"""Mutated specs: whatever is in a file, the answer is a plan or an error about the spec, soon and in little memory."""

from __future__ import annotations

import os
import random
import resource
import time
from pathlib import Path

from mgpu import compile
from mgpu.catalog.machines import shorthand
from mgpu.errors import NoRoom, SpecError

INPUTS = 100_000 if os.environ.get("MGPU_SOAK") else 2_500
SECONDS, BYTES = 2.0, 256 * 2**20
ROOT = Path(__file__).parents[2]
TOKENS = [
    "\t",
    "\n",
    ":",
    " ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!x ",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "---",
    "...",
    "? ",
    "<<: ",
    "\0",
    "\x1b",
    "\u2028",
    "\ud800",
    "\ufeff",
    "1e999",
    ".nan",
    "0x",
    "-1",
    "9" * 50,
    "${jobs.",
    "}",
    "~",
    "null",
    "true",
    "kind: ",
    "gpus: ",
    "needs: ",
    "x" * 300,
]


def mutated(text: str, dice: random.Random) -> str:
    """`text` with a few pieces removed, doubled, swapped or put in."""
    for _ in range(dice.choice((1, 1, 1, 2, 6))):
        a, b = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + dice.choice((1, 1, 3, 20, 200)))
        what = dice.randrange(5)
        if what == 0:
            text = text[:a] + text[b:]
        elif what == 1:
            text = text[:b] + text[a:b] * dice.choice((1, 2, 30)) + text[b:]
        elif what == 2:
            text = text[:a] + dice.choice(TOKENS) * dice.choice((1, 1, 70)) + text[a:]
        elif what == 3:
            text = text[:a] + chr(dice.randrange(0x110000)) + text[b:]
        else:
            lines = text.split("\n")
            at = dice.randrange(len(lines))
            lines[at] = dice.choice(("  ", "\t", "")) + lines[dice.randrange(len(lines))]
            text = "\n".join(lines)
    return text[: 300 * 1024]


def test_only_errors_about_the_spec() -> None:
    seeds = [path.read_text() for folder in ("specs", "examples") for path in (ROOT / folder).rglob("*.mgpu.yaml")]
    seeds += [block.partition("\n")[2] for block in (ROOT / "tests/compiler/bad_specs.txt").read_text().split("=== ")]
    machine, dice = shorthand("1xrtx-4090"), random.Random(7)
    worst, outcomes = 0.0, {"plan": 0, "SpecError": 0, "NoRoom": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(INPUTS):
        text = mutated(dice.choice(seeds), dice)
        began = time.process_time()
        try:
            compile(text, machine)
            outcomes["plan"] += 1
        except (SpecError, NoRoom) as error:
            outcomes[type(error).__name__] += 1
        took = time.process_time() - began
        worst = max(worst, took)
        assert took < SECONDS, text
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"\n{INPUTS:,} mutated specs: {outcomes}, worst {worst:.3f} s, {grown / 2**20:.0f} MiB more than at the start"
    )
    assert grown < BYTES
    assert all(outcomes.values())
