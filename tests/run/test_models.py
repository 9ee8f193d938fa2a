"""Models are fetched ahead of time from a stand-in of the Hugging Face hub, by the real huggingface_hub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgpu.run.models import UNIQUE
from tests.end_to_end.host import Host, eventually
from tests.fakes.hub import Hub, Repository

NAME = "org/model"
ASKS = "mgpu: asking the hub for org/model\n"
VLLM = f"kind: inference\nengine: vllm\nmodel: {NAME}\nruntime: process\n"
LLAMA = "kind: inference\nengine: llamacpp\nmodel: {}\nruntime: process\n"
WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"a": 1}',
    "README.md": b"words",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": os.urandom(200_000),
    "model.gguf": os.urandom(200_000),
    "consolidated.00.pth": os.urandom(200_000),
    "original/params.json": b"{}",
}
SHELF = {
    "README.md": b"words",
    "mmproj-F16.gguf": os.urandom(9000),
    "tiny-IQ2_M.gguf": os.urandom(8000),
    "tiny-Q4_K_M.gguf": os.urandom(8000),
    "BF16/tiny-BF16-00001-of-00002.gguf": os.urandom(8000),
    "BF16/tiny-BF16-00002-of-00002.gguf": os.urandom(8000),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.repositories[NAME] = Repository(FILES)
        yield hub


@pytest.fixture
def host(tmp_path: Path, hub: Hub) -> Host:
    host = Host(tmp_path, gpus=1)
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in host.env if name.startswith(("HF_", "HUGGING"))]:
        del host.env[name]
    host.env |= {"HOME": str(home), "HF_ENDPOINT": hub.url, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    return host


def snapshot(host: Host, name: str = NAME, cache: str = "home/.cache/huggingface/hub") -> dict[str, bytes]:
    """The files of the commit that `main` names in the cache."""
    folder = host.folder / cache / ("models--" + name.replace("/", "--"))
    commit = (folder / "refs" / "main").read_text()
    top = folder / "snapshots" / commit
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def pulled(host: Host, spec: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return host.mgpu("pull", host.spec(spec), *words, **env)


def test_what_vllm_reads_is_fetched_once(host: Host, hub: Hub) -> None:
    done = pulled(host, VLLM)
    assert (done.returncode, done.stdout) == (0, "org/model: pulled 300.0 kB\n"), done.stderr
    read = ["config.json", "model.safetensors", "tokenizer.json"]
    assert snapshot(host) == {name: FILES[name] for name in read}
    assert hub.sent() == ["model.safetensors"]
    again = pulled(host, VLLM)
    assert (again.stdout, again.stderr) == ("org/model: there already\n", ASKS)
    assert hub.sent() == ["model.safetensors"]


def test_in_a_log_it_says_when_it_starts(host: Host) -> None:
    assert pulled(host, VLLM).stderr == ASKS + "mgpu: pulling org/model\n"


def test_the_cache_is_the_one_that_the_process_uses(host: Host) -> None:
    assert pulled(host, VLLM, HF_HOME=str(host.folder / "elsewhere")).returncode == 0
    assert "config.json" in snapshot(host, cache="elsewhere/hub")
    assert pulled(host, VLLM + "env: {HF_HUB_CACHE: own}\n").returncode == 0
    assert "config.json" in snapshot(host, cache="own")
    llama = LLAMA.format(NAME)
    assert pulled(host, llama, LLAMA_CACHE=str(host.folder / "llama")).returncode == 0
    assert list(snapshot(host, cache="llama")) == ["model.gguf"]


def test_the_cache_is_the_one_that_the_container_mounts(host: Host) -> None:
    boxed = VLLM.replace("runtime: process", "image: org/image:1")
    done = pulled(host, boxed, HF_HOME=str(host.folder / "elsewhere"))
    assert (done.returncode, done.stdout) == (125, "org/model: pulled 300.0 kB\n"), done.stderr
    assert "there is no Docker engine here" in done.stderr
    assert "config.json" in snapshot(host)
    mounted = boxed + "env: {HF_HOME: /data/hf}\nvolumes: ['./big:/data']\n"
    assert "org/model: pulled" in pulled(host, mounted).stdout
    assert "config.json" in snapshot(host, cache="big/hf/hub")
    lost = pulled(host, boxed + "env: {HF_HOME: /lost}\n")
    assert "not pulled: its container keeps it in /lost/hub, which is on no volume" in lost.stdout


def test_json_says_what_was_done(host: Host, hub: Hub) -> None:
    (item,) = items(pulled(host, VLLM, "--json"))
    assert item["state"] == "pulled"
    assert item["commit"] == hub.repositories[NAME].commit
    assert (item["model"], item["bytes"]) == (NAME, len(WEIGHTS) + 10)
    assert items(pulled(host, VLLM, "--json"))[0]["state"] == "there"


def items(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found = json.loads(done.stdout)["items"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(("model", "files"), [
    ("org/gguf", ["mmproj-F16.gguf", "tiny-Q4_K_M.gguf"]),
    ("org/gguf:IQ2_M", ["mmproj-F16.gguf", "tiny-IQ2_M.gguf"]),
    ("org/gguf:bf16", [f"BF16/tiny-BF16-0000{part}-of-00002.gguf" for part in (1, 2)] + ["mmproj-F16.gguf"]),
])  # fmt: skip
def test_what_llama_server_takes_is_fetched(host: Host, hub: Hub, model: str, files: list[str]) -> None:
    hub.repositories["org/gguf"] = Repository(SHELF)
    done = pulled(host, LLAMA.format(model))
    assert done.returncode == 0, done.stderr
    assert sorted(snapshot(host, "org/gguf")) == files


def test_what_is_not_mgpu_s_to_fetch_is_told(host: Host) -> None:
    done = pulled(host, LLAMA.format(NAME) + "version: b5000\n")
    assert done.returncode == 0
    assert "llama-server b5000 keeps models in a folder of its own, and fetches it at its start" in done.stdout
    kept = pulled(host, VLLM + "args: {download-dir: /big}\n")
    assert (kept.returncode, "download-dir" in kept.stdout) == (0, True)


def test_what_is_local_needs_no_hub(host: Host, hub: Hub) -> None:
    (host.folder / "org" / "model").mkdir(parents=True)
    for spec in (VLLM, LLAMA.format("models/tiny.gguf"), "kind: task\ncommand: [x]\n"):
        done = pulled(host, spec)
        assert (done.returncode, done.stdout) == (0, "job: there is nothing to pull: no container, "
                                                     "and no model from the hub\n")  # fmt: skip
    assert hub.asked == []


def test_gpus_that_are_taken_do_not_matter(host: Host) -> None:
    assert host.mgpu("run", "--detach", host.task("exec sleep 60", "holder", gpus=1)).returncode == 0
    try:
        assert pulled(host, VLLM).returncode == 0
        assert host.mgpu("run", "--dry-run", host.spec(VLLM)).returncode == 75
    finally:
        host.mgpu("stop", "holder")


@pytest.mark.parametrize(("repository", "token", "why", "hint"), [
    (Repository(FILES, gated=True), None, "org/model is gated: the hub gives it only to accounts that were let in",
     "then export HF_TOKEN=..."),
    (Repository(FILES, gated=True), "hf_badtokenbadtokenbadtokenbad", "org/model is gated", "mend the token in"),
    (Repository(FILES, private=True), None, "the hub has no model org/model, or this account may not see it",
     "mend model:"),
    (Repository({"README.md": b"x"}), None, "org/model has no file that its engine reads", "mend model:"),
])  # fmt: skip
def test_a_refusal_is_told_in_words(
    host: Host, hub: Hub, repository: Repository, token: str | None, why: str, hint: str
) -> None:
    hub.repositories[NAME] = repository
    done = pulled(host, VLLM, **({"HF_TOKEN": token} if token else {}))
    assert done.returncode == 125
    assert why in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert "hf_" not in done.stderr + done.stdout


def test_the_token_comes_from_the_caller_or_from_the_secret_s_file(host: Host, hub: Hub) -> None:
    repository = hub.repositories[NAME] = Repository(FILES, private=True, gated=True)
    assert pulled(host, VLLM, HF_TOKEN=repository.token).returncode == 0
    (host.folder / "token").write_text(repository.token + "\n")
    hub.repositories["org/other"] = repository
    spec = VLLM.replace(NAME, "org/other") + f"secrets: [{{name: HF_TOKEN, file: {host.folder}/token}}]\n"
    assert pulled(host, spec).returncode == 0
    assert "config.json" in snapshot(host, "org/other")


def test_a_revision(host: Host, hub: Hub) -> None:
    hub.repositories[NAME] = Repository(FILES, branches=("main", "old"))
    assert pulled(host, VLLM + "args: {revision: old}\n").returncode == 0
    cache = host.folder / "home/.cache/huggingface/hub/models--org--model/refs"
    assert [ref.name for ref in cache.iterdir()] == ["old"]
    wrong = pulled(host, VLLM + "args: {revision: older}\n")
    assert wrong.returncode == 125
    assert "org/model has no revision older" in wrong.stderr


@pytest.mark.parametrize(("status", "why"), [
    (500, "the hub answers with status 500"),
    (429, "too many questions"),
    (403, "the hub refuses org/model with status 403"),
])  # fmt: skip
def test_a_hub_that_is_down(host: Host, hub: Hub, status: int, why: str) -> None:
    hub.status = status
    done = pulled(host, VLLM)
    assert (done.returncode, why in done.stderr) == (125, True), done.stderr


def test_no_network(host: Host) -> None:
    done = pulled(host, VLLM, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 125
    assert "the hub is not reached at http://127.0.0.1:9" in done.stderr
    offline = pulled(host, VLLM, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE forbids it" in offline.stderr


def test_a_disk_that_is_too_small_is_told_before(host: Host, hub: Hub) -> None:
    hub.repositories[NAME] = Repository(FILES, claims={"model.safetensors": 10**17})
    done = pulled(host, VLLM)
    assert done.returncode == 125
    assert "org/model does not fit on the disk of " in done.stderr
    assert "100000000.00 GB are to come" in done.stderr
    assert hub.sent() == []


def test_an_interrupted_pull_goes_on_with_what_has_not_come(host: Host, hub: Hub) -> None:
    files = {"config.json": b"{}", **{f"model-{part}.safetensors": os.urandom(100_000) for part in range(3)}}
    hub.repositories[NAME] = Repository(files, rate=200_000)
    pull = host.start("pull", host.spec(VLLM))
    blobs = host.folder / "home/.cache/huggingface/hub/models--org--model/blobs"
    eventually(lambda: blobs.is_dir() and len(list(blobs.iterdir())) > 2, "it has begun")
    pull.send_signal(signal.SIGINT)
    _, said = pull.communicate(timeout=10)
    assert pull.returncode == 130
    assert "Traceback" not in said
    assert "mgpu: org/model: interrupted at " in said
    assert not [path.name for path in blobs.iterdir() if UNIQUE.search(path.name)]
    hub.repositories[NAME] = Repository(files)
    assert pulled(host, VLLM).returncode == 0
    assert snapshot(host) == files


def test_without_the_extra_it_says_how_to_have_it(host: Host) -> None:
    blind = host.folder / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'huggingface_hub' else find(name, *more)\n"
    )
    done = pulled(host, VLLM, PYTHONPATH=f"{blind}{os.pathsep}{host.env['PYTHONPATH']}")
    assert done.returncode == 125
    assert "pip install 'mgpu-cli[hub]'" in done.stderr


def test_a_wrong_spec_is_a_1(host: Host) -> None:
    assert pulled(host, VLLM + "paralel: 2\n").returncode == 1
    assert pulled(host, VLLM + "gpus: 9\n").returncode == 1
    assert pulled(host, VLLM + "gpus: 2\n", "--machine", "2xrtx-4090").returncode == 0
