"""Print the spec language as JSON Schema."""

from __future__ import annotations

import argparse

from mgpu.spec.schema import text


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print the spec language as JSON Schema, for editors and for tools."


def main(options: argparse.Namespace) -> int:
    print(text(), end="")
    return 0
