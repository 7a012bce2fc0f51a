"""The reference is what the code says, and the files that only other machines run are valid."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify
from pydantic import BaseModel

from docs import generate
from tests import ROOT

PAGES = generate.pages()
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_code_says(name: str) -> None:
    file = generate.FOLDER / name
    assert file.read_text(encoding="utf-8") == PAGES[name], "run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {file.name for file in generate.FOLDER.iterdir()} == set(PAGES)


def test_a_key_without_a_description_is_refused() -> None:
    class Table(BaseModel):
        """A table.

        Attributes:
            known: described.
        """

        known: int = 1
        unknown: int = 2

    assert "| `known` | integer | `1` | Described. |" in generate._keys(Table, ["known"])
    with pytest.raises(KeyError, match="unknown"):
        generate._keys(Table, ["known", "unknown"])


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("f'{file}: no column {key!r}'", ["{file}: no column {key}"]),
        (
            "f'{x.y.name}: empty' + (f' ({why})' if why else '')",
            ["{name}: empty ({why})", "{name}: empty"],
        ),
        ("f'{a}: undo ' + ', '.join(changed)", ["{a}: undo {…}"]),
        ("problem", []),
    ],
)
def test_the_lines_of_an_error(message: str, lines: list[str]) -> None:
    assert generate._templates(ast.parse(message, mode="eval").body) == lines


def test_an_error_whose_line_cannot_be_read_is_refused() -> None:
    with pytest.raises(TypeError, match="write the message as an f-string"):
        generate._templates(ast.parse("'%s: wrong' % key", mode="eval").body)


def test_an_error_of_a_more_special_kind_is_listed_with_its_kind() -> None:
    source = "class Near(Known): ...\nclass Nearer(Near): ...\nclass Other(Exception): ..."
    kinds = generate._kinds_of(list(ast.walk(ast.parse(source))), ["Known"])
    assert kinds == {"Known": "Known", "Near": "Known", "Nearer": "Known"}


def test_every_page_is_on_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r": ([\w./-]+\.md)$", navigation, re.MULTILINE))
    written = {str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md")}
    decisions = {file for file in written if "/decisions/" in file}
    assert named == written - decisions | {*TOP, "docs/decisions/README.md"}


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\(([\w-]+\.md)\)", (folder / "README.md").read_text("utf-8")))
    assert listed == {file.name for file in folder.iterdir()} - {"README.md"}


@pytest.mark.parametrize(
    "file",
    [*(ROOT / "docs").glob("*/*.md"), *(ROOT / name for name in TOP)],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_links_between_files_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", file.read_text(encoding="utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


@pytest.mark.parametrize(
    "file",
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in TOP)],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_anchors_of_links_are_headings(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", file.read_text("utf-8"))
    for name, anchor in links:
        target = file.parent / name if name else file
        headings = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
        plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in headings]
        assert anchor in {slugify(heading, "-") for heading in plain}, f"{name}#{anchor}"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
@pytest.mark.processes
def test_a_workflow_is_one(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_targets_of_the_workflows_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for file in WORKFLOWS:
        lines = re.findall(r"run: make ([^\n#]+)", file.read_text(encoding="utf-8"))
        words = {word for line in lines for word in line.split() if re.fullmatch("[a-z-]+", word)}
        assert lines and words <= targets
