"""What the processor is called, and what it can, on machines of several makes."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from hpo_job import machine

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu vme avx512f {flags}
bugs\t\t: spectre_v1

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd {flags}\nCPU part\t: 0xd4f\n"


def told(monkeypatch: pytest.MonkeyPatch, file: Path, text: str) -> None:
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
    told(monkeypatch, tmp_path / "cpuinfo", text.format(flags=flags))
    assert machine.has_bf16() is has


def test_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, tmp_path / "cpuinfo", INTEL)
    assert machine.cpu_name() == "Intel(R) Xeon(R) Platinum 8481C"
    told(monkeypatch, tmp_path / "cpuinfo", ARM)
    assert machine.cpu_name() in (platform.processor(), platform.machine())


def test_elsewhere_than_on_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert not machine.has_bf16()
    assert machine.cpu_name()
