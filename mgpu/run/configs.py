"""Commands in, the config files that they name written, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mgpu.errors import HostError
from mgpu.values.command import Command


def write(commands: Iterable[Command], folder: str) -> None:
    """Write the files of `commands` below the spec's `folder`, where no version control takes them for the user's.

    Raises HostError for a folder that cannot be written.
    """
    for file in [file for command in commands for file in command.files]:
        try:
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
            _ignored(os.path.join(folder, os.path.relpath(file.path, folder).split(os.sep)[0]))
            with open(file.path, "w", encoding="utf-8") as written:
                written.write(file.text)
        except OSError as error:
            words = f"the config file {file.path} cannot be written: {error.strerror}"
            raise HostError(words, "run the spec from a folder of your own") from error


def _ignored(folder: str) -> None:
    """Tell git to leave the folder alone."""
    with open(os.path.join(folder, ".gitignore"), "w", encoding="utf-8") as file:
        file.write("*\n")
