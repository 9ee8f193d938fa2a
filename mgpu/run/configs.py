"""Commands in, the config files that they name written, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mgpu.command.render import WRITTEN
from mgpu.errors import HostError
from mgpu.values.command import Command, File


def write(commands: Iterable[Command], folder: str) -> None:
    """Write the files of `commands`, all below the spec's `folder`, where git is told not to take them for the user's.

    Raises HostError for a folder that cannot be written.
    """
    files = [file for command in commands for file in command.files]
    ignored = [File(os.path.join(folder, WRITTEN, ".gitignore"), "*\n")] if files else []
    for file in (*ignored, *files):
        try:
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
            with open(file.path, "w", encoding="utf-8") as written:
                written.write(file.text)
        except OSError as error:
            words = f"the config file {file.path} cannot be written: {error.strerror}"
            raise HostError(words, "run the spec from a folder of your own") from error
