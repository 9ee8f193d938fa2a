"""A word that nobody knows in, the word that was probably meant out."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], least: float = 0.7) -> str | None:
    """The known word nearest to `word`, hyphens and case ignored, or None where none is near: where none is alike by at
    least `least`, of 1 for the same (the ratio of difflib)."""
    import difflib

    plain = {name.lower().replace("-", "_"): name for name in sorted(known, reverse=True)}
    found = difflib.get_close_matches(word[:64].lower().replace("-", "_"), plain, n=1, cutoff=least)
    return plain[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint that names the nearest known word, or all of them where they are few."""
    names = list(known)
    close = nearest(word, names)
    if close:
        return f"did you mean {close!r}?"
    return f"one of: {', '.join(names)}" if 0 < len(names) <= 24 else None
