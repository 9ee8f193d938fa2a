"""Whose flags are held against which list: by version, by image, by the interpreter that will run them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mgpu import Compiled, compile
from mgpu.catalog.machines import shorthand
from mgpu.engines import engine_named, every
from mgpu.errors import Problem, SpecError
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.flags import flag_complaints
from mgpu.spec.versions import tagged
from mgpu.values.document import Document
from mgpu.values.machine import Machine
from mgpu.values.spec import Job

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


PLANTED = Path(__file__).parent
PLACES = {name: (engine, place) for engine in every() for place, name in engine.lists.items() if "@" not in name}
WORDS = {
    "unknown": ("has no flag", "has no key"),
    "type": ("wants", "takes"),
    "choice": ("cannot be",),
    "removed": ("any more", "has no"),
    "deprecated": ("is deprecated",),
    "owned": ("is set by mgpu",),
    "excluded": ("exclude each other",),
    "range": ("wants a number",),
    "script": ("has no flag",),
    "twice": ("once more", "is the opposite of", "takes the place of"),
    "usual": ("knows no",),
}
POINTER = "§"
"""In a row this stands before the key or the value that is to be pointed at, and is taken away."""
NEEDED: dict[str, Any] = {"model": "a/b", "script": "train.py", "trainer": "sft", "config": {}}
BESIDE = {
    "deepspeed-config": {"train_micro_batch_size_per_gpu": 1},
    "axolotl": {"base_model": "m", "datasets": [{"path": "d"}]},
    "llamafactory": {"model_name_or_path": "m", "output_dir": "o", "do_train": True},
}
"""What a config file must hold beside what a row says."""


def planted(name: str) -> list[list[str]]:
    """The rows of a file of planted args."""
    rows = (PLANTED / f"planted_{name}.txt").read_text().splitlines()
    return [[part.strip() for part in row.split(" | ")] for row in rows if row and not row.startswith("#")]


def spec_of(listed: str, args: str) -> tuple[Document, str]:
    """A spec that holds these args where its engine has flags of the list ``name@version:script``; and the place."""
    name, _, version = listed.partition("@")
    version, _, script = version.partition(":")
    engine, place = PLACES[name]
    own = {key: NEEDED[key] for key in sorted(engine.requires & NEEDED.keys())}
    own |= {"script": f"{script}.py"} if "script" in own and script else {}
    own |= {"trainer": script} if "trainer" in own and script else {}
    lines = [f"kind: {engine.kinds[0]}", f"engine: {name if engine.name == name else engine.name}", "gpus: 1"]
    lines += [f"version: '{version}'"] if version != engine.version else []
    lines += [f"{key}: {json.dumps(value)}" for key, value in own.items() if key != place and value != {}]
    beside = "".join(f", {key}: {json.dumps(value)}" for key, value in BESIDE.get(name, {}).items() if key not in args)
    return read("spec.yaml", "\n".join([*lines, f"{place}: {args[:-1]}{beside}}}"]) + "\n"), place


def told(document: Document) -> list[Problem]:
    """Everything that is said of a spec, whether it may run or not."""
    try:
        return list(check(document).warnings)
    except SpecError as error:
        return list(error.problems)


@pytest.mark.parametrize("row", planted("wrong"), ids=" ".join)
def test_a_planted_mistake_is_told_at_its_place(row: list[str]) -> None:
    listed, args, expected = row
    kind, _, word = expected.partition(" ")
    document, place = spec_of(listed, args.replace(POINTER, ""))
    here = [problem for problem in told(document) if problem.path[:1] == (place,)]
    if POINTER in args:
        column = len(f"{place}: ") + args.index(POINTER) + 1
        here = [problem for problem in here if problem.mark and problem.mark.column == column]
    owned = any("is set by mgpu" in problem.message for problem in here)
    fitting = [
        problem
        for problem in here
        if any(words in problem.message for words in WORDS[kind])
        and (word in ("", "-") or word in f"{problem.message} {problem.hint}")
    ]
    assert fitting or owned, [(problem.path, problem.message, problem.hint) for problem in told(document)]


@pytest.mark.parametrize("row", planted("right"), ids=" ".join)
def test_what_a_real_parser_takes_passes(row: list[str]) -> None:
    """Of what the engine itself objects to, or mgpu sets, a parser knows nothing."""
    document, place = spec_of(*row)
    version = row[0].partition("@")[2]
    engine = engine_named(document.data["engine"])
    job = Job(engine.kinds[0], "x", engine.name, **{
        key: document.data[key] for key in ("script", "trainer", place) if key in document.data
    })  # fmt: skip
    found = [complaint.message for complaint in flag_complaints(job, engine, version.partition(":")[0])]
    assert [message for message in found if "is set by mgpu" not in message] == []
