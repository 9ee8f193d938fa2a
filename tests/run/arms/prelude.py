"""A program and its arguments in, the same program run in this process out, armed as sitecustomize says."""

from __future__ import annotations

import os
import runpy
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sitecustomize

sys.path.pop(0)
del sys.argv[0]
sitecustomize.arm(["", *sys.argv])
runpy.run_path(sys.argv[0], run_name="__main__")
