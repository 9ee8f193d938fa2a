"""The files of a repository on the Hugging Face hub in, those that an engine reads out: weights in one format only."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Sequence

from mgpu.values.engine import Hub
from mgpu.values.said import said
from mgpu.values.spec import Job

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


FORMATS: dict[str, tuple[str, ...]] = {
    "dummy": (),
    "safetensors": ("*.safetensors",),
    "fastsafetensors": ("*.safetensors",),
    "instanttensor": ("*.safetensors",),
    "mistral": ("consolidated*.safetensors",),
    "npcache": ("*.bin",),
    "pt": ("*.pt",),
}
"""The weights that a load-format of vLLM and of SGLang, which has vLLM's, reads; every other takes the first that there
is of what the engine usually looks for."""


def loaded(job: Job, who: str, usual: tuple[str, ...]) -> Hub | None:
    """What vLLM or SGLang, called `who`, reads of the job's repository by its flags load-format, revision and
    download-dir; `usual` are the patterns of weights where the format is left to it."""
    model, form = job.model or "", str(said(job, "load-format") or "auto")
    if local(model):
        return None
    instead = f"{who} is told to keep it in download-dir, and fetches it at its start"
    revision, patterns = said(job, "revision"), FORMATS.get(form.lower(), usual)
    return Hub(
        model,
        lambda files, content: chosen(files, content, patterns),
        str(revision) if revision else None,
        instead=instead if said(job, "download-dir") else None,
    )


COMPONENTS = "model_index.json"
WEIGHTS = r"(?:diffusion_pytorch_model|pytorch_model|model)"


def pipeline(files: Sequence[str], content: Callable[[str], bytes], variant: str | None = None) -> list[str]:
    """The files of the components of a diffusers pipeline, and nothing beside them: a repository often holds the whole
    again in one file of another program's. Of a component's weights its variant, where it has one, and safetensors."""
    if COMPONENTS not in files:
        return []
    index = json.loads(content(COMPONENTS))
    there = [file for file in files if file not in index.get("_ignore_files", ())]
    folders = [name for name, kind in index.items() if isinstance(kind, list) and kind[:1] != [None]]
    read = {file for folder in folders for file in _component(folder, there, variant)}
    return [file for file in files if file == COMPONENTS or file in read]


def _component(folder: str, files: Sequence[str], variant: str | None) -> list[str]:
    """The texts of a component, and its weights in one format."""
    inside = [file for file in files if file.rpartition("/")[0] == folder]
    named = (re.escape(f".{variant}"), "") if variant else ("",)
    forms = (f"{WEIGHTS}{name}(-\\d+-of-\\d+)?\\.{end}" for name in named for end in ("safetensors", "bin"))
    found = ([file for file in inside if re.fullmatch(form, file.rpartition("/")[2])] for form in forms)
    return [file for file in inside if file.endswith(TEXTS)] + next((weights for weights in found if weights), [])
