"""One repository of the Hugging Face hub in, its files in a cache folder out, or in words why not.

It runs in a process of its own, forked for it, and says in lines of JSON first what is to come, then that it is there.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from mgpu.values.engine import Hub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    Message = dict[str, Any]

PATIENCE = 30.0
"""Seconds that one answer of the hub may take."""
DEATH = 1
"""PR_SET_PDEATHSIG, of prctl(2)."""


def carry(hub: Hub, cache: str, token: str | None, out: int) -> NoReturn:
    """Download, say how it went on the descriptor `out`, and end this process."""
    ctypes.CDLL(None).prctl(DEATH, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        _download(hub, cache, token, out)
        _say(out, {})
    except Exception as error:  # noqa: BLE001 - this process has nobody else to tell
        why, hint = words(error, hub, token is not None)
        _say(out, {"why": why, "hint": hint})
    finally:
        os._exit(0)


def _say(out: int, message: Message) -> None:
    os.write(out, json.dumps(message).encode() + b"\n")


def folder(repository: str) -> str:
    """What the hub's own tools call a repository's folder in a cache."""
    return "models--" + repository.replace("/", "--")


def _download(hub: Hub, cache: str, token: str | None, out: int) -> None:
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(token=token, library_name="mgpu")
    info = api.model_info(hub.repository, revision=hub.revision, files_metadata=True, timeout=PATIENCE)
    files = {file.rfilename: file for file in info.siblings or ()}
    chosen = hub.choose(list(files), lambda name: _content(api, hub, cache, name))
    if not chosen:
        raise LookupError
    place = os.path.join(cache, folder(hub.repository))
    blobs = {
        str(file.lfs.sha256 if file.lfs else file.blob_id): int(file.size or 0)
        for file in map(files.__getitem__, chosen)
        if not os.path.exists(os.path.join(place, "snapshots", str(info.sha), file.rfilename))
    }
    blobs = {name: size for name, size in blobs.items() if not os.path.exists(os.path.join(place, "blobs", name))}
    missing = sum(size - _begun(place, name) for name, size in blobs.items())
    plan = {"commit": info.sha, "blobs": blobs, "missing": missing, "folder": os.path.join(place, "blobs")}
    _say(out, plan)
    patterns = [glob.escape(name) for name in chosen]
    snapshot_download(
        hub.repository, revision=hub.revision, cache_dir=cache, token=token, allow_patterns=patterns, max_workers=4
    )


def _content(api: HfApi, hub: Hub, cache: str, name: str) -> bytes:
    path = api.hf_hub_download(hub.repository, name, revision=hub.revision, cache_dir=cache)
    with open(path, "rb") as file:
        return file.read()


def _begun(place: str, name: str) -> int:
    """The bytes of a blob that an earlier download has left, and the next one goes on from."""
    try:
        return os.stat(os.path.join(place, "blobs", f"{name}.incomplete")).st_size
    except OSError:
        return 0


def words(error: Exception, hub: Hub, known: bool) -> tuple[str, str]:
    """Why a download failed, and what to do. `known`: there was a token. No word of the error that may hold it."""
    import errno

    from huggingface_hub import errors

    name, at = hub.repository, f" at revision {hub.revision}" if hub.revision else ""
    login = "mend the token in HF_TOKEN" if known else "export HF_TOKEN=..., of an account that may read it"
    text = f"{type(error).__name__} {error} {error.__cause__ or ''}"
    if isinstance(error, errors.GatedRepoError):
        page = f"ask for access on https://huggingface.co/{name}"
        return f"{name} is gated: the hub gives it only to accounts that were let in", f"{page}; then {login}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {hub.revision}", "mend args: revision; the page of the model lists its branches"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the hub has no model {name}, or this account may not see it; nor is there a folder of that name",
            f"mend model:; or {login}",
        )
    if isinstance(error, errors.HFValidationError):
        return f"{name} is neither a folder that is there nor the name of a model on the hub", "mend model:"
    if isinstance(error, LookupError) and not isinstance(error, errors.EntryNotFoundError):
        return f"{name}{at} has no file that its engine reads", "mend model:; the page of the model lists its files"
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text:
        return f"the disk of the cache is full: {name} has come in part", "free space, then run it again: it goes on"
    if isinstance(error, PermissionError):
        hint = f"sudo chown -R $(id -un) on its folder: a container may have made it as root ({error.filename})"
        return f"the cache of {name} may not be written: {error.filename}", hint
    return _of_answer(error, name, login)


def _of_answer(error: Exception, name: str, login: str) -> tuple[str, str]:
    """The words for what the hub answered, or for no answer at all."""
    from huggingface_hub import constants, errors

    inner = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
    status = getattr(getattr(inner, "response", None), "status_code", None)
    if isinstance(inner, errors.OfflineModeIsEnabled):
        return f"{name} is not fetched: HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE"
    if status in (401, 403):
        return f"the hub refuses {name} with status {status}", login
    if status == 429:
        return f"the hub has had too many questions from this address, and refuses {name}", f"wait; or {login}"
    if status is not None:
        return f"the hub answers with status {status} for {name}", "run it again: what has come stays"
    kind = type(inner)
    if kind.__module__.split(".")[0] in ("httpx", "httpcore", "httpx2", "httpcore2", "requests", "urllib3"):
        return (
            f"the hub is not reached at {constants.ENDPOINT}: {kind.__name__}",
            "look at the network and the proxy (HTTPS_PROXY), then run it again: what has come stays",
        )
    return f"{name} cannot be fetched: {kind.__name__}", "run it again: what has come stays"
