"""What a lock file pins, and what it refuses: a spec and a text in, without asking anybody."""

from __future__ import annotations

import pytest

from mgpu.errors import SpecError
from mgpu.plan.lock import locked
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.override import override
from mgpu.values.spec import Job

COMMIT, DIGEST = "b" * 40, "sha256:" + "a" * 64
SPEC = "kind: inference\nname: x\nengine: {}\nmodel: org/model\n"
PROCESS = "version: 1\njobs: {job: {engine: vllm, version: 0.32.0, model: org/model, commit: " + COMMIT + "}}\n"


def pinned(lock: str, spec: str = SPEC.format("vllm") + "runtime: process\n", *sets: str) -> Job:
    return locked(check(override(read("x.yaml", spec), sets)), read("x.lock", lock)).jobs[0]


def refused(lock: str, *sets: str) -> tuple[str, list[tuple[int, int]], str]:
    """Which file is wrong, where, and why."""
    with pytest.raises(SpecError) as caught:
        pinned(lock, SPEC.format("vllm") + "runtime: process\n", *sets)
    error = caught.value
    return error.name, [tuple(p.mark or ()) for p in error.problems], " ".join(p.message for p in error.problems)  # type: ignore[misc]


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi", "lmdeploy", "tensorrt-llm"])
def test_every_engine_with_a_flag_for_it_is_given_the_commit(engine: str) -> None:
    spec = SPEC.format(engine) + "version: 9.9.9\nimage: an/image:1\nargs: {revision: main}\n"
    row = f"engine: {engine}, version: 9.9.9, image: 'an/image:1', digest: '{DIGEST}'"
    job = pinned(f"version: 1\njobs: {{job: {{{row}, model: org/model, revision: main, commit: {COMMIT}}}}}\n", spec)
    assert (job.args, job.digest, job.image) == ({"revision": COMMIT}, DIGEST, "an/image:1")


def test_an_image_that_names_its_digest_is_left_as_it_is() -> None:
    spec = f"kind: task\nname: x\nimage: an/image@{DIGEST}\ncommand: ['true']\n"
    job = pinned(f"version: 1\njobs: {{job: {{engine: task, image: 'an/image@{DIGEST}', digest: '{DIGEST}'}}}}\n", spec)
    assert (job.image, job.digest) == (f"an/image@{DIGEST}", None)


@pytest.mark.parametrize(("change", "mark", "said"), [
    ("model=org/other", (4, 8), "model is 'org/other', and 'org/model' is locked"),
    ("version=0.24.0", (1, 1), "version is '0.24.0', and '0.32.0' is locked"),
    ("args.revision=v2", (1, 1), "revision is 'v2', and nothing is locked"),
    ("engine=sglang", (3, 9), "engine is 'sglang', and 'vllm' is locked"),
    ("runtime=docker", (1, 1), "image is 'vllm/vllm-openai:v0.32.0', and nothing is locked"),
])  # fmt: skip
def test_a_spec_that_changed_since_is_refused_with_the_key(change: str, mark: tuple[int, int], said: str) -> None:
    assert pinned(PROCESS).args == {"revision": COMMIT}
    name, marks, words = refused(PROCESS, change)
    assert (name, mark in marks, said in words) == ("x.yaml", True, True)


@pytest.mark.parametrize(("lock", "mark", "said"), [
    ("version: 2\njobs: {}\n", (1, 10), "no lock file of version 1"),
    ("jobs: {}\n", (1, 1), "no lock file of version 1"),
    ("version: 1\njobs: {job: {commit: main}}\n", (2, 22), "'main' is no commit"),
    ("version: 1\njobs: {job: {digest: latest}}\n", (2, 22), "'latest' is no digest"),
    ("version: 1\njobs: {job: [1]}\n", (2, 13), "job wants a mapping of texts"),
])  # fmt: skip
def test_a_spoilt_lock_is_told_with_its_own_place(lock: str, mark: tuple[int, int], said: str) -> None:
    name, marks, words = refused(lock)
    assert (name, marks, said in words) == ("x.lock", [mark], True)


def test_what_the_lock_has_not_is_refused() -> None:
    assert refused("version: 1\njobs: {}\n")[2] == "x is not in x.lock"
    assert "has no commit of org/model" in refused(PROCESS.replace(f", commit: {COMMIT}", ""))[2]
