"""A word that nobody knows in, the word that was probably meant out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MOST = 6
"""Of more names than these that all have the parts of a word, none is more likely than another."""
TYPO = 0.88
"""From this ratio on a word is another with a letter or two wrong, whatever its parts are."""


def nearest(word: str, known: Iterable[str], least: float = 0.7) -> str | None:
    """The known word nearest to `word`, hyphens and case ignored, or None where none is near: where none is alike by at
    least `least`, of 1 for the same (the ratio of difflib)."""
    import difflib

    plain = {_plain(name): name for name in sorted(known, reverse=True)}
    found = difflib.get_close_matches(_plain(word[:64]), plain, n=1, cutoff=least)
    return plain[found[0]] if found else None


def meant(word: str, known: Iterable[str]) -> str | None:
    """The flag that was meant by `word`: one that is joined otherwise, else one with a letter or two wrong in as many
    parts, else one that has all of its parts and more (max-seqs, gpu-memory), else one with parts like these in any
    order, else the nearest."""
    names = sorted(known)
    parts = _parts(word[:64])
    joined = [name for name in names if "".join(_parts(name)) == "".join(parts)]
    if joined:
        return joined[0]
    if not all(parts) or max(len(part) for part in parts) < 3:
        return nearest(word, names)
    others = {name: _parts(name) for name in names}
    whole = [name for name in names if set(parts) < set(others[name])] if len(parts) > 1 else []
    alike = nearest(word, [name for name in names if len(others[name]) == len(parts)], TYPO)
    found = alike or _shortest(whole, others) or nearest(word, names, TYPO)
    return found or _by_parts(parts, others) or nearest(word, names)


def _by_parts(parts: list[str], others: Mapping[str, list[str]]) -> str | None:
    """The name that has all of `parts`; a single one must begin it, or end one of two (use-fsdp), or be in no other.
    Else the name that has all of `parts` but one."""
    having = [name for name in others if _within(parts, others[name])]
    if len(parts) == 1:
        first = [name for name in having if others[name][0] == parts[0]]
        last = [name for name in having if len(others[name]) == 2 and others[name][1] == parts[0]]
        return next((found[0] for found in (first, last, having) if len(found) == 1), None)
    inner = [name for name in others if len(others[name]) == len(parts) - 1 > 1 and _within(others[name], parts)]
    return _shortest(having, others) or (inner[0] if len(inner) == 1 else None)


def _shortest(names: list[str], others: Mapping[str, list[str]]) -> str | None:
    """The name with the fewest parts, unless there are many names: then nothing is said by it."""
    return min(names, key=lambda name: (len(others[name]), len(name))) if 0 < len(names) <= MOST else None


def _within(few: list[str], many: list[str]) -> bool:
    """Whether each of `few` parts is one of `many`, short or long: seq is in seqs."""
    left = list(many)
    for part in few:
        found = next((other for other in left if _alike(part, other)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) > 2 and long.startswith(short))


def _parts(word: str) -> list[str]:
    return _plain(word).replace(".", "_").split("_")


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint that names the nearest known word, or all of them where they are few."""
    names = list(known)
    close = nearest(word, names)
    if close:
        return f"did you mean {close!r}?"
    return f"one of: {', '.join(names)}" if 0 < len(names) <= 24 else None
