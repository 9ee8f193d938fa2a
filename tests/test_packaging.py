"""The same catalogue spec from a wheel in an empty environment, an editable install and a checkout: the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.require import require

ROOT = Path(__file__).parents[1]
SPEC = "llama-3.1-70b-awq-vllm-2xa100-sxm4-40gb"
WHERE = "import mgpu, pathlib; print(pathlib.Path(mgpu.__file__).parent)"


def done(*argv: str | Path, cwd: Path, **env: str) -> str:
    """What the command prints; it must succeed. Nothing of this process's own path to mgpu is passed on."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(argv, cwd=cwd, env=clean | env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{argv}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def environment(folder: Path) -> Path:
    """A new, empty environment; its interpreter."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def rendering(python: Path | str, folder: Path, **env: str) -> dict[str, bytes]:
    """What `mgpu new` and `mgpu render` of one catalogue spec give in an empty folder."""
    folder.mkdir()
    done(python, "-m", "mgpu", "new", SPEC, cwd=folder, **env)
    text = done(python, "-m", "mgpu", "render", f"{SPEC}.mgpu.yaml", cwd=folder, **env)
    return {"stdout": text.encode()} | {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rendering of the checkout that these tests stand in."""
    folder = tmp_path_factory.mktemp("checkout")
    assert done(sys.executable, "-c", WHERE, cwd=folder, PYTHONPATH=str(ROOT)).strip() == str(ROOT / "mgpu")
    return rendering(sys.executable, folder / "work", PYTHONPATH=str(ROOT))


def test_checkout_renders_two_files_and_a_command(checkout: dict[str, bytes]) -> None:
    assert set(checkout) == {"stdout", f"{SPEC}.mgpu.yaml", "mgpu.schema.json"}
    assert b"--tensor-parallel-size 2" in checkout["stdout"]


def install(python: Path, *what: str | Path) -> None:
    """Install with pip, from the index where something is missing."""
    argv = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    require("index", result.returncode == 0, f"pip cannot install here: {result.stderr[-1000:]}")


def test_wheel_in_an_empty_environment(tmp_path: Path, checkout: dict[str, bytes]) -> None:
    built = tmp_path / "dist"
    done(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", built, cwd=ROOT)
    (wheel,) = built.glob("mgpu_cli-*.whl")
    python = environment(tmp_path / "env")
    install(python, wheel)
    assert Path(done(python, "-c", WHERE, cwd=tmp_path).strip()).is_relative_to(tmp_path / "env")
    assert rendering(python, tmp_path / "work") == checkout
    assert done(tmp_path / "env" / "bin" / "mgpu", "--version", cwd=tmp_path).startswith("mgpu ")
    assert "No broken requirements" in done(python, "-m", "pip", "check", cwd=tmp_path)


def test_editable_install(tmp_path: Path, checkout: dict[str, bytes]) -> None:
    python = environment(tmp_path / "env")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install(python, "--no-deps", "--editable", ROOT)
    assert done(python, "-c", WHERE, cwd=tmp_path).strip() == str(ROOT / "mgpu")
    assert rendering(python, tmp_path / "work") == checkout
