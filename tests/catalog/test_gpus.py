"""The GPU catalogue: every name leads to its product, and every fact has a source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import mgpu.catalog.gpus
from mgpu.catalog.gpus import MIB, Product, by_name, by_nvml_name, cube, pcie_bandwidth, products, usable

ROWS = json.loads(Path(mgpu.catalog.gpus.__file__).with_name("gpus.json").read_text())["gpus"]


NAMELESS = ["", "-", "80gb", "h800", "a100-pcie", "v100-sxm2", "rtx-6000", "h100-94gb", "rtx-3060-8gb"]


def names() -> Iterator[tuple[str, str]]:
    """Every name that a product is given in the catalogue, and the product's id."""
    for product in products():
        for name in (product.id, *product.aliases, *product.nvml_names):
            yield name, product.id


@pytest.mark.parametrize(("name", "id_"), [*names()])
def test_every_name_in_any_case_leads_to_its_product(name: str, id_: str) -> None:
    assert [found(spelling) for spelling in (name, name.lower(), name.upper(), name.replace("-", " "))] == [id_] * 4


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("a100-80gb-sxm", "a100-sxm4-80gb"),
        ("a100-pcie-80gb", "a100-pcie-80gb"),
        ("80gb-a100-pcie", "a100-pcie-80gb"),
        ("a100", "a100-sxm4-80gb"),
        ("a100-40gb", "a100-sxm4-40gb"),
        ("rtx4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("rtx4090-24gb", "rtx-4090"),
        ("rtx3090ti", "rtx-3090-ti"),
        ("rtx_3090_ti", "rtx-3090-ti"),
        ("rtx6000ada", "rtx-6000-ada"),
        ("h100", "h100-sxm"),
        ("h100-80gb", "h100-sxm"),
        ("h100-sxm5-80gb", "h100-sxm"),
        ("h200-141gb", "h200-sxm"),
        ("v100-16gb", "v100-sxm2-16gb"),
        ("l40s-48gb", "l40s"),
    ],
)
def test_everyday_spellings(name: str, id_: str) -> None:
    assert found(name) == id_


@pytest.mark.parametrize("name", NAMELESS)
def test_what_could_be_several_or_none_is_none(name: str) -> None:
    assert by_name(name) is None


def test_no_name_is_given_twice() -> None:
    every = [name.lower() for name, _ in names()]
    twice = {name for name in every if every.count(name) > 1}
    assert twice <= {product.id for product in products()} | {"nvidia l4"}


def test_the_drivers_names_are_exact_but_for_the_maker() -> None:
    assert id_of(by_nvml_name("NVIDIA A100-SXM4-80GB")) == "a100-sxm4-80gb"
    assert id_of(by_nvml_name("A100-SXM4-80GB")) == "a100-sxm4-80gb"
    assert by_nvml_name("NVIDIA H100") is None
    assert by_nvml_name("") is None


def test_a_card_of_another_size_is_not_the_product() -> None:
    assert id_of(by_nvml_name("NVIDIA GeForce RTX 3060", 12288 * MIB)) == "rtx-3060-12gb"
    assert by_nvml_name("NVIDIA GeForce RTX 3060", 8192 * MIB) is None
    assert id_of(by_nvml_name("NVIDIA RTX A6000", 46068 * MIB)) == "rtx-a6000"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_every_row_says_where_it_comes_from(row: dict[str, object]) -> None:
    assert row["source"]
    assert row["nvml_total_source"]
    assert bool(row["cuda_total_MiB"]) == bool(row["cuda_total_source"])
    assert bool(row["nvlink_GBps_bidirectional"]) == bool(row["nvlinks"])
    assert row["nvlink"] in ("none", "bridge", "switch", "cube")


@pytest.mark.parametrize("product", products(), ids=lambda product: product.id)
def test_the_memory_is_a_little_less_than_the_drivers_total(product: Product) -> None:
    total = next(row["nvml_total_MiB"] for row in ROWS if row["id"] == product.id) * MIB
    assert 0.97 < product.memory / total < 1
    assert product.memory % MIB == 0


def test_the_drivers_share_where_cuda_was_not_asked() -> None:
    known = [(row["nvml_total_MiB"] * MIB, row["cuda_total_MiB"] * MIB) for row in ROWS if row["cuda_total_MiB"]]
    assert all(abs(usable(total) - cuda) < 420 * MIB for total, cuda in known)
    assert usable(12288 * MIB) == 12288 * MIB - 12288 * MIB // 50
    assert usable(81920 * MIB) // MIB == 81920 * 994 // 1000


def test_the_cube_uses_every_nvlink_of_every_gpu() -> None:
    ends = [end for pair, lanes in cube().items() for end in pair for _ in range(lanes)]
    assert [ends.count(gpu) for gpu in range(8)] == [6] * 8


def test_pcie_carries_in_proportion_to_its_width() -> None:
    assert (pcie_bandwidth(4, 16), pcie_bandwidth(4, 8), pcie_bandwidth(5, 16)) == (32, 16, 64)
    assert pcie_bandwidth(9, 16) is pcie_bandwidth(4, None) is pcie_bandwidth(None, None) is None


def found(name: str) -> str | None:
    """The id of the product that `name` means."""
    return id_of(by_name(name))


def id_of(product: Product | None) -> str | None:
    """The product's id."""
    return product.id if product else None
