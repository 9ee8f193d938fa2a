"""``python -m tests.parsers NAME VERSION``: the list of an engine's flags, made from its own parser.

It asks the parser in an interpreter that has the engine (``--python``; this one where none is named) and lays over its
answer what stands in ``known/NAME.json``: ranges, meanings, what excludes what, what was removed. ``--write`` puts the
result into the catalogue instead of printing it; a new version of an engine is then a diff to read.

From parsers come the lists of vllm, sglang, lmdeploy, torchrun, deepspeed, accelerate and trl. All other lists are kept
by hand, because no interpreter has their parser: tgi is Rust, ollama Go, llamacpp C++; comfyui, a1111, forge and
kohya are in no package index; tensorrt-llm, xdit and llamafactory do not import without a GPU or much beside them;
deepspeed-config, accelerate-config and axolotl are files and not flags. Each list says in ``source`` what was read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mgpu.catalog.flags import FOLDER
from tests.parsers.built import MADE, built
from tests.parsers.layout import text


def main() -> None:
    """Print the list, or write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.parsers")
    parser.add_argument("name", choices=MADE)
    parser.add_argument("version")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="an interpreter that has the engine")
    parser.add_argument("--path", help="PYTHONPATH there: an unpacked package of another version")
    parser.add_argument("--write", action="store_true", help="into the catalogue")
    args = parser.parse_args()
    content = text(built(args.name, args.version, args.python, args.path))
    if not args.write:
        print(content, end="")
        return
    file = FOLDER / args.name / f"{args.version}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, "utf-8")


if __name__ == "__main__":
    main()
