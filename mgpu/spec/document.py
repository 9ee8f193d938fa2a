"""A YAML text in, a Document out: plain data with the line and column of every key and value, within limits.

The tree is built from the parser's events, so that depth, size and aliases are bounded while reading and not after:
an alias bomb is refused at its five thousandth node, whatever it would have grown to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from mgpu.errors import Problem
from mgpu.spec.notes import show
from mgpu.spec.syntax import plainly
from mgpu.values.document import Document, Written
from mgpu.values.mark import Mark, Path

MAX_BYTES = 256 * 1024
MAX_NODES = 5_000
"""Values, and quarters of a KiB of text, in one document; those behind an alias count each time."""
MAX_DEPTH = 64

INTEGER = re.compile(r"0|-?[1-9][0-9]*")
NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    r"|0o[0-7]+|0x[0-9a-fA-F]+"
)
SURROGATE = re.compile("[\ud800-\udfff]")
SEPARATOR = re.compile("[\x85\u2028\u2029]")
"""What YAML 1.1 took for line breaks, the parser still does, and no editor shows as one."""
WORDS = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.title(), word.upper())
}
MAX_DIGITS = 40


def read(name: str, text: str) -> Document:
    """The document in `text`; `name` is what errors call it. Raises SpecError with the first thing that is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        _refuse(
            name, text, f"this document has more than {MAX_BYTES // 1024} KiB", Mark(1, 1), "a spec is a page or two"
        )
    return _Reader(name, text).document()


def scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2: None, a bool, an int, a number as written, or the text itself.

    An int is only what everyone writes so: ``0755`` and ``0x1f`` are numbers whose text would be lost.
    """
    if text in WORDS:
        return WORDS[text]
    if len(text) > MAX_DIGITS:
        return text
    if INTEGER.fullmatch(text):
        return int(text)
    return Written(text) if NUMBER.fullmatch(text) else text


def _refuse(name: str, text: str, message: str, mark: Mark, hint: str | None = None) -> NoReturn:
    raise Document(name, text, None, {}, {}).error(Problem(message, (), mark, hint))


class _Reader:
    """One pass over the parser's events. What an anchor marked is kept as data, and aliases share it."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}
        self.nodes = 0

    def document(self) -> Document:
        events = self.events()
        data: Any = None
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and self.nodes:
                self.refuse("a second document starts here", event, "one spec per file: remove the line ---")
            if kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"):
                data, _ = self.node(event, events, (), 1)
        if not isinstance(data, dict):
            what = "is empty" if data is None else "is not a mapping of keys to values"
            _refuse(self.name, self.text, f"this document {what}", Mark(1, 1), "start from one of `mgpu new`")
        return Document(self.name, self.text, data, self.keys, self.values)

    def events(self) -> Iterator[Any]:
        import warnings

        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
        from ruamel.yaml.reader import ReaderError

        if separator := SEPARATOR.search(self.text):
            self.control("an invisible line separator", separator.start())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield from YAML(typ="safe", pure=True).parse(self.text)
        except MarkedYAMLError as error:
            _refuse(self.name, self.text, *plainly(error, self.text))
        except ReaderError as error:
            self.control("a control character", error.position)
        except (YAMLError, YAMLStreamError, ValueError) as error:
            _refuse(self.name, self.text, f"this is not YAML: {str(error).splitlines()[0]}", Mark(1, 1))

    def control(self, what: str, at: int) -> NoReturn:
        place = Mark(self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at))
        hint = "remove it, or write it escaped in double quotes"
        _refuse(self.name, self.text, f"{what} stands here: {self.text[at]!a}", place, hint)

    def refuse(self, message: str, event: Any, hint: str | None = None) -> NoReturn:
        _refuse(self.name, self.text, message, _mark(event), hint)

    def count(self, event: Any, size: int, depth: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            self.refuse(f"this document has more than {MAX_NODES:,} values, aliases counted each time", event)
        if depth > MAX_DEPTH:
            self.refuse(f"this is nested more than {MAX_DEPTH} deep", event)

    def node(self, event: Any, events: Iterator[Any], path: Path, depth: int) -> tuple[Any, int]:
        """The data that starts at `event`, and how many levels deep it goes."""
        self.values[path] = _mark(event)
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self.alias(event, depth)
        before = self.nodes
        self.count(event, 1 + len(getattr(event, "value", "")) // 256, depth)
        if event.tag is not None and event.tag != "!":
            written = str(event.tag).replace("tag:yaml.org,2002:", "!!")[:40]
            self.refuse(f"the tag {written} is not allowed", event, "specs are plain data: remove the tag")
        if event.anchor:
            self.anchors[event.anchor] = None
        deep = 1
        data: Any
        if kind == "ScalarEvent":
            data = scalar(event.value) if event.implicit[0] else event.value
            if isinstance(data, str):
                data = self.text_of(data, event)
        elif kind == "SequenceStartEvent":
            data, deep = self.sequence(events, path, depth)
        else:
            data, deep = self.mapping(events, path, depth)
        if event.anchor:
            self.anchors[event.anchor] = (data, self.nodes - before, deep)
        return data, deep

    def text_of(self, text: str, event: Any) -> str:
        """A text as programs can be given it: pairs of escaped surrogates, as JSON writes them, are one character."""
        if "\0" in text:
            self.refuse("a NUL character cannot be passed to any program", event)
        if text.isascii() or not SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.refuse("half a character stands here (a lone surrogate)", event, "write the character itself")

    def alias(self, event: Any, depth: int) -> tuple[Any, int]:
        known = self.anchors.get(event.anchor)
        if known is None:
            if event.anchor in self.anchors:
                self.refuse(f"the alias *{event.anchor} contains itself", event)
            hint = "put quotes around a text that starts with *"
            self.refuse(f"the alias *{event.anchor} is not defined above", event, hint)
        data, size, deep = known
        self.count(event, size, depth + deep - 1)
        return data, deep

    def sequence(self, events: Iterator[Any], path: Path, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        deepest = 0
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            item, deep = self.node(event, events, (*path, len(items)), depth + 1)
            items.append(item)
            deepest = max(deepest, deep)
        return items, deepest + 1

    def mapping(self, events: Iterator[Any], path: Path, depth: int) -> tuple[dict[str, Any], int]:
        table: dict[str, Any] = {}
        deepest = 0
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self.key(event, path, table)
            here: Path = (*path, key)
            self.keys[here] = _mark(event)
            table[key], deep = self.node(next(events), events, here, depth + 1)
            deepest = max(deepest, deep)
        return table, deepest + 1

    def key(self, event: Any, path: Path, table: dict[str, Any]) -> str:
        if type(event).__name__ != "ScalarEvent" or event.anchor or event.tag not in (None, "!"):
            self.refuse("a key must be plain text", event)
        key = self.text_of(event.value, event)
        if key == "<<":
            self.refuse("merge keys are not part of the spec language", event, "write the keys out; specs are literal")
        if key in table:
            here: Path = (*path, key)
            first = self.keys[here]
            self.refuse(f"the key {show(key)} stands twice, first on line {first.line}", event, "remove one of them")
        return key


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
