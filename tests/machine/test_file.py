"""Machine files: every machine comes back as it was, and what is wrong in a file is told with its place."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mgpu.catalog.machines import shorthand
from mgpu.errors import SpecError, UsageError
from mgpu.machine.file import dump, load, plain, resolve
from mgpu.values.machine import LINK_KINDS, Docker, Gpu, Link, Machine, Process
from mgpu.values.memory import Correction

T = TypeVar("T")
BOXES = Path(__file__).parents[1] / "machines"
TEXT = some.text(some.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
AMOUNT = some.floats(0, 1e9)
BYTES = some.one_of(some.integers(0, 2**53), some.integers(0, 2**20).map(lambda size: size * 2**20))
COUNT = some.integers(0, 1000)


def maybe(strategy: some.SearchStrategy[T]) -> some.SearchStrategy[T | None]:
    """One of them, or nothing known."""
    return some.none() | strategy


@some.composite
def gpus(draw: some.DrawFn, index: int) -> Gpu:
    """Any GPU of this index."""
    memory = draw(BYTES)
    process = some.builds(Process, maybe(some.integers(1, 2**22)), maybe(TEXT), maybe(BYTES), maybe(TEXT))
    return Gpu(
        index,
        draw(TEXT),
        memory,
        draw(some.integers(0, memory)),
        uuid=draw(maybe(some.uuids().map(lambda uuid: f"GPU-{uuid}"))),
        bus_id=draw(maybe(TEXT)),
        product=draw(maybe(TEXT)),
        compute_capability=draw(maybe(some.tuples(some.integers(1, 12), some.integers(0, 9)))),
        numa=draw(maybe(COUNT)),
        mig=draw(maybe(some.booleans())),
        fault=draw(maybe(TEXT)),
        processes=tuple(draw(some.lists(process, max_size=2))),
        unexplained=draw(maybe(BYTES)),
        holder=draw(maybe(TEXT)),
        utilization=draw(maybe(some.integers(0, 100))),
        temperature=draw(maybe(some.integers(-40, 120))),
        power=draw(maybe(AMOUNT)),
        pcie_generation=draw(maybe(some.integers(1, 9))),
        pcie_width=draw(maybe(some.integers(1, 32))),
    )


DOCKERS = some.builds(
    Docker,
    maybe(TEXT),
    some.lists(TEXT, max_size=3).map(tuple),
    maybe(some.booleans()),
    some.booleans(),
    maybe(TEXT),
)

PARTS = some.integers(1, 64)
CORRECTIONS = some.builds(Correction, TEXT, maybe(TEXT), TEXT, TEXT, BYTES, PARTS, PARTS, TEXT)


@some.composite
def machines(draw: some.DrawFn) -> Machine:
    """Any machine that there could be."""
    indices = draw(some.lists(COUNT, max_size=4, unique=True))
    cards = tuple(draw(gpus(index)) for index in indices)
    kind, bandwidth, p2p = some.sampled_from(LINK_KINDS), maybe(AMOUNT), maybe(some.booleans())
    pairs = [pair for pair in combinations(indices, 2) if draw(some.booleans())]
    packages = some.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,9}\Z")
    ids = some.sampled_from([gpu.id for gpu in cards]) if cards else some.nothing()
    return Machine(
        draw(TEXT),
        cards,
        tuple(
            Link(
                a,
                b,
                draw(kind),
                draw(some.integers(0, 36)),
                draw(bandwidth),
                draw(p2p),
                draw(bandwidth),
                draw(bandwidth),
            )
            for a, b in pairs
        ),
        driver=draw(maybe(TEXT)),
        cuda=draw(maybe(TEXT)),
        cpus=draw(maybe(some.integers(1, 512))),
        memory=draw(maybe(BYTES)),
        home=draw(maybe(TEXT)),
        folder=draw(maybe(TEXT)),
        user=draw(maybe(TEXT)),
        ports=tuple(draw(some.lists(some.integers(1, 65535), max_size=40))),
        software=tuple(draw(some.dictionaries(packages, TEXT, max_size=3)).items()),
        docker=draw(maybe(DOCKERS)),
        mask=draw(maybe(some.lists(ids, unique=True).map(tuple))),
        notes=tuple(draw(some.lists(TEXT, max_size=2))),
        corrections=tuple(draw(some.lists(CORRECTIONS, max_size=2))),
    )


@settings(max_examples=300, deadline=None)
@given(machines())
def test_every_machine_comes_back_as_it_was(machine: Machine) -> None:
    assert load("box.yaml", dump(machine)) == machine


@settings(max_examples=100, deadline=None)
@given(machines())
def test_json_is_a_machine_file_too(machine: Machine) -> None:
    text = json.dumps(plain(machine), ensure_ascii=True, indent=2)
    assert load("box.json", text) == machine


@pytest.mark.parametrize("text", ["1xl4", "8xh100", "8xv100", "4xrtx-3090:nvlink-pairs", "64xa100-pcie-80gb"])
def test_a_shorthand_can_be_written_out(text: str) -> None:
    assert load(text, dump(shorthand(text))) == shorthand(text)


@pytest.mark.parametrize("path", sorted(BOXES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_boxes_of_the_tests_are_written_as_mgpu_writes_them(path: Path) -> None:
    text = path.read_text()
    comment, rest = text.split("\n", 1)
    assert comment.startswith("# ")
    assert dump(load(path.name, text)) == rest


def test_the_text_is_for_people_to_read() -> None:
    cards = (Gpu(0, "NVIDIA L4", 22478 * 2**20, 2**34, uuid="GPU-1", mig=False, numa=0), Gpu(1, "NVIDIA L4", 5, 3))
    links = (Link(0, 1, "PHB", 0, 32.0, None),)
    machine = Machine(
        "box", cards, links, "550.90.07", ports=(22, 8000), docker=Docker("28.5", gpus=True), mask=(), notes=("a: b",)
    )
    assert dump(machine) == (
        "version: 1\n"
        "name: box\n"
        'driver: "550.90.07"\n'
        'docker: {version: "28.5", gpus: true}\n'
        "mask: []\n"
        "ports: [22, 8000]\n"
        "gpus:\n"
        "- index: 0\n"
        "  name: NVIDIA L4\n"
        "  uuid: GPU-1\n"
        "  memory: 22478MiB\n"
        "  free: 16GiB\n"
        "  mig: false\n"
        "  numa: 0\n"
        "- index: 1\n"
        "  name: NVIDIA L4\n"
        "  memory: 5\n"
        "  free: 3\n"
        "links:\n"
        "- kind: PHB\n"
        "  bandwidth: 32.0\n"
        "  pairs: [0-1]\n"
        "notes:\n"
        '- "a: b"\n'
    )


GPU = "gpus:\n- {index: 0, name: a, memory: 2GiB, free: 1GiB}\n"
TWO = GPU + "- {index: 1, name: a, memory: 2GiB, free: 1GiB}\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", (1, 1), "this document is empty"),
        ("[]", (1, 1), "is not a mapping"),
        (GPU, (1, 1), "name is missing"),
        ("name: a\ndrivers: x\n", (2, 1), "unknown key 'drivers'"),
        ("name: a\nversion: 2\n", (2, 10), "version is 2, and this mgpu reads 1"),
        ("name: a\ndriver: 550.90\n", (2, 9), "driver wants text, and 550.90 is not"),
        ("name: a\ncpus: four\n", (2, 7), "cpus wants a whole number, not 'four'"),
        ("name: a\nmemory: 5 apples\n", (2, 9), "memory wants an amount of memory"),
        ("name: a\nmemory: true\n", (2, 9), "memory wants bytes, or an amount of memory as 80GiB"),
        ("name: a\nports: [22, 99999]\n", (2, 13), "wants a number from 1 to 65535"),
        ("name: a\nsoftware: {torch: 2.13}\n", (2, 19), "torch wants text, and 2.13 is not"),
        ("name: a\ndocker: {rootless: true}\n", (2, 10), "unknown key 'rootless'"),
        ("name: a\ngpus:\n- {index: 0}\n", (3, 3), "name is missing"),
        ("name: a\n" + GPU.replace("1GiB", "3GiB"), (3, 43), "GPU 0 has more free memory than memory"),
        ("name: a\n" + GPU.replace("free", "compute_capability: 9.0, free"), (3, 57), "wants two numbers, as '9.0'"),
        ("name: a\n" + GPU.replace("free", "power: hot, free"), (3, 44), "power wants a number"),
        ("name: a\n" + TWO.replace("index: 1", "index: 0"), (4, 11), "there are two GPUs with the index 0"),
        ("name: a\n" + TWO.replace("free", "uuid: GPU-1, free"), (4, 43), "there are two GPUs with the uuid GPU-1"),
        ("name: a\n" + TWO + "links:\n- {kind: FAST, pairs: [0-1]}\n", (6, 10), "kind cannot be 'FAST'"),
        ("name: a\n" + TWO + "links:\n- {kind: PHB}\n", (6, 3), "pairs is missing"),
        ("name: a\n" + TWO + "links:\n- {kind: PHB, pairs: [0+1]}\n", (6, 23), "wants the indices of two GPUs"),
        ("name: a\n" + TWO + "links:\n- {kind: PHB, pairs: [1-1]}\n", (6, 23), "joins GPU 1 with itself"),
        ("name: a\n" + TWO + "links:\n- {kind: PHB, pairs: [0-1, 1-0]}\n", (6, 1), "the pair 1-0 is joined twice"),
        ("name: a\n" + TWO + "links:\n- {kind: PHB, pairs: [0-7]}\n", (6, 1), "there is no GPU 7 to join"),
        ("name: a\n" + GPU + "mask: [GPU-9]\n", (4, 8), "there is no GPU GPU-9"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("box.yaml", text)
    problem = caught.value.problems[0]
    assert message in problem.message
    assert problem.mark == place


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        load("box.yaml", "nmae: a\ncpus: x\ngpus: 3\n")
    assert len(caught.value.problems) == 3


def test_a_machine_is_a_file_or_a_shorthand(tmp_path: Path) -> None:
    path = tmp_path / "2xl4"
    path.write_text("name: mine\n")
    assert resolve(str(path)) == Machine("mine")
    assert resolve("2xl4").name == "2xl4"


@pytest.mark.parametrize("name", ["box.yaml", "boxes/box", "box.json"])
def test_a_file_that_is_not_there_is_not_taken_for_a_shorthand(name: str) -> None:
    with pytest.raises(UsageError, match=f"there is no machine file {name}"):
        resolve(name)


def test_a_folder_and_a_file_of_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        resolve(str(tmp_path))
    (tmp_path / "raw").write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError, match="is not UTF-8 at byte 6"):
        resolve(str(tmp_path / "raw"))


def test_neither_file_nor_shorthand() -> None:
    with pytest.raises(UsageError, match="neither a machine file nor a shorthand"):
        resolve("my box")
