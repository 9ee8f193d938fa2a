"""A secret's value is looked for everywhere that mgpu writes, says, or starts something: it is in the job alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mgpu.cli import VERBS
from tests.end_to_end.host import MGPU, Host, eventually, lives
from tests.fakes.docker import BUSYBOX, Engine
from tests.run.scene import told

FROM_ENV, FROM_FILE = "canary-7f3e9a1c5b", "canary-5c0de91b77"
JOB = """
kind: pipeline
name: job
jobs:
  one:
    kind: task
    command:
      - sh
      - -c
      - 'test -n "$API_TOKEN" && test -n "$PASSWORD" && echo got it; while [ ! -e {go} ]; do sleep 0.1; done; exit 5'
    secrets: [API_TOKEN, {{name: PASSWORD, file: {file}}}]
    gpus: 1
    stop_grace: 1s
    timeout: 1m
    {more}
"""
BUG = """
import sys
import mgpu.run.executor as executor

def broken(compiled, folder, secrets, *_):
    raise RuntimeError(f"{secrets} {secrets!r} %s" % secrets)

executor._taken = broken
from mgpu.cli import main
sys.exit(main(sys.argv[1:]))
"""
MANY = """
import json, sys
from mgpu.cli import main

for words in json.loads(sys.argv[1]):
    main(words)
"""
COMPILING = (
    ["validate"], ["validate", "--json"], ["validate", "--resolved"], ["render"], ["render", "--json"], ["plan"],
    ["plan", "--json"], ["run", "--dry-run"], ["run", "--dry-run", "--json"],
)  # fmt: skip
SAYING = (["ps"], ["ps", "--all"], ["ps", "--all", "--json"], ["logs", "job"], ["events", "job"], ["why", "job"])


@pytest.fixture(params=["process", "container"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Host, Path, Path]:
    """A host, its spec, and the file that lets the job end; what holds the second secret is outside of the host."""
    boxed = request.param == "container"
    engine: Engine | None = request.getfixturevalue("engine") if boxed else None
    folder, outside = tmp_path / "host", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "password").write_text(FROM_FILE + "\n")
    host = Host(folder, gpus=1, engine=engine)
    host.env |= {"TMPDIR": str(folder), "API_TOKEN": FROM_ENV}
    go = Path("/workspace/go") if boxed else folder / "go"
    text = JOB.format(go=go, file=outside / "password", more=f"image: {BUSYBOX}" if boxed else "")
    return host, host.spec(text), folder / "go"


def found(texts: list[bytes]) -> int:
    """How often a value stands in these."""
    return sum(text.count(canary.encode()) for text in texts for canary in (FROM_ENV, FROM_FILE))


def command_lines() -> list[bytes]:
    return [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if lives(int(path.parent.name))]


def said(*done: subprocess.CompletedProcess[str]) -> list[bytes]:
    return [stream.encode() for one in done for stream in (one.stdout, one.stderr)]


def program(host: Host, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A program that calls mgpu, carried out where mgpu would be."""
    argv = [*host.argv[: -len(MGPU) + 1], "-c", text, *words]
    return subprocess.run(argv, env=host.env, capture_output=True, text=True, timeout=60, check=False)


def test_a_secret_is_nowhere(where: tuple[Host, Path, Path], request: pytest.FixtureRequest) -> None:
    host, spec, go = where
    saying = json.dumps([words for words in SAYING if words[0] in VERBS])
    shown = said(program(host, MANY, json.dumps([[*words, str(spec)] for words in COMPILING])))
    runner = host.start("run", "--json", spec)
    eventually(lambda: host.mgpu("logs", "job").stdout == "got it\n", "the job has its secrets")
    lines = command_lines()
    assert any(b"mgpu" in line for line in lines)
    shown += said(program(host, MANY, saying))
    go.touch()
    out, err = runner.communicate(timeout=30)
    assert json.loads(out)["code"] == 5, err
    shown += [out.encode(), err.encode()]
    shown += said(program(host, MANY, saying))
    crash = program(host, BUG, "run", str(spec))
    assert crash.returncode == 3, crash.stderr
    log = next(host.folder.glob("mgpu-crash-*.log")).read_text()
    assert "'API_TOKEN': <secret>" in log, "the bug would have told it"
    shown += said(crash)
    files = [file.read_bytes() for file in host.folder.rglob("*") if file.is_file()]
    assert any(file.name == "run.json" for file in host.folder.rglob("*"))
    counted = {"command lines": lines, "outputs": shown, "files": files}
    words = ", ".join(f"{len(texts)} {name}" for name, texts in counted.items())
    times = sum(found(texts) for texts in counted.values())
    told(request, "A secret's value", f"  looked for in {words}: {times} times")
    assert times == 0
    assert found([FROM_ENV.encode() + FROM_FILE.encode()]) == 2
