"""An engine's name, version and interpreter in, the data of its list out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.parsers.merge import merged

HERE = Path(__file__).parent
INSIDE = HERE / "inside.py"
MADE = ("accelerate", "deepspeed", "lmdeploy", "sglang", "torchrun", "trl", "vllm")
"""The lists that come from a parser."""
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
"""No parser needs the network or a GPU. Neither does it need a configuration that the user has: see HF_HOME."""


class OtherVersion(Exception):
    """The interpreter has the engine in another version than the list is of."""


def built(name: str, version: str, python: Path, path: str | None = None) -> dict[str, Any]:
    """The parser's answer with what is known beside it. Raises OtherVersion."""
    answer = json.loads(ask(python, "flags", name, path=path))
    if answer["version"] != version:
        raise OtherVersion(f"{python} has {name} {answer['version'] or 'without a version'}, not {version}")
    known = _known(name)
    known["excludes"] = [*answer["excludes"], *known.get("excludes", [])]
    entries = {**known.get("more", {}), **answer["flags"]}
    data = merged(entries, known, version, known["source"].format(version=version))
    if answer["more"]:
        launch = merged(answer["more"], _known("accelerate"), version, "")
        data["flags"] = {**launch["flags"], **data["flags"]}
        data["excludes"] += launch["excludes"]
    return data


def _known(name: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((HERE / "known" / f"{name}.json").read_text("utf-8"))
    return known


def ask(python: Path, *words: str, text: str = "", path: str | None = None) -> str:
    """What the program `inside` says in another interpreter."""
    environment = {**os.environ, **QUIET, "HF_HOME": os.devnull, "PYTHONPATH": path or ""}
    done = subprocess.run(
        [python, INSIDE, *words], input=text, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{python} {' '.join(words)}: {done.stderr.strip()[-2000:]}")
    return done.stdout
