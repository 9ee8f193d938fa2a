"""Check specs, and say what is wrong with line and column."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mgpu.cli import show, source
from mgpu.errors import SpecError

if TYPE_CHECKING:
    from mgpu.values.spec import Spec


def add(parser: argparse.ArgumentParser) -> None:
    source.add_files(parser)
    parser.add_argument("--format", choices=("text", "json", "github"), default="text", help="how problems are printed")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    parser.add_argument("--resolved", action="store_true", help="print the spec that results from --set")


def main(options: argparse.Namespace) -> int:
    errors: list[SpecError] = []
    warnings: list[SpecError] = []
    paths = source.files(options.files)
    for path in paths:
        try:
            spec = source.spec(path, options.sets)
        except SpecError as error:
            errors.append(error)
        else:
            if options.format == "text":
                show.warn(spec.document, spec.warnings)
            elif spec.warnings:
                warnings.append(spec.document.error(*spec.warnings))
            if options.resolved:
                print(resolved(spec) if path == paths[0] else f"---\n{resolved(spec)}", end="")
    report(errors, warnings, len(paths), options)
    return 1 if errors else 0


def report(errors: list[SpecError], warnings: list[SpecError], count: int, options: argparse.Namespace) -> None:
    """Print the problems in the format asked for, and the sum of them on stderr."""
    if options.format == "json":
        import json

        print(
            json.dumps(
                {
                    "version": 1,
                    "specs": count,
                    "problems": [row for error in errors for row in show.problem_data(error)],
                    "warnings": [row for warning in warnings for row in show.problem_data(warning)],
                },
                indent=2,
            )
        )
    elif options.format == "github":
        lines = [*(show.github(e) for e in errors), *(show.github(w, "warning") for w in warnings)]
        print("".join(f"{line}\n" for line in lines), end="")
    elif errors:
        print("\n".join(show.spec_error(error, sys.stdout) for error in errors))
    if errors:
        problems = sum(len(error.problems) for error in errors)
        print(f"{problems} problem{'s' * (problems > 1)} in {len(errors)} of {count} specs", file=sys.stderr)
    elif not options.resolved:
        print(f"{count} spec{'s' * (count > 1)}: good", file=sys.stderr)


def resolved(spec: Spec) -> str:
    """The spec as YAML, after --set."""
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import ScalarNode

    from mgpu.spec.document import scalar
    from mgpu.values.document import Written

    yaml = YAML()
    yaml.width = 2**20
    yaml.representer.ignore_aliases = lambda data: True

    def number(dumper: Any, value: Written) -> Any:
        return dumper.represent_scalar(yaml.resolver.resolve(ScalarNode, value.text, (True, False)), value.text)

    def text(dumper: Any, value: str) -> Any:
        style = None if value.isprintable() and scalar(value) == value else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    yaml.representer.add_representer(Written, number)
    yaml.representer.add_representer(str, text)
    out = io.StringIO()
    yaml.dump(spec.document.data, out)
    return out.getvalue()
