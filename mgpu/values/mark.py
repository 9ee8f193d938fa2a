"""Where something stands in a document: what every error about a spec points with."""

from typing import NamedTuple, Union

Path = tuple[Union[str, int], ...]
"""Keys and list positions from the document's root, as ``("jobs", "llm", "gpus")``."""


class Mark(NamedTuple):
    """A place in a text; line and column count from 1."""

    line: int
    column: int
