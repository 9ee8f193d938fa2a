"""``python -m mgpu``."""

from mgpu.cli import entry

entry()
