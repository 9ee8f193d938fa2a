"""--set: one value changed, the rest as it was; what is wrong with it is told as set there."""

from __future__ import annotations

import pytest

from mgpu.errors import SpecError, UsageError
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.override import override
from mgpu.values.spec import Spec

TEXT = """kind: training
engine: torchrun
script: train.py
script_args: {lr: 1.0e-4, names: [a, b]}
gpus: 2
"""


def changed(*sets: str) -> Spec:
    return check(override(read("spec.yaml", TEXT), sets))


def test_values_are_changed_and_numbers_stay_as_written() -> None:
    (job,) = changed("gpus=4", "script_args.names.1=c", "env.A=x y", "script_args.wd=0.10").jobs
    assert job.gpus.count == 4
    assert isinstance(job.script_args, dict)
    assert str(job.script_args["lr"]) == "1.0e-4"
    assert str(job.script_args["wd"]) == "0.10"
    assert job.script_args["names"] == ["a", "c"]
    assert job.env == {"A": "x y"}


def test_a_wrong_value_is_told_as_set_there() -> None:
    with pytest.raises(SpecError) as caught:
        changed("gpus=many")
    (problem,) = caught.value.problems
    assert "from --set gpus=many" in problem.message
    assert problem.mark == (5, 7)


@pytest.mark.parametrize("words", ["gpus", "=2", "script_args.names.7=x", "kind.deep=1", "script.x.y=1"])
def test_a_path_to_nowhere_is_refused(words: str) -> None:
    with pytest.raises(UsageError):
        changed(words)
