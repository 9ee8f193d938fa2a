"""The files of a repository on the Hugging Face hub in, those that an engine reads out: weights in one format only."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence

TEXTS = (".json", ".jinja", ".model", ".py", ".tiktoken", ".txt")
"""What configurations, tokenizers, chat templates and code of a model are written in."""
INDEX = "model.safetensors.index.json"


def local(model: str) -> bool:
    """Whether a model is a path or an address rather than a repository."""
    return model.startswith(("/", ".", "~")) or "://" in model


def chosen(files: Sequence[str], content: Callable[[str], bytes], patterns: Sequence[str]) -> list[str]:
    """The texts, and the weights of the first of `patterns` that any file has; where an index lists the parts, those
    (a repository may hold its weights twice)."""
    files = [file for file in files if not file.startswith("original/")]
    top = [file for file in files if "/" not in file]
    pattern = next((pattern for pattern in patterns if fnmatch.filter(top, pattern)), None)
    if pattern == "*.safetensors" and INDEX in files:
        weights = set(json.loads(content(INDEX))["weight_map"].values())
    else:
        weights = set(fnmatch.filter(files, pattern)) if pattern else set()
    return [file for file in files if file.endswith(TEXTS) or file in weights]
