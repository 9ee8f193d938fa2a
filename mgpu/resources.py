"""Where specs/ and templates/ lie: inside an installed wheel, else at the root of the checkout."""

from pathlib import Path


def folder(name: str) -> Path:
    """The folder `name` ("specs" or "templates")."""
    packed = Path(__file__).parent / "_data" / name
    return packed if packed.is_dir() else Path(__file__).parent.parent / name
