"""The name of a repository in, what the hub says of its model's sizes out.

It is asked for config.json and the headers of the weights, for nothing else, and only where a user wants it.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from mgpu.machine.models import told
from mgpu.machine.safetensors import Entry
from mgpu.values.model import Model

EXTRA = "pip install 'mgpu-cli[hub]'"
SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}
"""Bytes of a number by the file's word for its type; every other has one."""


def asked(name: str) -> tuple[Model | None, str | None]:
    """The model, or None and why in words."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None, None
    if find_spec("huggingface_hub") is None:
        return None, f"the hub is not asked for {name}: huggingface_hub is not installed ({EXTRA})"
    try:
        raw, table = _answers(name)
    except Exception as error:  # noqa: BLE001 - the hub's library raises what its own parts raise
        return None, f"the hub does not tell the sizes of {name}: {type(error).__name__}"
    model = told(name, raw, table)
    if model is None:
        return None, f"the config.json of {name} is of a kind that mgpu does not know"
    return replace(model, origin="the hub"), None


def _answers(name: str) -> tuple[dict[str, Any], list[Entry]]:
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi
    from huggingface_hub.errors import NotASafetensorsRepoError

    api = HfApi(token=os.environ.get("HF_TOKEN") or None, library_name="mgpu")
    with TemporaryDirectory() as folder:
        path = api.hf_hub_download(name, "config.json", local_dir=folder)
        with open(path, "rb") as file:
            raw = json.load(file)
    if not isinstance(raw, dict):
        raise TypeError("config.json holds no mapping")
    try:
        found = api.get_safetensors_metadata(name)
    except NotASafetensorsRepoError:
        return raw, []
    return raw, [
        Entry(key, tensor.dtype, tensor.parameter_count, tensor.parameter_count * SIZES.get(tensor.dtype, 1))
        for part in found.files_metadata.values()
        for key, tensor in part.tensors.items()
    ]
