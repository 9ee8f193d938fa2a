"""Every known failure is recognised in a log that has it, and none in the log of a run that is well."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from mgpu.catalog import signatures as catalogue
from mgpu.engines import ENGINES
from mgpu.run import diagnosis
from tests.run.scene import told

LOGS = Path(__file__).parent / "logs"
BOOT_LOGS = Path(__file__).parents[1] / "memory" / "boot_logs"
MOST = 40.0
"""Seconds of processor time that a megabyte of any text may take: one pattern that backtracks takes minutes."""


class Excerpt(NamedTuple):
    """A real log, where it is from, and what it came from."""

    name: str
    source: str
    code: int | None
    engine: str | None
    text: str


def excerpts(kind: str) -> list[Excerpt]:
    return [excerpt(path) for path in sorted((LOGS / kind).glob("*.log"))]


def excerpt(path: Path) -> Excerpt:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    head = dict(line[2:].rstrip("\n").split(": ", 1) for line in lines[:3] if line.startswith("# "))
    code = int(head["code"]) if "code" in head else None
    return Excerpt(path.name, head["from"], code, head.get("engine"), "".join(lines[len(head) :]))


def healthy() -> list[Excerpt]:
    boots = [
        Excerpt(path.name, "", None, path.name.split("-")[0], path.read_text("utf-8"))
        for path in BOOT_LOGS.glob("*.log")
    ]
    return [*excerpts("healthy"), *boots]


def test_every_signature_is_recognised_in_its_excerpts(request: pytest.FixtureRequest) -> None:
    failed = excerpts("failed")
    found = {one.name: diagnosis.first(one.text, one.code, one.engine) for one in failed}
    wrong = {name: cause and cause.id for name, cause in found.items() if not cause or cause.id != name.split(".")[0]}
    well = healthy()
    false = {one.name: cause.id for one in well if (cause := diagnosis.first(one.text, None, one.engine))}
    known = {signature.id for signature in catalogue.signatures()}
    words = f"  {len(known)} signatures, {len(failed) - len(wrong)} of {len(failed)} excerpts recognised, "
    told(request, "failures known by their logs:", words + f"{len(false)} false causes in {len(well)} healthy logs")
    assert (wrong, false) == ({}, {})
    assert known == {name.split(".")[0] for name in found}, "each signature has an excerpt"
    assert len(well) >= 50


@pytest.mark.parametrize("engine", [None, *ENGINES])
def test_a_healthy_log_shows_no_cause_whatever_ran(engine: str | None) -> None:
    assert not [one.name for one in healthy() if diagnosis.first(one.text, 1, engine)]


def test_a_log_shows_its_cause_among_much_else() -> None:
    """As logs are: a healthy start before, torchrun's own words after, colours in between."""
    start = "\n".join(one.text[:4000] for one in healthy()[::4])
    after = next(one.text for one in excerpts("failed") if one.name == "rank-failed.1.log")
    for one in excerpts("failed"):
        text = f"\x1b[0;36m{start}\x1b[0m\n{one.text}\n{after}"
        cause = diagnosis.first(text, one.code, one.engine)
        assert cause, one.name
        assert cause.id in (one.name.split(".")[0], "rank-failed"), (one.name, cause)


def test_the_first_error_is_told_and_not_what_follows_from_it() -> None:
    texts = {one.name: one.text for one in excerpts("failed")}
    both = texts["nccl-timeout.1.log"] + texts["training-oom.1.log"] + texts["rank-failed.1.log"]
    assert [cause.id for cause in diagnosis.every(both, 1, "torchrun")][:2] == ["training-oom", "nccl-timeout"]
    engine = texts["engine-core.1.log"] + texts["vllm-no-kv-room.1.log"]
    assert [cause.id for cause in diagnosis.every(engine, 1, "vllm")] == ["vllm-no-kv-room", "engine-core"]


def test_the_change_is_that_of_the_engine() -> None:
    line = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.74 GiB. GPU 1 has a total capacity of"
    by_engine = {engine: diagnosis.first(line, 1, engine) for engine in ("vllm", "deepspeed", "comfyui", "custom")}
    assert {engine: cause and cause.id for engine, cause in by_engine.items()} == {
        "vllm": "vllm-oom",
        "deepspeed": "training-oom",
        "comfyui": "picture-oom",
        "custom": "cuda-oom",
    }
    assert all(cause and "1.74 GiB" in (cause.cause + cause.evidence[0]) for cause in by_engine.values())


def test_the_words_are_filled_and_say_what_to_change() -> None:
    for one in excerpts("failed"):
        for cause in diagnosis.every(one.text, one.code, one.engine):
            assert "{}" not in cause.cause + cause.hint, cause
            assert cause.evidence[0] in diagnosis.plain(one.text)
            assert cause.hint
            assert "max-batch-size" not in cause.hint


def test_signatures_are_as_they_should_be() -> None:
    ids = [name for name, _ in catalogue.rows()]
    assert len(ids) == len(set(ids))
    for name, row in catalogue.rows():
        assert set(row.get("engines", ())) <= set(ENGINES), name
        assert set(row.get("over", ())) <= set(ids), name
        assert row["source"], name
    for signature in catalogue.signatures():
        for pattern in signature.patterns:  # else the words could not be filled
            (signature.cause + signature.hint).format_map(dict.fromkeys(pattern.groupindex, ""))


def test_a_text_is_read_in_a_time_that_grows_with_its_length() -> None:
    chance = random.Random(1)
    noise = "".join(chance.choices(string.printable, k=2**20))
    repeated = (
        "1",
        " ",
        "/",
        "CUDA out of memory. Tried to allocate ",
        "[rank0]: A.B.",
        "[TensorRT-LLM][ERROR] CUDA runtime error in ",
    )
    for text in ("a" * 2**20, noise, *(piece * (2**16 // len(piece)) for piece in repeated)):
        began = time.process_time()
        diagnosis.every(text, 1)
        diagnosis.exception(text)
        assert time.process_time() - began < MOST * len(text) / 2**20, text[:40]


def test_of_a_long_log_the_beginning_and_the_end_are_read(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("ModuleNotFoundError: No module named 'first'\n" + "x" * 2**20 + "\nlast")
    text = diagnosis.read(str(log))
    assert text.startswith("ModuleNotFoundError")
    assert text.endswith("last")
    assert len(text) <= diagnosis.BEGINNING + diagnosis.END + 1
    assert diagnosis.read(str(tmp_path / "none.log")) == ""


def test_what_no_signature_knows_is_told_by_its_own_words() -> None:
    text = next(one.text for one in excerpts("failed") if one.name == "rank-failed.1.log")
    assert diagnosis.exception(text) == "[rank1]: ValueError: this rank does not like its data"


def test_the_files_are_ones_that_people_can_mend() -> None:
    for path in Path(catalogue.FOLDER).glob("*.json"):
        text = path.read_text("utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path.name


def test_it_needs_nothing_but_the_standard_library() -> None:
    """As the keeper runs: isolated, and without anybody's packages."""
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from mgpu.run import diagnosis; "
    code += "print(diagnosis.first('MemoryError', 1).id)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "ram-python\n"
