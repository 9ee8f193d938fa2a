"""--allow in, the powers that a run may have out; or the refusal, with every power that its spec asks for besides."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mgpu.cli import show
from mgpu.errors import UsageError
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.powers import NAMES

if TYPE_CHECKING:
    from mgpu.values.spec import Spec


def add(parser: argparse.ArgumentParser) -> None:
    """--allow."""
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="POWER",
        help=f"give what the spec asks for: {', '.join(NAMES)}; repeatable, or with commas between",
    )


def granted(given: list[str]) -> frozenset[str]:
    """The powers that the words name. Raises UsageError for a word that is none."""
    words = [word.strip() for part in given for word in part.split(",")]
    known = {name.replace("_", "-"): name for name in NAMES}
    for word in words:
        if word.replace("_", "-") not in known:
            hint = f"say which: {', '.join(NAMES)}" if word == "all" else did_you_mean(word, NAMES)
            raise UsageError(f"--allow cannot be {word!r}", hint or f"one of: {', '.join(NAMES)}")
    return frozenset(known[word.replace("_", "-")] for word in words)


def refused(spec: Spec, folder: str, allowed: frozenset[str]) -> bool:
    """Whether the spec asks for more than is allowed: then all of that is printed, and what would allow it."""
    from mgpu.run import powers

    asked = powers.asked(spec, folder)
    lacking = [power for power in asked if power.name not in allowed]
    mine = {power.problem for power in spec.powers}
    show.warn(spec.document, [warning for warning in spec.warnings if warning not in mine])
    if not lacking:
        return False
    show.failed(spec.document.error(*(power.problem for power in lacking)))
    names = ",".join(name for name in NAMES if any(power.name == name for power in lacking))
    words = "mgpu: this spec asks for power over this host; if you trust it, run it with:"
    print(f"{words} --allow {names}", file=sys.stderr)
    return True
