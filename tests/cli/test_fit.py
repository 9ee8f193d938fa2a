"""`mgpu fit`: a table in the columns there are, the machine to take, and what was asked wrongly in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mgpu.cli import main
from mgpu.cli.fit import HEAD, text
from mgpu.plan.fit import Wanted

MACHINES = ["--machine", "1xrtx-3060-12gb", "--machine", "1xrtx-4090"]


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    main(["fit", "llama-3.1-70b", "--quantization", "awq-int4", *words, "--json"])
    return list(json.loads(capsys.readouterr().out)["machines"])


@pytest.mark.parametrize("width", [80, 100, 120, None])
def test_the_table_fits_the_terminal(width: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "--all")
    lines = text(Wanted("llama-3.1-70b"), found, "2026-11-16", width, everything=True).splitlines()
    assert max(map(len, lines)) <= (width or 200)
    assert all(name in lines[0] for name in ("machine", "USD/h", "format", "layout", "verdict", "tok/s"))
    left = [name for name in HEAD if name not in lines[0]]
    assert bool(left) == (width is not None)
    assert all(name in " ".join(lines[-2:]) for name in left)


def test_what_it_must_fill_is_below_what_it_may_where_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    for row in rows(capsys, "--all"):
        assert row["verdict"] in ("fits", "tight")
        assert int(str(row["needs_bytes"])) <= int(str(row["room_bytes"]))


def test_the_machine_to_take_is_one_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "llama-3.1-8b", "--quantization", "fp8", *MACHINES]) == 0
    printed = capsys.readouterr().out
    assert "the cheapest that fits is 1xrtx-4090 at 0.39 USD an hour; 1xrtx-3060-12gb at 0.14" in printed
    assert main(["fit", "llama-3.1-8b", "--quantization", "fp8", *MACHINES[:2]]) == 0
    assert "none fits for sure; the cheapest that is tight is 1xrtx-3060-12gb" in capsys.readouterr().out


def test_what_fits_nowhere_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "llama-3.1-70b", "--machine", "1xrtx-3060-12gb"]) == 1
    assert "the cheapest" not in capsys.readouterr().out


def test_models_that_begin_alike_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "llama3"]) == 2
    assert "did you mean llama-3" in capsys.readouterr().err
    assert main(["fit", "nobody/knows-this"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_what_makes_pictures_is_not_said_to_fit_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "black-forest-labs/FLUX.1-dev"]) == 2
    assert "flux.1-dev is no language model" in capsys.readouterr().err


def test_files_that_cannot_be_read_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": ')
    assert main(["fit", str(tmp_path)]) == 2
    assert "are not read: Expecting value" in capsys.readouterr().err


def test_a_context_beyond_the_model_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "llama-3.1-8b", "--context", "200000", *MACHINES])
    assert "200,000 tokens are more than the 131,072 that llama-3.1-8b is made for" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--machine", "1xrtx-4090"], ["--quantization", "fp8"]])
def test_what_is_about_a_model_wants_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *words]) == 2
    assert f"{words[0]} wants a model" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "meant"), [("q4", "Q4_K_M"), ("gptq", "gptq-int4"), ("f8", "fp8")])
def test_a_format_is_guessed_from_its_beginning(said: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "llama-3.1-8b", "--quantization", said]) == 2
    assert meant in capsys.readouterr().err
