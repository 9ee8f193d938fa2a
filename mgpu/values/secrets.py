"""What looks like a secret: by its name, or by the shape of its value."""

import re

NAME = r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|PRIVATE|AUTH|ENCRYPTION)_?KEY)(_|$)"

VALUE = (
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|nvapi-[\w-]{30,}|xox[abprs]-[\w-]{20,}|r8_[A-Za-z0-9]{30,})"
)
"""Tokens that their prefix gives away: Hugging Face, OpenAI, GitHub, GitLab, AWS, NVIDIA, Slack, Replicate."""

PREFIXES = ("hf_", "sk-", "gh", "glpat-", "AKIA", "nvapi-", "xox", "r8_")
"""Without one of these in it, no text is searched: most texts are not."""


def secret_name(name: str) -> bool:
    """Whether an environment variable of this name most likely holds a secret."""
    return bool(re.search(NAME, name.upper()))


def secret_value(text: str) -> bool:
    """Whether this text holds a token."""
    return any(prefix in text for prefix in PREFIXES) and bool(re.search(VALUE, text))
