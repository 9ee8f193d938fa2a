"""What comes in and goes out of the verbs that compile: files of any bytes, folders, locales, terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.spec.notes import MOST

ROOT = Path(__file__).parents[2]
TASK = "kind: task\ncommand: [echo, {}]\n"


def mgpu(*words: str, cwd: Path, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    line = [sys.executable, "-m", "mgpu", *words]
    return subprocess.run(line, cwd=cwd, input=stdin, env={**kept, "PYTHONPATH": str(ROOT), **env},
                          capture_output=True, check=False)  # fmt: skip


@pytest.mark.parametrize(("raw", "said"), [
    (b"kind: task\ncommand: [\xff]\n", "spec.yaml:2:11: this is not UTF-8: byte 0xff"),
    ("kind: task # é\nname: ".encode() + b"\xc3(", "spec.yaml:2:7: this is not UTF-8: byte 0xc3"),
    ("kind: task".encode("utf-16"), "spec.yaml:1:1: this is not UTF-8: byte 0xff"),
    (b"a" * 300_000, "spec.yaml:1:1: this document has more than 256 KiB"),
    ("é".encode() * 140_000, "spec.yaml:1:1: this document has more than 256 KiB"),
    (b"", "spec.yaml:1:1: this document is empty"),
    (b"kind: task\nname: \x1b[31mA\n", "spec.yaml:2:7: a control character stands here: '\\x1b'"),
])  # fmt: skip
def test_files_of_any_bytes(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "spec.yaml").write_bytes(raw)
    done = mgpu("validate", "spec.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode().split("\n")[0]) == (1, said)
    assert b"\x1b" not in done.stdout


def test_an_endless_file_comes_to_an_end(tmp_path: Path) -> None:
    done = mgpu("validate", "/dev/zero", cwd=tmp_path)
    assert b"more than 256 KiB" in done.stdout


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    done = mgpu("validate", "/proc/self/mem", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"mgpu: /proc/self/mem cannot be read: ")


def test_folders_give_what_is_a_spec_and_not_hidden(tmp_path: Path) -> None:
    for name in ("a/x.mgpu.yaml", "a/b/y.mgpu.yaml", ".venv/z.mgpu.yaml", "a/.old/z.mgpu.yaml", "a/other.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(TASK.format("hi") if name[-11] in "xy" else "kind: wrong\n")
    (tmp_path / "a" / "folder.mgpu.yaml").mkdir()
    done = mgpu("validate", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"2 specs: good\n")
    hidden = mgpu("validate", ".venv", cwd=tmp_path)
    assert hidden.returncode == 1, "a hidden folder that is named is meant"


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"},
                                 {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])  # fmt: skip
def test_what_is_printed_and_written_is_utf8_in_every_locale(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "é.mgpu.yaml").write_text(TASK.format("'żółw 🐢'"), "utf-8")
    printed = mgpu("render", ".", "--machine", "1xrtx-4090", cwd=tmp_path, **env)
    assert "echo 'żółw 🐢'\n".encode() in printed.stdout
    assert mgpu("render", ".", "--machine", "1xrtx-4090", "--out", "out", cwd=tmp_path, **env).returncode == 0
    assert (tmp_path / "out" / "é.sh").read_bytes() == printed.stdout
    same = mgpu("render", ".", "--machine", "1xrtx-4090", "--out", "out", "--check", cwd=tmp_path, **env)
    assert (same.returncode, same.stdout) == (0, b"")


def test_two_specs_of_one_name_are_both_printed_and_never_written_over_each_other(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.mgpu.yaml").write_text(TASK.format(name))
    words = ("render", "a/x.mgpu.yaml", "b/x.mgpu.yaml", "--machine", "1xrtx-4090")
    printed = mgpu(*words, cwd=tmp_path)
    assert b"echo a\n" in printed.stdout
    assert b"echo b\n" in printed.stdout
    written = mgpu(*words, "--out", "out", cwd=tmp_path)
    assert (written.returncode, (tmp_path / "out").exists()) == (2, False)
    assert b"b/x.mgpu.yaml is not the only spec that renders to x.sh" in written.stderr


def test_check_sees_every_byte_and_only_files(tmp_path: Path) -> None:
    (tmp_path / "x.mgpu.yaml").write_text(TASK.format("a"))
    words = ("render", "x.mgpu.yaml", "--machine", "1xrtx-4090", "--out", "out")
    assert mgpu(*words, cwd=tmp_path).returncode == 0
    (tmp_path / "out" / "folder.sh").mkdir()
    (tmp_path / "out" / "x.json").write_text("{}")
    assert mgpu(*words, "--check", cwd=tmp_path).returncode == 0
    file = tmp_path / "out" / "x.sh"
    good = file.read_bytes()
    for other in (good.replace(b"\n", b"\r\n"), good.rstrip(b"\n"), b"", b"\xff", good + b"\n"):
        file.write_bytes(other)
        assert mgpu(*words, "--check", cwd=tmp_path).returncode == 1, other


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.mgpu.yaml").write_text(TASK.format("a"))
    done = mgpu("render", "x.mgpu.yaml", "--machine", "1xrtx-4090", "--out", "x.mgpu.yaml", cwd=tmp_path)
    assert (done.returncode, b"cannot be written: " in done.stderr) == (2, True)


def test_a_machine_that_the_spec_names_wrongly_is_told_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.mgpu.yaml").write_text(TASK.format("a") + "machine: 2xrtx-9999\n")
    done = mgpu("render", "x.mgpu.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"x.mgpu.yaml:3:10: 'rtx-9999' is no GPU of the catalogue")


def test_standard_input_has_a_name(tmp_path: Path) -> None:
    done = mgpu("render", "-", "--machine", "1xrtx-4090", "--out", "out", cwd=tmp_path, stdin=TASK.format("a").encode())
    assert (done.returncode, [file.name for file in (tmp_path / "out").iterdir()]) == (0, ["stdin.sh"])
    wrong = mgpu("validate", "-", cwd=tmp_path, stdin=b"kind: x\n")
    assert wrong.stdout.startswith(b"stdin:1:7: kind cannot be 'x'")


def test_thousands_of_problems_are_told_by_the_first_of_them(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: task\n" + "".join(f"key{at}: 1\n" for at in range(4_900)))
    done = mgpu("validate", "x.yaml", cwd=tmp_path)
    assert done.stdout.count(b": unknown key 'key") == MOST
    assert b"these are 200 problems: the rest of the document was not looked at" in done.stdout


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_only_where_somebody_looks(tmp_path: Path, env: dict[str, str], coloured: bool) -> None:
    (tmp_path / "x.yaml").write_text("kind: x\n")
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "mgpu", "validate", "x.yaml"]
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(line, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, check=False,
                   env={**kept, "TERM": "xterm", "PYTHONPATH": str(ROOT), **env})  # fmt: skip
    os.close(theirs)
    assert (b"\x1b[1m" in os.read(ours, 4096)) == coloured
    os.close(ours)
