"""The picture of a plan: bars that add up, a legend that says why, what does not fit, prices, and machines compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mgpu.catalog.prices import Price, Prices
from mgpu.cli import main
from mgpu.cli.bars import LETTERS, MISSING, Stretch, bar, letters, painted, rows, scale
from mgpu.cli.comparison import Row, compared
from mgpu.cli.drawing import picture
from mgpu.command.data import plain
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Line, exactly
from mgpu.values.plan import Plan
from tests.cli import plans

CHEAP = Prices("2026-11-24", "my cloud", {"rtx-4090": Price(0.5, "2026-11-24", "my cloud")})
PLANS = [plans.fits, plans.lacks, plans.stages, plans.unknown, plans.training]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec of a model that nothing is known of."""
    file = tmp_path / "chat.mgpu.yaml"
    file.write_text(plans.CHAT.format(1))
    return file


def test_the_whole_picture() -> None:
    assert picture(plans.fits(), None, CHEAP) == [
        "chat on 4xrtx-4090: vllm 0.32.0 (docker), 2 of 4 GPUs (RTX 4090)",
        "",
        "  GPU 0 │A██████████████████████B▒C▓▓▓D░E█████████████████████████████████F▒······│ 21.5 of 23.5 GiB",
        "  GPU 1 │A██████████████████████B▒C▓▓▓D░E█████████████████████████████████F▒······│ 21.5 of 23.5 GiB",
        "",
        "     GPU 0-1           GiB      RANGE  SOURCE",
        "  A  weights          7.50             exact    half of 15.0 GiB of bf16, from the headers of its files",
        "  B  KV cache         0.50             exact    one sequence of 8,192 tokens: 64 KiB a token",
        "  C  activation peak  1.30  1.20-1.50  source   vocabulary x max-num-seqs, as vLLM 0.26 profiles it",
        "  D  CUDA graphs      0.80  0.50-1.90  guessed  mean of published boots",
        "  E  cache for more   10.9                      the rest of what the engine allows itself",
        "  F  context          0.50  0.40-0.60  source   beside what the engine allows itself; CUDA's own",
        "     sum              21.5  21.4-21.6",
        "",
        "  memory   fits: the engine fills 21.0 GiB, beside it context 0.50, and GPU 0 has 23.5 free",
        "  cache    186,777 tokens: 22.8 requests of 8,192 at once, or one of up to 186,777",
        "  GPUs     joined by PHB, the best there is free",
        *[line for line in picture(plans.fits(), None, CHEAP) if line.startswith("  layout ")],
        "  speed    about 800 tokens/s (600-1,000) with 16 requests at once, 1024 tokens in, 256 out; TPOT 20 ms, "
        "TTFT 0.4 s if they come at once; most of it goes to reading weights",
        "  price    1.00 USD/h, 0.35 USD per million tokens written (0.28-0.46); as of 2026-11-24, my cloud; "
        "prices move",
        "  others   pipeline 2: 1.6 times slower than tensor 2",
        "           data 2: GPU 0 lacks 1.3 GiB",
    ]


def test_what_does_not_fit_is_seen_and_said_and_mended() -> None:
    text = "\n".join(picture(plans.lacks(), 100, None, {"chat": ("it fits with no CUDA graphs",)}))
    assert re.search(r"│A█+!{5,}│ 28.1 of 23.5 GiB", text)
    assert "  !  more than the GPU has\n" in text
    assert "memory   does not fit: weights 25.0 + KV cache 0.50 + activation peak 1.3" in text
    assert "requests of" not in text
    assert text.endswith("  mend     it fits with no CUDA graphs")


def test_gpus_that_differ_have_a_table_each() -> None:
    text = "\n".join(picture(plans.stages(), 100))
    assert "  GPU 0 RTX 4090 │A" in text
    assert re.search(r"  GPU 1 RTX 3090 │A█+BC▓+D░*F/{5,}·+│ 10\.1 of 18\.0 GiB", text)
    assert "     GPU 0   " in text
    assert "     GPU 1   " in text
    assert "  /  in use by others" in text


def test_what_is_not_known_is_said() -> None:
    text = "\n".join(picture(plans.unknown()))
    assert "memory   not known: the sizes of someone/some-model are not known (model_facts: gives them)" in text
    assert "price    not known for gh200-96gb: --prices FILE gives it" in text
    assert "│" not in text


def test_a_pipeline_has_its_jobs_and_their_price_together() -> None:
    text = "kind: pipeline\njobs:\n  a: {kind: inference, engine: vllm, model: x/y, gpus: 1, port: 8000}\n"
    text += "  b: {kind: task, command: [x]}\n"
    from mgpu.catalog.machines import shorthand

    plan = plans.planned(text, shorthand("2xrtx-4090"), (plans.estimate(0),), None)
    lines = picture(plan, None, CHEAP)
    assert lines[0] == "chat on 2xrtx-4090"
    assert "b on 2xrtx-4090: task (process), no GPU" in lines
    assert lines[-1] == "  price    of all jobs: 0.50 USD/h; as of 2026-11-24, my cloud; prices move"


def test_a_training_says_how_it_is_taken_to_go() -> None:
    from mgpu.catalog.machines import shorthand

    text = "kind: training\nname: tune\nengine: torchrun\nscript: train.py\nmodel: x/y\n"
    text += (
        "recipe: {method: lora, lora_rank: 8, sharding: fsdp, micro_batch: 2, sequence: 4096, checkpointing: true}\n"
    )
    plan = plans.planned(text, shorthand("1xrtx-4090"), (plans.estimate(0, budget=None),))
    words = "lora of rank 8, amp, adamw, fsdp, 2 x 4,096 tokens, gradient checkpointing"
    assert f"  recipe   {words}" in picture(plan)
    assert not [line for line in picture(plans.fits()) if line.startswith("  recipe")]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_the_terminal(plan: object, width: int) -> None:
    lines = picture(plan(), width)  # type: ignore[operator]
    assert max(map(len, lines)) <= width
    assert lines == [line.rstrip() for line in lines]
    coloured = picture(plan(), width, colour=True)  # type: ignore[operator]
    assert [re.sub("\033\\[[0-9]*m", "", line) for line in coloured] == lines


SIZES = some.integers(0, 40).map(lambda size: size * GIB)


@settings(max_examples=200, deadline=None)
@given(some.lists(SIZES, min_size=1, max_size=8), some.integers(20, 150), some.none() | SIZES, SIZES)
def test_a_bar_is_as_long_as_its_parts(sizes: list[int], width: int, budget: int | None, others: int) -> None:
    gpu = Gpu(0, "x", 80 * GIB, max(0, 80 * GIB - others))
    found = Estimate(
        0, tuple(Line(f"l{at}", exactly(size), "exact") for at, size in enumerate(sizes)), gpu.free, budget
    )
    known, whole = letters([found]), scale([(gpu, found)])
    stretches = bar(gpu, found, known, whole, width)
    assert sum(stretch.cells for stretch in stretches) == width
    lengths = {known[line.name]: line.bytes.expected * width / whole for line in found.lines}
    for letter, cells in stretches:
        if letter in LETTERS and MISSING not in {stretch.letter for stretch in stretches} and letter in lengths:
            assert abs(cells - lengths[letter]) <= 1
    missing = sum(stretch.cells for stretch in stretches if stretch.letter == MISSING)
    needed = max(sum(sizes), budget or 0) + others
    assert (missing > 0) == (round(needed * width / whole) > round(gpu.memory * width / whole))


def test_neighbours_differ_without_colour() -> None:
    assert painted([Stretch("A", 3), Stretch("B", 3), Stretch("C", 1), Stretch("·", 2)], False) == "A██B▒▒C··"


def test_bars_stand_under_each_other() -> None:
    gpus = [Gpu(index, "x", 24 * GIB, 24 * GIB) for index in (0, 10)]
    first, second = rows([(gpu, plans.estimate(gpu.index)) for gpu in gpus], 80)
    assert first.index("│") == second.index("│")
    assert len(first) == len(second) == 80


def table(width: int | None = None) -> list[str]:
    """Four machines, compared."""
    three = [Row("4xrtx-4090", plans.fits()), Row("1xrtx-4090", plans.lacks()), Row("gh200", plans.unknown())]
    return compared([*three, Row("1xl4", None, "chat needs 2 GPUs and there is 1")], width, CHEAP)


def test_machines_are_compared() -> None:
    assert table() == [
        "MACHINE       GPUS  LAYOUT    VERDICT          GiB A GPU  CONTEXT  TOKENS/S  USD/h  USD/M",
        "4xrtx-4090  2 of 4  tensor 2  fits          21.5 of 23.5  186,777       800   1.00   0.35",
        "1xrtx-4090  1 of 1  one GPU   does not fit  28.1 of 23.5        -         -   0.50      -",
        "gh200       1 of 1  one GPU   not known                -        -         -      -      -",
        "1xl4             -  -         no place                 -        -         -      -      -",
        "",
        "1xl4: chat needs 2 GPUs and there is 1",
        "",
        "the cheapest that fits: 4xrtx-4090, 1.00 USD/h (prices of 2026-11-24)",
    ]


def test_a_narrow_terminal_has_two_tables() -> None:
    lines = table(80)
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("MACHINE") for line in lines) == 2
    assert sum(line.startswith("4xrtx-4090") for line in lines) == 2


def test_nothing_fits() -> None:
    assert compared([Row("a", plans.lacks()), Row("b", plans.unknown())])[-1] == "whether it fits is not known of b"
    assert compared([Row("a", plans.lacks())])[-1] == "it fits on none of them"
    assert compared([Row("a", plans.fits())], None, Prices("2026-11-24", ""))[-1].endswith("the price of none is known")


@pytest.mark.parametrize("plan", [plans.fits, plans.lacks, plans.stages], ids=lambda plan: plan.__name__)
def test_json_has_every_line(plan: object) -> None:
    made: Plan = plan()  # type: ignore[operator]
    data = json.loads(json.dumps(plain(made, (), CHEAP, priced=True)))
    for task, found in zip(made.tasks, data["tasks"], strict=True):
        assert isinstance(task.memory, tuple)
        for estimate, gpu in zip(task.memory, found["memory"], strict=True):
            assert [
                (
                    line["name"],
                    line["low"],
                    line["expected"],
                    line["high"],
                    line["source"],
                    line["why"],
                    line["outside"],
                )
                for line in gpu["lines"]
            ] == [(line.name, *line.bytes, line.source, line.why, line.outside) for line in estimate.lines]
            assert gpu["verdict"] == estimate.verdict
            assert gpu["total"]["expected"] == sum(line["expected"] for line in gpu["lines"])
    assert data["price"].keys() == {
        *("usd_per_hour", "usd_per_million", "usd_cheapest", "usd_dearest"),
        *(("date", "source") if data["price"]["usd_per_hour"] else ("unknown",)),
    }


def test_json_says_how_the_layout_was_chosen() -> None:
    found = plain(plans.fits(), ())["tasks"][0]["decision"]
    assert found["chosen"]["speed"]["tokens_per_second"] == 800.0
    assert [other["verdict"] for other in found["others"]] == ["fits", "does not fit"]
    assert found["workload"] == {"concurrency": 16, "prompt": 1024, "output": 256}
    unknown = plain(plans.unknown(), ())["tasks"][0]["memory"]
    assert unknown == {"unknown": "the sizes of someone/some-model are not known", "hint": "model_facts: gives them"}


def test_the_verb(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(spec), "--machine", "1xrtx-4090"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("chat on 1xrtx-4090: vllm 0.32.0 (docker), 1 of 1 GPU (RTX 4090)\n")
    assert "memory   not known" in out
    assert main(["plan", str(spec), "--machine", "1xrtx-4090", "--json", "--policy", "throughput"]) == 0
    assert json.loads(capsys.readouterr().out)["price"]["usd_per_hour"] > 0


def test_what_is_not_known_is_not_mended(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(spec), "--machine", "1xrtx-4090", "--fix"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "whether it fits is not known: " in shown.err


def test_the_verb_compares(spec: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("date: 2026-11-24\ngpus: {l4: 1.5}\n")
    words = ["plan", str(spec), "--machine", "1xl4", "--machine", "0xl4", "--prices", str(tmp_path / "prices.yaml")]
    words[-3] = "2xl4"
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["MACHINE", "1xl4", "2xl4"]
    assert lines[1].split()[-2] == "1.50"


def test_a_wrong_price_list_and_a_wrong_pair_of_options_are_told(
    spec: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "prices.yaml").write_text("date: 2026-11-24\ngpus: {l44: 1.5}\n")
    assert main(["plan", str(spec), "--machine", "1xl4", "--prices", str(tmp_path / "prices.yaml")]) == 1
    assert "prices.yaml:2:8: l44 is no GPU that mgpu knows" in capsys.readouterr().err
    assert main(["plan", str(spec), "--machine", "1xl4", "--fix", "--json"]) == 2


def test_the_hub_is_asked_only_when_it_is_said(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mgpu.catalog.models import by_name
    from mgpu.machine import online

    asked: list[str] = []
    llama = by_name("llama-3.1-8b")
    monkeypatch.setattr(online, "asked", lambda name: (asked.append(name), (llama, "as the hub has it"))[1])
    assert main(["plan", str(spec), "--machine", "1xl40s"]) == 0
    assert not asked
    capsys.readouterr()
    assert main(["plan", str(spec), "--machine", "1xl40s", "--online", "--set", "context_length=8192"]) == 0
    shown = capsys.readouterr()
    assert asked == ["someone/some-model"]
    assert "mgpu: as the hub has it" in shown.err
    assert "memory   fits: " in shown.out


def test_the_verb_mends(spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    import mgpu.plan.tasks as tasks_module
    from mgpu.engines import engine_named

    def needs(task: object, *_: object) -> tuple[Estimate, ...]:
        size = 25 if task.job.context_length is None else task.job.context_length / 1000  # type: ignore[attr-defined]
        cache = plans.estimate(0).cache
        assert cache
        line = Line("weights", exactly(size * GIB), "exact")
        return (Estimate(0, (line,), 20 * GIB, cache=cache._replace(context=131072)),)

    vllm = replace(engine_named("vllm"), memory=needs)
    monkeypatch.setattr(tasks_module, "engine_named", lambda name: vllm)
    assert main(["plan", str(spec), "--machine", "1xrtx-4090", "--fix"]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith(" gpus: 1\n runtime: docker\n+context_length: 19456\n")
    assert "chat fits with a context of 19,456 tokens in place of 131,072" in shown.err
    assert main(["plan", str(spec), "--machine", "1xrtx-4090"]) == 1
    assert "mend     it fits here with a context of 19,456 tokens" in capsys.readouterr().out
    spec.write_text(spec.read_text() + "context_length: 8192\n")
    assert main(["plan", str(spec), "--machine", "1xrtx-4090", "--fix"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{spec}: it fits on 1xrtx-4090 as it is\n")


def test_a_fix_is_found_for_the_fewest_gpus_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mgpu.yaml"
    path.write_text(
        "kind: inference\nengine: vllm\nmodel: meta-llama/Llama-3.1-70B-Instruct\ngpus: auto\ncontext_length: 4096\n"
    )
    assert main(["plan", str(path), "--machine", "2xa100-sxm4-40gb", "--fix"]) == 0
    assert "+model: hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4" in capsys.readouterr().out
    assert main(["plan", str(path), "--machine", "1xrtx-3090"]) == 1
    said = capsys.readouterr().out
    assert "does not fit: weights 131.4" in said
    assert "as it is it fits on" in said
