"""Whose flags are held against which list: by version, by image, by the interpreter that will run them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mgpu import Compiled, compile
from mgpu.catalog.machines import shorthand
from mgpu.engines import engine_named
from mgpu.errors import SpecError
from mgpu.spec.versions import tagged
from mgpu.values.machine import Machine

MACHINE = shorthand("2xrtx-4090")
NEW = {"watchdog-config": {"a": 1}}
"""A flag that vLLM 0.33 takes, and 0.32 does not."""


def compiled(machine: Machine = MACHINE, **keys: Any) -> Compiled:
    """What a vLLM job with these keys becomes."""
    spec = {"kind": "inference", "engine": "vllm", "model": "a/b", "name": "x", **keys}
    return compile(json.dumps(spec), machine)


def refused(machine: Machine = MACHINE, **keys: Any) -> list[str]:
    """What is wrong with it."""
    with pytest.raises(SpecError) as caught:
        compiled(machine, **keys)
    return [problem.message for problem in caught.value.problems]


def warnings(done: Compiled) -> list[str]:
    """What is said of a job that may run."""
    return [problem.message for problem in (*done.spec.warnings, *done.plan.warnings)]


@pytest.mark.parametrize("keys", [{}, {"version": "0.32.1"}, {"image": "vllm/vllm-openai:v0.32.0"}])
def test_the_list_of_the_version_that_is_meant(keys: dict[str, str]) -> None:
    assert refused(args=NEW, **keys) == ["vllm 0.32.0 has no flag watchdog-config"]


@pytest.mark.parametrize("keys", [{"version": "0.33.0"}, {"image": "mirror.example:5000/vllm:v0.33.0-cu130@sha256:0"}])
def test_another_version_has_another_list(keys: dict[str, str]) -> None:
    assert warnings(compiled(args=NEW, **keys)) == []


def test_a_version_without_a_list_lets_flags_pass_and_says_so() -> None:
    done = compiled(version="0.99.0", args={"anything": [1, 2]})
    assert warnings(done) == ["mgpu has no list of the flags of vllm 0.99.0: they pass unchecked"]
    assert done.commands[0].argv[-3:] == ("--anything", "1", "2")
    assert warnings(compiled(version="0.99.0")) == []


def test_an_image_that_does_not_tell_its_version() -> None:
    done = compiled(image="me/vllm:latest", args={"anything": 1})
    assert warnings(done) == ["which vllm is in me/vllm:latest is not known: its flags pass unchecked"]
    assert refused(image="me/vllm:latest", version="0.32.0", args={"anything": 1}) == [
        "vllm 0.32.0 has no flag anything"
    ]


def test_what_mgpu_sets_is_refused_whatever_the_version() -> None:
    assert refused(version="0.99.0", args={"tensor_parallel_size": 2}) == ["tensor_parallel_size is set by mgpu"]


def test_a_process_is_checked_by_the_interpreter_that_it_will_run_in() -> None:
    there = replace(MACHINE, software=(("vllm", "0.33.0"),))
    assert warnings(compiled(there, runtime="process")) == []
    old = replace(MACHINE, software=(("vllm", "0.32.0"),))
    given = {"runtime": "process", "version": "0.33.0", "args": NEW}
    assert refused(old, **given) == ["vllm 0.32.0 has no flag watchdog-config"]
    assert warnings(compiled(old, runtime="process", version="0.33.0")) == [
        "the interpreter on PATH has vllm 0.32.0: its flags are checked, and it is what runs"
    ]


def test_the_interpreter_that_the_spec_names_counts() -> None:
    python = "/opt/vllm/bin/python"
    there = replace(MACHINE, software=(("vllm", "0.32.0"),), interpreters=((python, (("vllm", "0.33.0"),)),))
    done = compiled(there, python=python)
    assert done.plan.tasks[0].version == "0.33.0"
    with pytest.raises(SpecError):
        compiled(there, runtime="process", args=NEW)


def test_flags_are_called_by_their_own_names() -> None:
    args = {"max_num_seqs": 8, "enable_prefix_caching": False, "stream-interval": 2}
    argv = compiled(args=args).commands[0].argv
    assert argv[-5:] == ("--max-num-seqs", "8", "--no-enable-prefix-caching", "--stream-interval", "2")


@pytest.mark.parametrize(("image", "version"), [
    ("vllm/vllm-openai:v0.32.0", "0.32.0"),
    ("vllm/vllm-openai:v0.33.0-x86_64", "0.33.0"),
    ("host:5000/vllm/vllm-openai:v0.32.0@sha256:abc", "0.32.0"),
    ("me/mine:0.31.2-cuda13", "0.31.2"),
    ("me/mine:latest", None),
    ("me/mine", None),
    ("host:5000/mine", None),
])  # fmt: skip
def test_the_version_in_a_tag(image: str, version: str | None) -> None:
    assert tagged(image, engine_named("vllm")) == version


def test_the_build_in_a_tag_of_llama_cpp() -> None:
    assert tagged("ghcr.io/ggml-org/llama.cpp:server-cuda-b10875", engine_named("llamacpp")) == "b10875"


def test_two_spellings_of_one_flag_are_told_in_a_pipeline_too() -> None:
    jobs = {"a": {"kind": "inference", "engine": "vllm", "model": "a/b", "args": {"tp": 2, "max-num-seq": 1}}}
    with pytest.raises(SpecError) as caught:
        compile(json.dumps({"kind": "pipeline", "name": "p", "jobs": jobs}), MACHINE)
    assert [(problem.path, problem.hint) for problem in caught.value.problems] == [
        (("jobs", "a", "args", "tp"), "use parallel: {tensor: ...} instead"),
        (("jobs", "a", "args", "max-num-seq"), "did you mean 'max-num-seqs'?"),
    ]
