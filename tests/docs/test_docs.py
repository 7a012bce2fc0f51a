"""What is written about the product is true of it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from optuna.trial import TrialState

from hpo_job.cli import main
from hpo_job.errors import HpoJobError
from hpo_job.objectives import SHIPPED
from hpo_job.objectives.parameters import Parameters
from hpo_job.spec.metrics import METRICS, MULTILABEL, Metric
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import Data
from hpo_job.trial import attributes
from tests import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
PARAMETER_PAGES = {"images": "docs/images.md", "table": "docs/data.md", "text": "docs/text.md"}
JOBS = sorted((ROOT / "jobs").glob("*/study.toml"))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"hpo-job {name}\b", README)


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"(?:^|[`/$ ])hpo-job ([a-z]+) [A-Za-z./]*", README, re.MULTILINE))
    written = {name for name in named if re.search(rf"hpo-job {name} (?:JOB|STUDY|jobs/)", README)}
    assert written <= set(main.commands)


def test_every_option_in_the_readme_exists() -> None:
    options = {
        flag
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    }
    ours = re.findall(r"hpo-job \w+ [^`\n]*?(--[a-z][-a-z]*)", README)
    assert set(ours) <= options | {"--help"}


@pytest.mark.parametrize("parameters", SHIPPED.values(), ids=SHIPPED)
def test_every_parameter_is_in_its_page_with_its_default(parameters: type[Parameters]) -> None:
    page = PARAMETER_PAGES[parameters.layout]
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, field in parameters.model_fields.items():
        default = field.default
        documented = str(default).lower() if isinstance(default, bool) else str(default)
        assert f"| `{name}` | `{documented}` | " in text, f"{page}: no row of {name}, {documented}"


@pytest.mark.parametrize("name", sorted(Data.model_fields))
def test_every_key_of_data_is_in_its_page(name: str) -> None:
    assert f"| `{name}` | " in DATA


@pytest.mark.parametrize(
    "metric",
    [*METRICS.values(), *MULTILABEL.values()],
    ids=lambda metric: f"{metric.name}-{metric.task}",
)
def test_every_metric_is_in_its_page(metric: Metric) -> None:
    better = "higher" if metric.direction == "maximize" else "lower"
    row = f"| `{metric.name}` | {better} | "
    assert row in DATA, f"docs/data.md: no row that begins with {row}"


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_in_the_readme(name: str) -> None:
    assert name in README, f"README.md: add {name} to the comment of metric in its study.toml"


def test_make_help_fits_a_terminal() -> None:
    lines = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80


def test_no_placeholder_is_left() -> None:
    assert "@@" not in README


def test_the_readmes_study_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    whole = [block for block in blocks if "objective" in block and "[budget]" in block]
    assert whole
    for block in whole:
        (tmp_path / "study.toml").write_text(block, encoding="utf-8")
        read_spec(tmp_path)


def test_links_in_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_jobs_of_the_issue_are_there() -> None:
    names = {file.parent.name for file in JOBS}
    assert "people-vs-animals" in names
    assert len(names) >= 2


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.parent.name)
def test_every_shipped_job_is_valid(file: Path) -> None:
    spec = read_spec(file.parent)
    assert spec.name == file.parent.name


# the pages about the code


STRUCTURE = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_every_file_that_the_structure_names_exists() -> None:
    named = set(re.findall(r"`((?:hpo_job|k8s|images|tests)/[^`]*)`", STRUCTURE))
    assert len(named) > 50
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_no_change_is_listed_twice() -> None:
    """Merges of branches that both add rows may leave them twice."""
    rows = re.findall(r"^\| (.+?) \| `", STRUCTURE, re.MULTILINE)
    assert len(rows) > 80
    assert sorted({row for row in rows if rows.count(row) > 1}) == []


def test_the_structure_lists_the_packages_in_the_order_of_the_contract() -> None:
    """And so all of them: the contract is exhaustive."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        (contract, *_) = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = [[each.strip() for each in layer.split(":")] for layer in contract["layers"]]
    table = STRUCTURE.partition("| package |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", table, re.MULTILINE)
    assert len(listed) == len({*listed}) == sum(map(len, layers))
    for layer in layers:
        assert sorted(listed[: len(layer)]) == sorted(layer)
        del listed[: len(layer)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_can_be_reached_from_the_readme(page: Path) -> None:
    reached = {f"docs/{page.name}"} & set(re.findall(r"\]\(([^)#]+)", README))
    from_others = [
        other.name
        for other in PAGES
        if other != page and f"]({page.name})" in other.read_text(encoding="utf-8")
    ]
    assert reached or from_others


GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
STATES = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")


def test_the_glossary_is_sorted() -> None:
    words = re.findall(r"^\| \*\*([\w_ ]+)", GLOSSARY, re.MULTILINE)
    assert len(words) > 20
    assert words == sorted(words, key=str.lower)


@pytest.mark.parametrize("reason", sorted(attributes.RETRIED))
def test_every_reason_of_a_retry_is_explained(reason: str) -> None:
    assert f"**{reason}**" in GLOSSARY
    assert reason in STATES


def test_every_state_of_a_trial_is_in_the_diagram() -> None:
    for state in TrialState:
        assert re.search(rf"(?:-->|^) *{state.name}\b", STATES, re.MULTILINE)


def test_exit_codes_are_those_of_the_errors() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", STATES.rpartition("\n\n")[2], re.M)}
    errors = {HpoJobError.exit_code, *(each.exit_code for each in HpoJobError.__subclasses__())}
    assert codes == {0, *errors, 128 + signal.SIGINT, 128 + signal.SIGTERM}


def test_every_key_of_the_json_is_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    source = (ROOT / "hpo_job" / "cli" / "facts.py").read_text(encoding="utf-8")
    keys = set(re.findall(r'^ +"(\w+)": ', source, re.MULTILINE))
    assert len(keys) > 25
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


@pytest.mark.parametrize("year", ["1730", "1830"])
def test_missing_data_names_the_command_that_makes_it(
    refused: Callable[..., str], tmp_path: Path, year: str
) -> None:
    job = tmp_path / f"old-bailey-{year}s"
    shutil.copytree(ROOT / "jobs" / job.name, job, ignore=shutil.ignore_patterns("*.csv.gz"))
    made_by = f"python -m contrib old-bailey OBO_XML_7-2.zip --decade {year}"
    assert f"{year}s.csv.gz: not there yet; make it: {made_by}" in refused("check", job)
    assert made_by in (job / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_no_table_has_a_row_twice(page: Path) -> None:
    """As where the changes of two branches were put together."""
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
        rows = table.splitlines()
        assert len(rows) == len(set(rows)), max(rows, key=rows.count)


def test_the_recipes_for_contributors_name_what_is_there() -> None:
    recipes = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Recipes")[2]
    named = set(re.findall(r"`([\w./]+)`", recipes.partition("## Releasing")[0]))
    places = [ROOT, ROOT / "hpo_job", ROOT / "hpo_job" / "objectives"]
    files = {name for name in named if "/" in name and not name.startswith(".venv")}
    assert len(files) > 10
    assert [name for name in files if not any((place / name).exists() for place in places)] == []
    code = "".join(
        file.read_text(encoding="utf-8")
        for folder in ("hpo_job", "tests")
        for file in (ROOT / folder).rglob("*.py")
    )
    words = {name for name in named - files if "." not in name}
    assert {"METRICS", "PASSES", "SHIPPED"} <= words
    assert [
        word for word in words if not re.search(rf"^ *(def |class )?{word}\b", code, re.M)
    ] == []


def test_the_test_that_contributors_begin_with_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = re.findall(r"pytest (tests/\S+\.py) -k (\w+)", text)
    assert commands
    for file, word in commands:
        assert re.search(rf"^def test_\w*{word}", (ROOT / file).read_text("utf-8"), re.MULTILINE)
