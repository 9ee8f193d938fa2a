"""An engine and a rendered command in, the refusal of the engine's own parser out, or None where it takes it.

MGPU_SERVING names a virtual environment with vLLM and SGLang, MGPU_TRAINING one with torchrun, DeepSpeed, accelerate
and TRL; what is not named is looked for beside this interpreter.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parsers.built import ask

SERVING = {"vllm": "vllm", "sglang": "sglang"}
TRAINING = {"torchrun": "torch", "deepspeed": "deepspeed", "accelerate": "accelerate", "trl": "trl"}
ENGINES = {**SERVING, **TRAINING}
"""Those whose parsers can be asked, and the package that each is in."""
PROGRAMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "vllm": (("vllm", "serve"), ("python3", "-m", "vllm.entrypoints.openai.api_server")),
    "sglang": (("sglang", "serve"), ("python3", "-m", "sglang.launch_server")),
    "torchrun": (("torchrun",), ("python3", "-m", "torch.distributed.run")),
    "deepspeed": (("deepspeed",),),
    "accelerate": (("accelerate", "launch"),),
    "trl": (("trl",),),
}


def interpreter(engine: str) -> Path | None:
    """The Python that has the engine; None where there is none."""
    folder = os.environ.get("MGPU_SERVING" if engine in SERVING else "MGPU_TRAINING")
    if folder:
        return Path(folder) / "bin" / "python"
    return Path(sys.executable) if importlib.util.find_spec(ENGINES[engine]) else None


def accepts(engine: str, argv: Sequence[str]) -> str | None:
    """What the parser has against one command. Raises LookupError where the engine is not installed."""
    return refusals(engine, [argv])[0]


def refusals(engine: str, commands: Sequence[Sequence[str]]) -> list[str | None]:
    """The same for many: starting an engine's parser takes seconds, asking it once more does not."""
    python = interpreter(engine)
    if python is None:
        raise LookupError(f"no interpreter has {engine}")
    lines = "".join(json.dumps(_flags(engine, argv)) + "\n" for argv in commands)
    return [json.loads(line) for line in ask(python, "accept", engine, text=lines).splitlines()]


def _flags(engine: str, argv: Sequence[str]) -> list[str]:
    """The words after the program's own; all where it is left to the image's entrypoint."""
    words = [str(word) for word in argv]
    first = Path(words[0]).name if words else ""
    for program in PROGRAMS[engine]:
        if (("python3" if first.startswith("python") else first), *words[1 : len(program)]) == program:
            return words[len(program) :]
    return words
