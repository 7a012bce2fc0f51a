"""The processor of machines of several makes, and their folders."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from hpo_job import machine
from hpo_job.machine import CACHE, in_hpo, repository_root, used_bytes
from hpo_job.storage import urls

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu vme avx512f {flags}
bugs\t\t: spectre_v1

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd {flags}\nCPU part\t: 0xd4f\n"


def detect(monkeypatch: pytest.MonkeyPatch, file: Path, text: str) -> None:
    file.write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", file)


@pytest.mark.parametrize(
    ("text", "flags", "has"),
    [
        (INTEL, "avx512_bf16 amx_tile", True),
        (INTEL, "amx_bf16", True),
        (INTEL, "avx512_vnni", False),
        (ARM, "bf16", True),
        (ARM, "i8mm", False),
    ],
)
def test_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, flags: str, has: bool
) -> None:
    detect(monkeypatch, tmp_path / "cpuinfo", text.format(flags=flags))
    assert machine.has_bf16() is has


def test_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detect(monkeypatch, tmp_path / "cpuinfo", INTEL)
    assert machine.cpu_name() == "Intel(R) Xeon(R) Platinum 8481C"
    detect(monkeypatch, tmp_path / "cpuinfo", ARM)
    assert machine.cpu_name() in (platform.processor(), platform.machine())


def test_elsewhere_than_on_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert not machine.has_bf16()
    assert machine.cpu_name()


def test_studies_are_found_from_any_folder_of_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "repository/jobs/x"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert in_hpo(CACHE) == CACHE  # none yet: it will be here
    (tmp_path / "repository/.hpo").mkdir()
    assert in_hpo(CACHE) == Path("../../.hpo/cache")
    assert urls.embedded_url() == "sqlite:///../../.hpo/studies.db"
    (below / ".hpo").mkdir()
    assert in_hpo(CACHE) == CACHE


def test_the_search_ends_at_the_root_of_a_git_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".hpo").mkdir()
    below = tmp_path / "repository/jobs"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert in_hpo(CACHE) == Path("../../.hpo/cache")
    (tmp_path / "repository/.git").mkdir()
    assert in_hpo(CACHE) == CACHE
    assert repository_root() == tmp_path / "repository"


def test_the_studies_of_another_user_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".hpo").mkdir()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setattr("hpo_job.machine.os.getuid", lambda: tmp_path.stat().st_uid + 1)
    assert in_hpo(CACHE) == CACHE


def test_what_a_folder_takes_of_its_disk(tmp_path: Path) -> None:
    assert used_bytes(tmp_path / "absent") == 0
    (tmp_path / "cache" / "deep").mkdir(parents=True)
    written = tmp_path / "cache" / "deep" / "file"
    written.write_bytes(b"x" * 100_000)
    with (tmp_path / "cache" / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 100_000)
    (tmp_path / "cache" / "link").symlink_to(outside)
    (tmp_path / "cache" / "dangling").symlink_to("nowhere")
    assert written.stat().st_size <= used_bytes(tmp_path / "cache") < 150_000
