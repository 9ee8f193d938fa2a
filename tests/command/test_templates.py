"""Templates hold words only, the environment they are rendered in holds them, and a wrong one is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from mgpu.command.options import Options
from mgpu.command.words import environment, words
from mgpu.errors import HostError
from mgpu.resources import folder

TEMPLATES = sorted(folder("templates").glob("*.sh.j2"))
ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.If, nodes.For, nodes.Const,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
)  # fmt: skip
QUOTES = "'\"`\\$"


def faults(text: str) -> list[str]:
    """What in a template would break its quoting, or decide more than which words stand there."""
    tree = Environment(autoescape=False).parse(text)
    found = [type(node).__name__ for node in tree.find_all(nodes.Node) if not isinstance(node, ALLOWED)]
    texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    return found + [f"{char} beside a value" for data in texts for char in QUOTES if char in data]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_words_only(path: Path) -> None:
    assert not faults(path.read_text())


@pytest.mark.parametrize(("text", "fault"), [
    ("{% macro m() %}x{% endmacro %}", "Macro"),
    ("{% set x = 1 %}", "Assign"),
    ("{% set x %}a{% endset %}", "AssignBlock"),
    ("{{ a ~ b }}", "Concat"),
    ("{{ a | join }}", "Filter"),
    ("{{ a | safe }}", "Filter"),
    ("'{{ a }}'", "' beside a value"),
    ('"{{ a }}"', '" beside a value'),
    ("$({{ a }})", "$ beside a value"),
    ("{{ a() }}", "Call"),
    ("{{ a[0] }}", "Getitem"),
    ("{% include 'x' %}", "Include"),
    ("{% filter upper %}a{% endfilter %}", "Filter"),
    ("{{ a if b else c }}", "CondExpr"),
    ("{{ a + b }}", "Add"),
])  # fmt: skip
def test_what_breaks_the_quoting_would_be_seen(text: str, fault: str) -> None:
    assert fault in faults(text)


VALUES = {"model": "a b", "args": Options([("--x", "y z"), ("--w",)]), "none": None, "layout": (2, 1), "yes": True}


@pytest.mark.parametrize(("text", "said"), [
    ("{{ nope }}", "'nope' is undefined"),
    ("{{ none }}", "it prints None, which is not a word: guard it with {% if %}"),
    ("{{ yes }}", "it prints True"),
    ("{{ layout }}", "expected string"),
    ("{{ model + 1 }}", "can only concatenate str"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{% for x in 3 %}{{ x }}{% endfor %}", "not iterable"),
    ("{% if %}", "Expected an expression"),
    ("x 'y", "No closing quotation"),
    ("x \\", "No escaped character"),
    ("", "it makes no words"),
    ("# a comment is no word", "it makes no words"),
    ("{% include 'mine.sh.j2' %}", "recursion"),
    ("{% include '../../etc/passwd' %}", "../../etc/passwd"),
    ("{{ model.__class__.__mro__ }}", "unsafe"),
    ("{{ [].append(1) }}", "unsafe"),
    ("{{ range(10 ** 9) | list }}", "Range too big"),
])  # fmt: skip
def test_a_wrong_template_is_told_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.sh.j2").write_text(text)
    environment.cache_clear()
    with pytest.raises(HostError) as caught:
        words("mine", VALUES, tmp_path)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"the template mine.sh.j2 in {tmp_path} fails: ")


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"there is no template vllm\.sh\.j2 in "):
        words("vllm", VALUES, tmp_path)


def test_lines_options_and_comments(tmp_path: Path) -> None:
    (tmp_path / "mine.sh.j2").write_text("run {{ model }}  # the model\n# and its flags\n\n{{ args }}\n--end\n")
    environment.cache_clear()
    assert words("mine", VALUES, tmp_path) == [["run", "a b"], ["--x", "y z"], ["--w"], ["--end"]]
