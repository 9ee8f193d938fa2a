"""The house as it was agreed: sizes, floors, types, and no shell anywhere. Each test names every offender."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.sizes import PACKAGE, ROOT, functions, modules

LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
SLOW = {"docker", "pynvml", "psutil", "rich", "platformdirs", "requests", "jinja2", "ruamel", "pydantic", "asyncio"}
SLOW |= {"huggingface_hub"}
VAGUE = {"utils", "util", "helpers", "helper", "manager", "base", "core", "common", "misc"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package by name, parsed."""
    for path in modules():
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def test_every_module_opens_with_a_sentence() -> None:
    assert not [name for name, tree in trees() if not ast.get_docstring(tree)]


def test_no_module_is_long_or_vaguely_named() -> None:
    assert not [path.name for path in modules() if len(path.read_text().splitlines()) > LONGEST_MODULE]
    assert not [path.name for path in modules() if path.stem in VAGUE]


def test_no_function_is_long() -> None:
    named = [(f"{path.stem}.{node.name}", lines) for path in modules() for node, lines in functions(path)]
    assert not [found for found in named if found[1] > LONGEST_FUNCTION]


def test_every_function_says_what_it_returns() -> None:
    assert not [f"{path.stem}.{node.name}" for path in modules() for node, _ in functions(path) if not node.returns]


def test_no_shell() -> None:
    assert not [f"{name}: {call}" for name, tree in trees() for call in shells(tree)]


def test_a_shell_would_be_seen() -> None:
    code = "run('ls', shell=True)\nos.system('ls')\nrun(['ls'], shell=False)\nrun(['ls'])"
    assert list(shells(ast.parse(code))) == ["run('ls', shell=True)", "os.system('ls')"]


def shells(tree: ast.Module) -> Iterator[str]:
    """The calls that hand words to a shell."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        asked = [ast.unparse(word.value) for word in call.keywords if word.arg == "shell"]
        if ast.unparse(call.func) in SHELLS or asked not in ([], ["False"]):
            yield ast.unparse(call)


def test_slow_libraries_are_imported_where_they_are_needed() -> None:
    tops = [(name, library) for name, tree in trees() for statement in tree.body for library in imported(statement)]
    assert not [found for found in tops if found[1] in SLOW]


def imported(statement: ast.stmt) -> list[str]:
    """The top-level packages that a statement imports."""
    if isinstance(statement, ast.Import):
        return [alias.name.partition(".")[0] for alias in statement.names]
    return [(statement.module or "").partition(".")[0]] if isinstance(statement, ast.ImportFrom) else []


def test_only_the_command_line_prints_or_exits() -> None:
    rooms = [(name, tree) for name, tree in trees() if not name.startswith("cli/")]
    calls = [(name, call) for name, tree in rooms for statement in tree.body for call in called(statement)]
    assert not [found for found in calls if found[1] in ("print", "sys.exit", "exit", "quit")]


def called(statement: ast.stmt) -> list[str]:
    """The functions that a module's statement calls; a program's own last words are its own."""
    if isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'":
        return []
    return [ast.unparse(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)]


def test_the_floors_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout
