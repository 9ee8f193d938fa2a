"""The program that draws: its flags are those of its list, and its command line is read as it says, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.catalog.flags import FOLDER
from mgpu.resources import folder
from tests.compiler.cases import REWRITE
from tests.parsers.layout import text
from tests.parsers.program import VERSION, parsed, program

LIST = FOLDER / "text-to-image" / f"{VERSION}.json"


def test_the_list_is_what_the_parser_holds() -> None:
    if REWRITE:
        LIST.parent.mkdir(exist_ok=True)
        LIST.write_text(text(parsed()))
    assert LIST.read_text() == text(parsed())


def test_pictures_have_seeds_and_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("a cat\n\na dog\n")
    words = ["--model", "m", "--prompt-file", str(tmp_path / "prompts"), "--prompt=-a b", "--seed", "7"]
    given, _ = program().read([*words, "--images-per-prompt", "2", "--output", "out"])
    drawn = program().pictures(given)
    assert [picture.prompt for picture in drawn] == ["-a b", "-a b", "a cat", "a cat", "a dog", "a dog"]
    assert [picture.seed for picture in drawn] == [7, 8, 9, 10, 11, 12]
    assert [str(picture.path) for picture in drawn[:2]] == ["out/0000.png", "out/0001.png"]


WRONG = pytest.mark.parametrize(("words", "world", "said"), [
    (["--ulysses-degree", "2"], 3, "3 processes cannot draw in groups of 2"),
    (["--ulysses-degree", "2"], 1, "1 processes cannot draw in groups of 2"),
    (["--ulysses-degree", "0"], 1, "1 or more"),
    (["--device-map", "balanced"], 2, "for one process"),
    (["--device-map", "balanced", "--cpu-offload"], 1, "excludes --cpu-offload"),
    (["--device-map", "auto"], 1, "invalid choice"),
    (["--call", "3"], 1, "wants a JSON object"),
    (["--call", "{"], 1, "invalid loads value"),
    (["--prompts", "x"], 1, "unrecognized arguments"),
])  # fmt: skip


@WRONG
def test_what_contradicts_itself_is_told(
    words: list[str], world: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(world))
    with pytest.raises(SystemExit):
        program().read(["--model", "m", "--prompt", "a cat", *words])
    assert said in capsys.readouterr().err


def test_without_words_there_is_nothing_to_draw(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program().read(["--model", "m"])
    assert "no --prompt" in capsys.readouterr().err


TORCH = """
bfloat16 = "bf16"
class cuda:
    is_available = staticmethod(lambda: False)
class Generator:
    def __init__(self, device): self.device = device
    def manual_seed(self, seed): return f"{self.device}:{seed}"
class distributed:
    init_process_group = staticmethod(lambda backend: print("joined by", backend))
    destroy_process_group = staticmethod(lambda: print("left"))
"""
DIFFUSERS = """
class Image:
    def __init__(self, text): self.text = text
    def save(self, path): path.write_text(self.text)
class DiffusionPipeline:
    hf_device_map = {"transformer": 1}
    @classmethod
    def from_pretrained(cls, model, **options):
        print("loaded", model, options)
        return cls()
    def set_progress_bar_config(self, disable): pass
    def to(self, device): print("to", device)
    def __call__(self, **given):
        class Drawn: images = [Image(repr(given))]
        return Drawn
"""
ARGS = [
    "--model",
    "m",
    "--prompt",
    "a cat",
    "--prompt",
    "a dog",
    "--prompt=an owl",
    "--steps",
    "2",
    "--call",
    '{"eta": 0.5}',
]


def run(folder_: Path, *words: str, rank: int = 0, world: int = 1) -> str:
    """The program's words, with stand-ins for torch and diffusers."""
    (folder_ / "torch.py").write_text(TORCH)
    (folder_ / "diffusers.py").write_text(DIFFUSERS)
    env = {"PYTHONPATH": str(folder_), "RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    line = [sys.executable, str(folder("templates") / "text_to_image.py"), *ARGS, *words]
    return subprocess.run(line, capture_output=True, text=True, check=True, cwd=folder_, env=env).stdout


def test_one_process_draws_everything(tmp_path: Path) -> None:
    said = run(tmp_path)
    assert "loaded m {'dtype': 'bf16'}" in said
    assert "to cpu" in said
    assert [path.name for path in sorted((tmp_path / "images").iterdir())] == ["0000.png", "0001.png", "0002.png"]
    drawn = (tmp_path / "images" / "0002.png").read_text()
    assert drawn == "{'prompt': 'an owl', 'generator': 'cpu:2', 'num_inference_steps': 2, 'eta': 0.5}"


def test_several_processes_share_the_pictures(tmp_path: Path) -> None:
    said = [run(tmp_path, "--output", f"of-{rank}", rank=rank, world=2) for rank in (0, 1)]
    assert all("joined by gloo" in text and text.rstrip().endswith("left") for text in said)
    names = [sorted(path.name for path in (tmp_path / f"of-{rank}").iterdir()) for rank in (0, 1)]
    assert names == [["0000.png", "0002.png"], ["0001.png"]]


def test_components_on_several_gpus_are_never_moved(tmp_path: Path) -> None:
    said = run(tmp_path, "--device-map", "balanced")
    assert "'device_map': 'balanced'" in said
    assert "components: {'transformer': 1}" in said
    assert "to c" not in said
