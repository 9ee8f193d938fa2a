"""What looks like a secret: by its name, or by the shape of its value."""

from __future__ import annotations

import re

NAME = r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|PRIVATE|AUTH|ENCRYPTION)_?KEY)(_|$)"

FLAG = (
    r"(?i)(^|[-_.])((api|access|private|auth|secret|encryption)[-_]?key|secret|password|passwd|passphrase"
    r"|(hf|hub|api|auth|access|bearer|refresh)[-_]token)$"
)
"""A flag or a setting whose text is a secret. A model's pad_token is none."""
DUMMIES = ("", "empty", "none", "null", "dummy", "no-key", "not-needed")
"""What clients are given where a server asks for no key."""

VALUE = (
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|nvapi-[\w-]{30,}|xox[abprs]-[\w-]{20,}|r8_[A-Za-z0-9]{30,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<=://)[^/\s:@'\"]*:(?!\$)[^/\s@'\"]+(?=@)"
)
"""Tokens that their prefix gives away: Hugging Face, OpenAI, GitHub, GitLab, AWS, NVIDIA, Slack, Replicate; a private
key; and what stands before the host in the address of somebody with a password."""

PREFIXES = ("hf_", "sk-", "gh", "glpat-", "AKIA", "nvapi-", "xox", "r8_", "-----BEGIN", "://")
"""Without one of these in it, no text is searched: most texts are not."""


class Hidden:
    """The value of a secret, which shows itself to nobody: as text, in a message or a traceback, it is ``<secret>``,
    and JSON refuses it. Whoever hands it to a process has it by `bare`."""

    __slots__ = ("_bare",)

    def __init__(self, value: str) -> None:
        self._bare = value

    def __repr__(self) -> str:
        return "<secret>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")

    def bare(self) -> str:
        """The value itself."""
        return self._bare


def secret_name(name: str) -> bool:
    """Whether an environment variable of this name most likely holds a secret."""
    return bool(re.search(NAME, name.upper()))


def secret_flag(name: str, text: str) -> bool:
    """Whether a flag of this name is given a secret by this text."""
    return bool(re.search(FLAG, name)) and text.lower() not in DUMMIES


def masked(text: str) -> str:
    """The text as it can be shown, character for character: with stars where it holds a token."""
    return re.sub(VALUE, lambda found: "*" * len(found[0]), text) if secret_value(text) else text


def secret_value(text: str) -> bool:
    """Whether this text holds a token."""
    return any(prefix in text for prefix in PREFIXES) and bool(re.search(VALUE, text))
