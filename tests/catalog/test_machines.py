"""The shorthand of a machine: every product, the links as it has them, and what is refused."""

from __future__ import annotations

import pytest

from mgpu.catalog.gpus import Product, products
from mgpu.catalog.machines import MOST, shorthand
from mgpu.errors import UsageError
from mgpu.values.machine import Docker, Link

BY_PRODUCT = pytest.mark.parametrize("product", products(), ids=lambda product: product.id)


@BY_PRODUCT
def test_every_product(product: Product) -> None:
    machine = shorthand(f"2x{product.id}")
    assert machine.name == f"2x{product.id}"
    assert [gpu.product for gpu in machine.gpus] == [product.id] * 2
    assert all(gpu.memory == gpu.free == product.memory > 0 for gpu in machine.gpus)
    assert [gpu.id for gpu in machine.gpus] == ["0", "1"]
    assert (machine.home, machine.folder, machine.docker) == (None, None, Docker(gpus=True))
    assert len(machine.links) == 1


@BY_PRODUCT
def test_every_alias(product: Product) -> None:
    assert {shorthand(f"1x{name}").name for name in (product.id.upper(), *product.aliases)} == {f"1x{product.id}"}


@BY_PRODUCT
def test_bridges_only_where_the_product_takes_them(product: Product) -> None:
    if product.nvlink == "bridge":
        assert shorthand(f"2x{product.id}:nvlink-pairs").links[0].kind == "NVLINK"
    else:
        with pytest.raises(UsageError, match="NVLink"):
            shorthand(f"2x{product.id}:nvlink-pairs")


def test_a_switch_joins_all_with_all() -> None:
    links = shorthand("8xa100-sxm4-80gb").links
    assert len(links) == 28
    assert {link[2:6] for link in links} == {("NVLINK", 12, 300.0, True)}


def test_plain_pcie() -> None:
    links = shorthand("4xa100-pcie-80gb").links
    assert {link[2:6] for link in links} == {("PHB", 0, 32, None)}


def test_geforce_has_no_p2p() -> None:
    assert shorthand("2xrtx-4090").links == (Link(0, 1, "PHB", 0, 32, False),)


def test_bridged_pairs() -> None:
    links = shorthand("5xRTX-3090:NVLink-Pairs").links
    joined = {(link.a, link.b): link for link in links if link.kind == "NVLINK"}
    assert list(joined) == [(0, 1), (2, 3)]
    assert joined[0, 1] == Link(0, 1, "NVLINK", 4, 56.25, True)


def test_a_cube_mesh_is_as_nvidia_smi_draws_it() -> None:
    kinds = {(link.a, link.b): link.nvlinks for link in shorthand("8xv100").links}
    assert [kinds[0, peer] for peer in range(1, 8)] == [1, 1, 2, 2, 0, 0, 0]


def test_boards_of_eight_are_joined_in_an_unknown_way() -> None:
    links = shorthand("16xh100").links
    assert len(links) == 56
    assert not [link for link in links if (link.a < 8) != (link.b < 8)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("4xa100-80gb-sxm", "4xa100-sxm4-80gb"),
        ("8XH100", "8xh100-sxm"),
        (" 2 x RTX 4090 ", "2xrtx-4090"),
        ("1xh200", "1xh200-sxm"),
        ("4xRTX3090:nvlink-pairs", "4xrtx-3090:nvlink-pairs"),
        (f"{MOST}xl4", f"{MOST}xl4"),
    ],
)
def test_the_name_is_the_plain_spelling(text: str, name: str) -> None:
    assert shorthand(text).name == name
    assert shorthand(name) == shorthand(text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("2xrtx-4900", "'rtx-4900' is no GPU of the catalogue", "did you mean rtx-4090"),
        ("2xa100-pcie", "'a100-pcie' is no GPU of the catalogue", "a100-pcie-40gb or a100-pcie-80gb"),
        ("2xqqq", "'qqq' is no GPU of the catalogue", "one of: rtx-3060-12gb"),
        ("0xl4", "'0xl4' has 0 GPUs", "from 1 to"),
        ("2000xl4", "'2000xl4' has 2000 GPUs", "from 1 to"),
        ("-1xl4", "neither a machine file nor a shorthand", "2xrtx-4090"),
        ("h100", "neither a machine file nor a shorthand", "1xh100"),
        ("", "neither a machine file nor a shorthand", "2xrtx-4090"),
        ("h100x8", "neither a machine file nor a shorthand", "8xh100"),
        ("rtx 4090 x 2", "neither a machine file nor a shorthand", "2xrtx 4090"),
        ("2x", "neither a machine file nor a shorthand", "2xrtx-4090"),
        ("2xl4:nvlink-pairs", "l4 takes no NVLink bridge", "leave it out: 2xl4"),
        ("2xh100:nvlink-pairs", "h100-sxm has NVLink without saying so", "leave it out: 2xh100-sxm"),
        ("2xa40:bridged", "'bridged' is no way to join GPUs", "2xa40:nvlink-pairs"),
    ],
)
def test_what_is_refused_says_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        shorthand(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
