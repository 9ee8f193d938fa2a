"""What the README shows is what happens: its specs are checked, its commands exist, and what it prints is printed."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from mgpu.cli import VERBS
from mgpu.cli.new import catalogue
from mgpu.spec.language import KEYS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language and its lines."""

    language: str
    lines: list[str]


BLOCKS = [Block(language, body.splitlines()) for language, body in re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)]


def of(language: str) -> list[list[str]]:
    return [block.lines for block in BLOCKS if block.language == language]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "yaml", "console"}


@pytest.mark.parametrize("line", [line for lines in of("sh") for line in lines])
def test_a_command_exists(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        assert words[0] in TARGETS
    elif program == "pip":
        assert words[0] == "install"
        extra = re.fullmatch(r"\.(\[(\w+)\])?", words[1])
        assert extra
        assert extra[2] is None or f"\n{extra[2]} = [" in (ROOT / "pyproject.toml").read_text()
    else:
        assert program == "mgpu"
        options = parsed(words[0], words[1:])
        assert words[0] != "new" or options.name in catalogue()


def parsed(verb: str, words: list[str]) -> argparse.Namespace:
    """The words as the verb's own parser reads them; it exits where it cannot."""
    parser = argparse.ArgumentParser()
    import_module(f"mgpu.cli.{verb}").add(parser)
    return parser.parse_args(words)


def test_what_it_prints_is_printed(tmp_path: Path) -> None:
    for first, *rest in of("yaml"):
        (tmp_path / first.removeprefix("# ")).write_text("\n".join([first, *rest]) + "\n")
    for command, *shown in of("console"):
        words = shlex.split(command.removeprefix("$ mgpu "))
        argv = [sys.executable, "-m", "mgpu", *words]
        result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.stdout.splitlines() == shown, command


def test_its_specs_are_good_or_called_wrong(tmp_path: Path) -> None:
    for first, *rest in of("yaml"):
        file = tmp_path / first.removeprefix("# ")
        file.write_text("\n".join([first, *rest]) + "\n")
        argv = [sys.executable, "-m", "mgpu", "validate", str(file)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert result.returncode == (1 if "wrong" in file.name else 0), result.stdout


def test_the_verbs_are_all_there_and_no_other() -> None:
    assert sorted(re.findall(r"^\| `mgpu (\w+)", TEXT, re.MULTILINE)) == sorted(VERBS)


def test_the_keys_are_all_there_and_no_other() -> None:
    table = TEXT.partition("| key | what it says |")[2].partition("\n\n")[0]
    keys = {key for line in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert keys == {key for known in KEYS.values() for key in known}
