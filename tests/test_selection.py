"""Which tests are quick is known from their marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT, selection


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("pytestmark = pytest.mark.studies\n", True),
        ('pytestmark = [pytest.mark.needs("git"), pytest.mark.slow]\nX = 1\n', True),
        ("pytestmark = [\n    pytest.mark.timeout(9),\n    pytest.mark.web,\n]\n", True),
        ('pytestmark = pytest.mark.usefixtures("web")\n', False),
        ("@pytest.mark.slow\ndef test_it() -> None:\n    pass\n", False),
        ("pytestmark = [\n    pytest.mark.optuna,\n]\n\n\n@pytest.mark.slow\n", False),
    ],
)
def test_a_file_all_of_whose_tests_take_long_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, never: bool
) -> None:
    monkeypatch.setattr(selection, "ROOT", tmp_path)
    file = tmp_path / "tests" / "test_it.py"
    file.parent.mkdir()
    file.write_text(text)
    assert selection.is_never_quick(file) == never


def test_a_file_of_tests_on_torch_is_not_imported_either() -> None:
    assert selection.is_never_quick(ROOT / "tests" / "objectives" / "test_init.py")
    assert not selection.is_never_quick(Path(__file__))
    assert not selection.is_never_quick(ROOT / "tests" / "conftest.py")
