"""The names of models in, what their own files on this host say of their sizes out.

A name is a file, a folder (the spec's own, or as a container sees it) or a repository in the cache of the hub.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgpu.catalog import configs
from mgpu.catalog.formats import gguf_file, gguf_mix
from mgpu.catalog.models import by_name
from mgpu.machine import architectures, ggufs, safetensors
from mgpu.memory.parts import parts
from mgpu.memory.weights import format_of
from mgpu.values.engine import HUB_CACHE
from mgpu.values.machine import Machine
from mgpu.values.model import Model, Stored

WORKSPACE = "/workspace/"
"""Where containers see the spec's folder."""
LONGEST = 2**24
"""The longest config.json that is read, in bytes."""
NEAR = 0.02
"""How well the weights of a model of an unknown kind must agree with its dimensions."""


def attached(machine: Machine, names: Iterable[str], folder: str, online: bool = False) -> Machine:
    """The machine with what the files of these models say; those without files are left out. Notes say what could not
    be read. `online`: of what is not here, the hub is asked for the config.json and the headers of its weights."""
    found, notes = [], []
    for name in dict.fromkeys(names):
        try:
            model = read(name, folder)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            notes.append(f"the files of {name} are not read: {why}")
            continue
        if model is None and online:
            from mgpu.machine.online import asked

            model, note = asked(name)
            notes += [note] if note else []
        found += [(name, model)] if model else []
    return replace(machine, models=(*machine.models, *found), notes=(*machine.notes, *notes))


def read(name: str, folder: str) -> Model | None:
    """The model of this name, if its files are here and say enough. Raises ValueError and OSError for files that are
    not what they should be."""
    place = located(name, folder)
    if place is None:
        return None
    if place.is_file():
        return of_gguf(name, [place]) if place.suffix == ".gguf" else of_folder(name, place.parent)
    tables = gguf_files(place, name)
    return of_gguf(name, tables) if tables else of_folder(name, place)


def located(name: str, folder: str) -> Path | None:
    """The file or the folder that the name means on this host."""
    inside = name.removeprefix(WORKSPACE) if name.startswith(WORKSPACE) else name
    for path in (Path(folder, os.path.expanduser(inside)), Path(os.path.expanduser(name))):
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            return path
    repository = name.partition(":")[0]
    return snapshot(repository, hub_cache(os.environ)) if re.fullmatch(r"[\w.-]+/[\w.-]+", repository) else None


def hub_cache(env: Mapping[str, str]) -> Path:
    """The folder of the hub's cache."""
    variable, below = next(((name, below) for name, below in HUB_CACHE if env.get(name)), ("", ""))
    return Path(env[variable], below) if variable else Path("~/.cache/huggingface/hub").expanduser()


def snapshot(repository: str, cache: Path) -> Path | None:
    """The files of a repository in the cache: of main, else the latest."""
    place = cache / ("models--" + repository.replace("/", "--"))
    main = place / "refs" / "main"
    if main.is_file():
        found = place / "snapshots" / main.read_text("ascii", "replace").strip()
        if found.is_dir() and found.parent.name == "snapshots":
            return found
    rest = [path for path in (place / "snapshots").glob("*") if path.is_dir()]
    return max(rest, key=lambda path: path.stat().st_mtime, default=None)


PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def gguf_files(folder: Path, name: str) -> list[Path]:
    """The files of one kind in a folder of GGUF files: that of the name (``:Q4_K_M``), else Q4_K_M, else the first."""
    found = sorted(path for path in folder.glob("**/*.gguf") if not path.name.startswith("mmproj"))
    by_mix: dict[str | None, list[Path]] = {}
    for path in found:
        by_mix.setdefault(gguf_mix(PART.sub(".gguf", path.name)), []).append(path)
    wanted = gguf_mix(name.partition(":")[2]) or "Q4_K_M"
    return by_mix.get(wanted) or next(iter(by_mix.values()), [])


def of_gguf(name: str, files: list[Path]) -> Model | None:
    """The model in GGUF files, of which the further ones hold only tensors."""
    first = PART.search(files[0].name)
    if first and len(files) == 1:
        files = [files[0].with_name(PART.sub(f"-{n:05}-of-{first[2]}.gguf", files[0].name)) for n in _all(first[2])]
    heads = [ggufs.head(path) for path in files]
    facts, table = heads[0].facts, [entry for head in heads for entry in head.tensors]
    tied = not any(entry.name == "output.weight" for entry in table)
    mix = gguf_file(facts.get("general.file_type", -1)) or gguf_mix(files[0].name) or "unknown"
    try:
        config = architectures.dimensions(facts, tied)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{files[0].name} lacks a dimension of its model ({error})") from None
    if config is None:
        return _as_listed(name, mix, table)
    model = configs.described(name, config, "float16", "GGUF table")
    params = sum(entry.numbers for entry in table)
    where = safetensors.placed(table, config["num_hidden_layers"])
    return replace(model, params=params, text_params=params, stored=Stored(mix, *where))


def _all(count: str) -> range:
    if not 1 <= int(count) <= 1000:
        raise ValueError(f"it claims to have {int(count)} parts")
    return range(1, int(count) + 1)


def _as_listed(name: str, mix: str, table: list[safetensors.Entry]) -> Model | None:
    """The catalogue's model of this name with the bytes of the file."""
    model = by_name(name)
    if model is None or model.layers is None:
        return None
    return replace(model, stored=Stored(mix, *safetensors.placed(table, model.layers)), origin="GGUF table")


def of_folder(name: str, folder: Path) -> Model | None:
    """The model in a folder with a config.json, and the bytes of its safetensors where they are there."""
    raw = config_of(folder)
    if raw is None:
        return None
    table = [entry for path in safetensors.files(folder) for entry in safetensors.entries(path)]
    return told(name, raw, table)


def config_of(folder: Path) -> dict[str, Any] | None:
    """The config.json of a folder. Raises ValueError where it is no mapping."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    if path.stat().st_size > LONGEST:
        raise ValueError("config.json is too long")
    try:
        raw = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("config.json is nested too deep") from None
    if not isinstance(raw, dict):
        raise ValueError("config.json holds no mapping")
    return raw


def told(name: str, raw: Mapping[str, Any], table: list[safetensors.Entry]) -> Model | None:
    """The model that a config.json and the headers of its weights tell. One of an unknown kind counts only where the
    weights agree with the dimensions, or the catalogue knows it by name."""
    model = configs.model_of(name, raw, "config.json")
    if model is None or model.layers is None:
        return None
    form = format_of(None, None, model)
    if table:
        where = Stored(form, *safetensors.placed(table, model.layers))
        model = replace(model, stored=where, origin="safetensors headers")
    counted = _counted(model)
    numbers = sum(entry.numbers for entry in table)
    if configs.known(raw) or (counted and numbers and abs(counted / numbers - 1) < NEAR):
        packed = form not in ("bf16", "fp16", "fp32", "fp8", "fp8-block")
        return replace(model, params=counted if packed or not numbers else numbers, text_params=counted)
    return None


def _counted(model: Model) -> int | None:
    try:
        return parts(model).text
    except ValueError:
        return None
