"""The whole catalogue, rendered anywhere by anybody, is the same bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCALES = ("C", "C.UTF-8", "tr_TR.UTF-8")


def rendered(seed: int, locale: str, folder: Path) -> bytes:
    names = list(os.environ.items())
    random.Random(seed).shuffle(names)
    env = {
        **dict(names),
        "PYTHONHASHSEED": str(seed),
        "LC_ALL": locale,
        "PYTHONPATH": str(ROOT),
        "TZ": f"UTC{seed - 5}",
    }
    words = [sys.executable, "-m", "mgpu", "render", str(ROOT / "specs")]
    return subprocess.run(words, env=env, cwd=folder, capture_output=True, check=True).stdout


def test_the_catalogue_is_the_same_bytes_everywhere(tmp_path: Path) -> None:
    texts = {rendered(seed, LOCALES[seed % len(LOCALES)], (tmp_path, ROOT)[seed % 2]) for seed in range(10)}
    assert len(texts) == 1
    assert len(texts.pop().split(b"\n")) > 50
