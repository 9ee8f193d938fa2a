"""What jobs want pinned in, a lock file's data out: digests as registries have them now, commits as the hub does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from mgpu.errors import HostError
from mgpu.plan.lock import COMMIT, LOCAL, VERSION, Wanted
from mgpu.run import preflight, registries
from mgpu.run.models import EXTRA, TOKEN


def answers(pins: tuple[Wanted, ...], folder: str, env: Mapping[str, str]) -> dict[str, Any]:
    """The data of the lock file for a spec that lies in `folder`, each image and model asked for once.

    Raises HostError where a registry or the hub refuses, or is not reached.
    """
    digest, commit = cache(registries.digest), cache(_commit)
    rows = {}
    for pin in pins:
        row = dict(pin.keys)
        if "image" in row:
            row["digest"] = digest(row["image"])
        if beside(pin, folder):
            row["commit"] = LOCAL
        elif "model" in row:
            secrets = (preflight.value(secret, env) for secret in pin.job.secrets if secret.name == TOKEN)
            row["commit"] = commit(row["model"], row.get("revision"), next(secrets, env.get(TOKEN)))
        rows[pin.name] = row
    return {"version": VERSION, "jobs": dict(sorted(rows.items()))}


def beside(pin: Wanted, folder: str) -> bool:
    """Whether the model is a folder of this host: the hub has no say in it."""
    model = pin.keys.get("model")
    return bool(model) and os.path.isdir(os.path.join(folder, os.path.expanduser(model or "")))


def _commit(repository: str, revision: str | None, token: str | None) -> str:
    if revision and COMMIT.fullmatch(revision):
        return revision
    if find_spec("huggingface_hub") is None:
        raise HostError(f"the hub is asked for {repository} with huggingface_hub, which is not installed", EXTRA)
    from huggingface_hub import HfApi

    from mgpu.run.download import PATIENCE, words
    from mgpu.values.engine import Hub

    try:
        info = HfApi(token=token, library_name="mgpu").model_info(repository, revision=revision, timeout=PATIENCE)
    except Exception as error:  # noqa: BLE001 - the hub's library raises what its own parts raise
        why, hint = words(error, Hub(repository, lambda files, _: files, revision), token is not None)
        raise HostError(why, hint) from None
    return str(info.sha)
