"""Whatever characters a text holds, a program gets it as exactly one argument, and the printed line means the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgpu import Compiled, compile
from mgpu.catalog.machines import shorthand
from mgpu.command.text import script
from mgpu.values.machine import FOLDER

EXAMPLES = 20_000 if os.environ.get("MGPU_SOAK") else 150
MACHINE = shorthand("2xrtx-4090")
NASTY = [
    "'",
    '"',
    "\\",
    "\n",
    "$(id)",
    "`id`",
    "${HOME}",
    "$HOME",
    "-x",
    "--y=z",
    "{{ x }}",
    "{% if x %}",
    "#",
    ";",
    "&&",
    "*",
    "~",
    " ",
    "\t",
    "\r",
    "é",
    "\U0001f600",
    "\x7f",
    "\x1b[1m",
    "=",
    "\u2028",
]
PLAIN = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
TEXT = (
    st.lists(st.one_of(st.sampled_from(NASTY), PLAIN), max_size=5)
    .map("".join)
    .filter(lambda text: "${jobs." not in text)
)
WORD = TEXT.filter(lambda text: text and not text.startswith("-"))
QUICK = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

DEEPSPEED = {"train_micro_batch_size_per_gpu": 4}
AXOLOTL = {"base_model": "m", "datasets": [{"path": "d"}]}
LLAMAFACTORY = {"model_name_or_path": "m", "output_dir": "o", "do_train": True}

ENGINES: dict[str, dict[str, Any]] = {
    "vllm": {"kind": "inference", "fields": ["model"], "args": True},
    "sglang": {"kind": "inference", "fields": ["model"], "args": True},
    "tensorrt-llm": {"kind": "inference", "fields": ["model"], "args": True},
    "lmdeploy": {"kind": "inference", "fields": ["model"], "args": True},
    "tgi": {"kind": "inference", "fields": ["model"], "args": True},
    "ollama": {"kind": "inference", "fields": [], "settings": True},
    "llamacpp": {"kind": "inference", "fields": ["model"], "args": True},
    "torchrun": {"kind": "training", "fields": ["script"], "args": True, "script_args": True},
    "deepspeed": {"kind": "training", "fields": ["script"], "args": True, "script_args": True, "config": DEEPSPEED},
    "accelerate": {"kind": "training", "fields": ["script"], "args": True, "script_args": True},
    "kohya": {"kind": "training", "fields": ["script"], "script_args": True},
    "axolotl": {"kind": "training", "fields": [], "args": True, "config": AXOLOTL},
    "llamafactory": {"kind": "training", "fields": [], "config": LLAMAFACTORY},
    "trl": {"kind": "training", "fields": [], "args": True, "trainer": "sft"},
    "comfyui": {"kind": "inference", "fields": [], "args": True},
    "a1111": {"kind": "inference", "fields": [], "args": True},
    "forge": {"kind": "inference", "fields": [], "args": True},
    "diffusers": {"kind": "inference", "fields": ["model"], "prompts": True},
    "xdit": {"kind": "inference", "fields": ["model"], "args": True},
    "custom": {"kind": "inference", "fields": [], "command": True},
    "task": {"kind": "task", "fields": [], "command": True},
}  # fmt: skip


@st.composite
def specs(draw: st.DrawFn, engine: str) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """A spec of the engine, the words that must be in its argv, and the environment it must have."""
    about = ENGINES[engine]
    env = draw(st.dictionaries(st.sampled_from(["A", "B_C"]), TEXT, max_size=2))
    spec: dict[str, Any] = {"kind": about["kind"], "name": "x", "gpus": 1, "env": env, "runtime": "process"}
    words: list[str] = []
    spec |= {key: about[key] for key in ("config", "trainer") if key in about}
    if about.get("args"):
        spec["version"] = "99.0"  # whose flags nobody has listed
    if engine != "task":
        spec["engine"] = engine
    for field in about["fields"]:
        spec[field] = draw(WORD)
        words.append(spec[field])
    for key in ("args", "script_args"):
        if about.get(key):
            spec[key] = {"some-flag": draw(TEXT), "many": draw(st.lists(WORD, min_size=2, max_size=3))}
            flag = spec[key]["some-flag"]
            words += [
                f"--some-flag={flag}" if flag.startswith("-") and engine != "llamacpp" else flag,
                *spec[key]["many"],
            ]
    if about.get("settings"):
        variables = draw(st.dictionaries(st.sampled_from(["A", "B_C"]), TEXT, max_size=2))
        spec |= {"model": "m", "version": "99.0", "args": variables}
        env = variables | env
    if about.get("prompts"):
        spec["args"] = {"prompt": draw(st.lists(TEXT.filter(bool), min_size=1, max_size=3))}
        words += [f"--prompt={text}" if text.startswith("-") else text for text in spec["args"]["prompt"]]
    if about.get("command"):
        spec["command"] = ["program", *draw(st.lists(TEXT, max_size=4))]
        words += spec["command"]
    if engine == "vllm" and str(spec["model"]).endswith(".gguf"):
        spec["model"] = "m"
        words[0] = "m"
    return spec, words, env


def compiled(spec: dict[str, Any]) -> Compiled:
    return compile(json.dumps(spec), MACHINE)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_text_is_one_argument(engine: str) -> None:
    @QUICK
    @given(specs(engine))
    def holds(drawn: tuple[dict[str, Any], list[str], dict[str, str]]) -> None:
        spec, words, env = drawn
        (command,) = compiled(spec).commands
        rest = list(command.argv)
        for word in words:
            assert word in rest, (word, rest)
            rest = rest[rest.index(word) + 1 :] if engine in ("custom", "task") else rest
        assert dict(command.env).items() >= env.items()

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_printed_line_means_the_same_to_a_shell(engine: str, tmp_path: Path) -> None:
    """Each printed line is given to bash, with programs that tell their arguments and environment, many at once."""
    collected: list[Compiled] = []

    @settings(QUICK, max_examples=min(EXAMPLES, 400))
    @given(specs(engine), st.booleans())
    def collect(drawn: tuple[dict[str, Any], list[str], dict[str, str]], boxed: bool) -> None:
        spec = drawn[0]
        if boxed:
            spec = {**spec, "runtime": "docker", "image": "an/image:1", "volumes": ["~/a b:/c"]}
        collected.append(compiled(spec))

    collect()
    tell = tmp_path / "tell"
    tell.write_text('#!/bin/sh\nprintf "%s\\0" "$0" "$@" "A=$A" "B_C=$B_C" END\n')
    tell.chmod(0o755)
    programs = {command.argv[0] for done in collected for command in done.commands if not command.container} | {
        "docker"
    }
    for program in programs:
        (tmp_path / program).symlink_to(tell)
    text = "".join(f"(\n{script(done.plan, done.commands)}\n)\n" for done in collected)
    out = subprocess.run(["bash"], input=text.encode(), capture_output=True, check=True, cwd=tmp_path,
                         env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/ada"})  # fmt: skip
    said = out.stdout.decode().split("END\0")
    assert len(said) == len(collected) + 1
    for done, answer in zip(collected, said, strict=False):
        (command,) = done.commands
        words = answer.split("\0")[:-1]
        if command.container:
            assert tuple(words[-2 - len(command.argv) : -2]) == command.argv
            assert all(f"{name}={value}" in words for name, value in command.env)
            assert "/home/ada/a b:/c" in words
        else:
            env = dict(command.env)
            assert words[1:-2] == [word.replace(FOLDER, str(tmp_path)) for word in command.argv[1:]]
            assert words[-2:] == [f"A={env.get('A', '')}", f"B_C={env.get('B_C', '')}"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_printed_line_finds_its_file_from_another_folder(replicas: int, tmp_path: Path) -> None:
    """What is written below the spec's folder is named from there, though the program is started in its own."""
    (tmp_path / "ComfyUI").mkdir()
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\npwd\nwhile [ $# -gt 1 ]; do shift; done\ncat "$1"\n')
    program.chmod(0o755)
    spec = {
        "kind": "inference", "name": "x", "engine": "comfyui", "workdir": "ComfyUI", "replicas": replicas,
        "config": {"a": {"base_path": "/m"}}, "runtime": "process",
    }  # fmt: skip
    done = compiled(spec)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    text = script(done.plan, done.commands) + "wait\n"
    out = subprocess.run(["sh"], input=text, capture_output=True, check=True, cwd=tmp_path, env=env, text=True)
    assert out.stdout.count(f"{tmp_path}/ComfyUI\n") == replicas
    assert out.stdout.count("base_path: /m") == replicas
