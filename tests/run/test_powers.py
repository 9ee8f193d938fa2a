"""run refuses power that nobody allows, before anything is started; symbolic links are followed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.end_to_end.host import Host

BOXED = "kind: task\nimage: an/image:1\ncommand: ['true']\ngpus: 0\n"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    host = Host(tmp_path, gpus=1)
    host.env["HOME"] = str(tmp_path / "home")
    return host


def refusal(host: Host, more: str, *words: str) -> tuple[int, str]:
    """The code and the words of a run of a container; there is no Docker, which is told once nothing is refused."""
    path = host.folder / "work" / "job.mgpu.yaml"
    path.write_text(BOXED + more)
    done = host.mgpu("run", path, *words)
    return done.returncode, done.stderr


def test_everything_is_refused_at_once_with_its_place_and_the_flags(host: Host) -> None:
    more = "container: {privileged: true, pid: host}\nvolumes: ['..:/x']\nenv: {A: trust_remote_code=1}\n"
    code, said = refusal(host, more)
    assert code == 1
    for place in (":5:25: privileged", ":5:36: pid", ":6:11: .. leads out", ":7:10: env.A runs code"):
        assert place in said
    assert said.endswith("run it with: --allow privileged,pid,mount,trust-remote-code\n")
    assert not host.state.exists(), "nothing was begun"
    code, said = refusal(host, more, "--allow", "privileged,pid", "--allow", "mount")
    assert (code, "privileged" in said, said.endswith("--allow trust-remote-code\n")) == (1, False, True)
    code, said = refusal(host, more, "--allow", "privileged,pid,mount,trust-remote-code")
    assert (code, "there is no Docker engine here" in said, "allow" in said) == (125, True, False)


def test_what_shows_alone_warns_of_the_same(host: Host) -> None:
    path = host.folder / "work" / "job.mgpu.yaml"
    path.write_text(BOXED + "container: {privileged: true}\n")
    for words in (
        ["validate"],
        ["render", "--machine", "1xh100"],
        ["plan", "--machine", "1xh100"],
        ["run", "--dry-run"],
    ):
        done = host.mgpu(*words, path)
        assert (done.returncode, ":5:25: warning: privileged" in done.stderr) == (0, True), done.stderr


def test_where_symbolic_links_lead(host: Host) -> None:
    work = host.folder / "work"
    os.symlink("/etc", work / "config")
    os.symlink(host.folder / "home", work / "mine")
    (work / "data").mkdir()
    os.symlink("data", work / "inner")
    code, said = refusal(host, "volumes: ['config:/a', './mine:/b', 'inner:/c', 'data:/d', 'new:/e']\n")
    assert code == 1
    assert ":5:11: config leads to /etc, out of the spec's folder" in said
    assert ":5:24: ./mine leads to " in said
    assert said.count(" out of the spec's folder") == 2
    os.symlink("/etc", host.folder / "home" / "x")
    assert "~/x leads to /etc, which belongs to the system" in refusal(host, "volumes: ['~/x:/a']\n")[1]


def test_sockets_and_the_folders_of_mgpu(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(host.folder / "s"))
        assert "is a socket" in refusal(host, f"volumes: ['{host.folder}/s:/s']\n")[1]
    for folder in ("state", "locks", ""):
        code, said = refusal(host, f"volumes: ['{host.folder}/{folder}:/s']\n")
        assert (code, "where mgpu keeps runs and leases" in said) == (1, True), folder
    assert "is the whole home" in refusal(host, f"volumes: ['{host.folder}/home:/s']\n")[1]
