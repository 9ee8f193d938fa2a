"""The command line: one module a verb, found by name when it is called. Only this room prints or exits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

VERBS = {
    "validate": "check specs, and say what is wrong with line and column",
    "render": "print the commands that a spec means, for a machine at hand or given",
    "run": "run a spec on this host",
    "ps": "list the runs of this host",
    "logs": "print what a run has written",
    "stop": "stop runs",
    "machine": "show the GPUs of this host, their links, and who holds them",
    "new": "write a new spec from the catalogue",
    "schema": "print the spec language as JSON Schema",
}


def entry() -> None:
    """What the command `mgpu` calls: run the verb and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Carry out `argv`, print errors, and return the exit code."""
    from mgpu.cli import show
    from mgpu.errors import MgpuError

    try:
        return _called(argv)
    except MgpuError as error:
        return show.failed(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 141
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a message
        return show.crashed(error, argv)


def _called(argv: Sequence[str]) -> int:
    import argparse

    verb = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="mgpu", description="Compile job specs into multi-GPU commands, and run them."
    )
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        sub = verbs.add_parser(name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False)
        if name == verb:
            module = _module(name)
            module.add(sub)
    options = parser.parse_args(argv)
    return int(_module(options.verb).main(options))


def _module(verb: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"mgpu.cli.{verb}")


def _version() -> str:
    from mgpu import __version__

    return f"mgpu {__version__}"


def _forget_stdout() -> None:
    """Nobody reads any more: keep the interpreter from failing again when it flushes at its end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
