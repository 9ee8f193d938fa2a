"""The command line: one module a verb, found by name when it is called. Only this room prints or exits."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from mgpu.errors import MgpuError, UsageError

VERBS = {
    "validate": "check specs, and say what is wrong with line and column",
    "render": "print the commands that a spec means, for a machine at hand or given",
    "plan": "show what a spec needs of memory and what it gets: layout, speed and price; compare machines",
    "fit": "say which machines hold a model, how fast, and at what price; no spec needed",
    "lock": "write beside a spec which images and models it has now, for --locked",
    "pull": "fetch the images and models of a spec ahead of time; no GPU is taken",
    "run": "run a spec on this host",
    "ps": "list the runs of this host",
    "logs": "print what a run has written",
    "events": "show what has happened to runs, and samples of their GPUs",
    "stop": "stop runs",
    "why": "say why a run failed and what to change, or how it is",
    "calibrate": "keep what the boot log of a server shows of memory, for the plans of this host",
    "machine": "show the GPUs of this host, their links, and who holds them",
    "doctor": "look for what is wrong with this host, and say which command mends it",
    "engines": "list the engines, or explain one of them or one of its flags",
    "bench": "measure the links of this host, and keep the figures for plans",
    "new": "write a new spec from the catalogue",
    "schema": "print the spec language as JSON Schema",
}


def entry() -> None:
    """What the command `mgpu` calls: run the verb and exit with its code."""
    gc.set_threshold(50_000)  # imports make much and drop little: collecting meanwhile is a tenth of a cold start
    for stream in (sys.stdout, sys.stderr):  # the same bytes in every locale
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Carry out `argv`, print errors, and return the exit code."""
    from mgpu.cli import show

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

    verb = argv[0] if argv else "--help"
    if verb not in VERBS:
        return _answer(verb)
    module = import_module(f"mgpu.cli.{verb}")
    summary = VERBS[verb][0].upper() + VERBS[verb][1:]
    parser = argparse.ArgumentParser(f"mgpu {verb}", description=f"{summary}.", allow_abbrev=False)
    module.add(parser)
    return int(module.main(parser.parse_args(argv[1:])))


def _answer(word: str) -> int:
    """The answer to a first word that is no verb."""
    if word in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print("usage: mgpu VERB ...\n\nCompile job specs into multi-GPU commands, and run them.\n")
        print("\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items()))
        print("\nmgpu VERB --help says more. A spec to begin with: mgpu new")
        return 0
    if word in ("-V", "--version"):
        from mgpu import __version__

        print(f"mgpu {__version__}")
        return 0
    from mgpu.spec.nearest import did_you_mean

    raise UsageError(f"there is no verb {word!r}", did_you_mean(word, VERBS))


def _forget_stdout() -> None:
    """Nobody reads any more: keep the interpreter from failing again when it flushes at its end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
