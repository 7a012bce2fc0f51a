"""The final model: trained again, scored on the held-out part, used by predict and by serve."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from hpo_job.cli import main
from tests import ROOT, browser
from tests.objectives.commands import run

Cli = Callable[..., Result]
PENGUINS = ROOT / "jobs" / "penguins-species" / "penguins.csv"
CLASSES = ["Adelie", "Chinstrap", "Gentoo"]
STUDY = """
name = "birds"
objective = "tabular_classification"
metric = "f1_macro"
direction = "maximize"
[budget]
trials = 2
[data]
path = "penguins.csv"
label = "species"
[search_space]
epochs = 2
batch_size = 64
units = { type = "int", low = 8, high = 32 }
balance = { type = "categorical", choices = ["none", "class_weights"] }
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials, whose data has a test part."""
    folder = tmp_path_factory.mktemp("final")
    (folder / "birds").mkdir()
    table = pd.read_csv(PENGUINS)
    parts = np.array(["train", "train", "train", "valid", "test"])
    table.assign(split=parts[np.arange(len(table)) % 5]).to_csv(
        folder / "birds" / "penguins.csv", index=False
    )
    (folder / "birds" / "study.toml").write_text(STUDY)
    run(folder, "worker", "birds")
    return folder


@pytest.fixture(scope="module")
def ensemble(study: Path) -> Path:
    """Two models of the best trial's parameters."""
    run(study, "train", "birds", "-o", "two", "--seeds", "2")
    return study / "two"


# train


def test_scored_on_the_part_that_no_trial_saw(study: Path) -> None:
    done = run(study, "train", "birds", "--trial", "1", "-o", "one")
    assert "one: trial 1 of study birds, trained again" in done.stdout
    (score,) = re.findall(r"^f1_macro (0\.\d+), 95% interval", done.stdout, re.MULTILINE)
    predictions = pd.read_parquet(study / "one" / "predictions.parquet")
    table = pd.read_csv(study / "birds" / "penguins.csv")
    tested = table.index[table.split == "test"]
    assert list(predictions["item"]) == [f"row {number + 1}" for number in tested]
    from sklearn.metrics import f1_score

    again = f1_score(predictions["target"], predictions["prediction"], average="macro")
    assert float(score) == pytest.approx(again, abs=1e-4)
    card = (study / "one" / "README.md").read_text()
    assert "On the test part, which no trial has seen:" in card
    learnt = len(table) - len(tested)
    assert f"learnt from {learnt} items, scored on {len(tested)}" in card
    assert f"- f1_macro {score}" in card
    assert {"epochs = 2", "batch_size = 64"} <= set(card.splitlines())
    assert re.search(r'^balance = "(none|class_weights)"$', card, re.MULTILINE)
    assert re.search(r"^\| Gentoo \| \d+ \| [01]\.\d{3} \|", card, re.MULTILINE)
    assert re.search(r"fingerprint .*`[0-9a-f]{64}`", card)


def test_several_seeds_answer_together(study: Path, ensemble: Path) -> None:
    file = study / "birds" / "penguins.csv"
    both = json.loads(run(study, "predict", ensemble, file, "--format", "json").stdout)
    each = [
        json.loads(run(study, "predict", ensemble / name, file, "--format", "json").stdout)
        for name in ("seed-0", "seed-1")
    ]
    assert each[0] != each[1]
    for joint, first, second in zip(both, *each, strict=True):
        shares = {name: (first[name] + second[name]) / 2 for name in CLASSES}
        assert {name: joint[name] for name in CLASSES} == pytest.approx(shares)
        assert joint["prediction"] == max(shares, key=lambda name: shares[name])
    assert "2 models of tabular_classification" in (ensemble / "README.md").read_text()


def test_all_data_leaves_nothing_to_score(study: Path) -> None:
    done = run(study, "train", "birds", "-o", "all", "--all-data")
    assert "not scored: every item was learnt" in done.stdout
    rows = len(pd.read_csv(study / "birds" / "penguins.csv"))
    assert f"learnt from {rows} items, scored on 0" in (study / "all" / "README.md").read_text()
    assert not (study / "all" / "predictions.parquet").exists()
    assert run(study, "predict", "all", PENGUINS).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["birds", "-o", "birds"], "--output birds: exists already; name a new folder"),
        (["birds", "-o", "new", "--trial", "9"], "study 'birds': no trial 9"),
    ],
)
def test_what_cannot_be_trained(
    study: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(study)
    refused = CliRunner().invoke(main, ["train", *arguments])
    assert refused.exit_code == 2
    assert problem in refused.stderr
    assert not Path("new").exists()


def test_a_job_that_is_elsewhere_or_has_changed(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{study}/.hpo/studies.db"
    monkeypatch.chdir(tmp_path)
    elsewhere = CliRunner().invoke(main, ["train", "birds", "-o", "new", "--storage", url])
    assert "study 'birds': its job folder is not here" in elsewhere.stderr
    (tmp_path / "birds").mkdir()
    changed = STUDY.replace("high = 32", "high = 64")
    (tmp_path / "birds" / "study.toml").write_text(changed)
    other = CliRunner().invoke(main, ["train", "birds", "-o", "new", "--storage", url])
    assert other.exit_code == 2
    assert "search_space.units.high: 32 in the study, 64 now" in other.stderr


# predict


def test_folders_and_patterns(study: Path, ensemble: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    table = pd.read_csv(PENGUINS)
    table[:3].to_csv(tmp_path / "new" / "a.csv", index=False)
    table[200:206].to_parquet(tmp_path / "new" / "b.parquet")
    (tmp_path / "new" / "notes.md").write_text("no table")
    for name in (tmp_path / "new", tmp_path / "new" / "[ab].*"):
        rows = json.loads(run(study, "predict", ensemble, name, "--format", "json").stdout)
        assert [Path(row["file"]).name for row in rows] == ["a.csv"] * 3 + ["b.parquet"] * 6
    lines = run(tmp_path, "predict", ensemble, "new", "--top", "2").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["file", "row", "prediction,", "the", "2", "likeliest"]
    assert re.fullmatch(r"new/a.csv +1  \w+ 0\.\d{4}, \w+ 0\.\d{4}", lines[1])
    assert "9 items" in lines


def test_predictions_in_files(study: Path, ensemble: Path, tmp_path: Path) -> None:
    expected = ["file", "row", "prediction", *CLASSES]
    for form in ("csv", "parquet"):
        file = tmp_path / f"answers.{form}"
        run(study, "predict", ensemble, PENGUINS, "--format", form, "-o", file)
        read = pd.read_csv(file) if form == "csv" else pd.read_parquet(file)
        assert list(read.columns) == expected
        assert len(read) == 344


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nothing.csv", "no such file"), ("no*.csv", "no file matches"), ("empty", "no table")],
)
def test_what_cannot_be_predicted(
    ensemble: Path, cli: Cli, tmp_path: Path, name: str, problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    refused = cli("predict", ensemble, name)
    assert refused.exit_code == 2
    assert f"{name}: {problem}" in refused.stderr


# serve


@pytest.fixture(scope="module")
def served(ensemble: Path) -> Iterator[str]:
    """The URL of a served model."""
    command = [str(Path(sys.executable).with_name("hpo-job")), "serve", "two", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ensemble.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            assert line.startswith("two: http://127.0.0.1:"), line
            yield line.split()[1]
        finally:
            server.terminate()


def post(url: str, files: dict[str, bytes], **headers: str) -> tuple[int, object]:
    """Send files as a form does."""
    parts = b""
    for name, content in files.items():
        head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        parts += head.encode() + content + b"\r\n"
    request = urllib.request.Request(f"{url}predict", parts + b"--edge--\r\n")
    request.add_header("Content-Type", "multipart/form-data; boundary=edge")
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith(b"{") else body


def test_predictions_over_http(served: str, study: Path, ensemble: Path) -> None:
    status, answers = post(served, {"birds.csv": PENGUINS.read_bytes()})
    assert status == 200
    assert isinstance(answers, list)
    known = json.loads(run(study, "predict", ensemble, PENGUINS, "--format", "json").stdout)
    assert len(answers) == len(known)
    for answer, row in zip(answers, known, strict=True):
        assert (answer["file"], answer["row"]) == ("birds.csv", row["row"])
        assert answer["prediction"] == row["prediction"]
        assert answer["probabilities"] == pytest.approx({name: row[name] for name in CLASSES})


def test_errors_over_http(served: str) -> None:
    assert post(served, {}) == (400, {"error": "send 1 to 200 files in the field 'files'"})
    status, answer = post(served, {"../../odd name.csv": b"a,b\n1,2\n"})
    assert status == 400
    assert isinstance(answer, dict)
    assert answer["error"].startswith("odd name.csv: unknown column")
    status, _ = post(served, {"birds.csv": PENGUINS.read_bytes()}, Host="evil.example")
    assert status == 400  # a web page elsewhere, under a name that leads to this machine


@pytest.mark.needs("chromium")
def test_the_page_in_a_browser(served: str, tmp_path: Path) -> None:
    pd.read_csv(PENGUINS)[:4].to_csv(tmp_path / "four.csv", index=False)
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with browser.opened(tmp_path / "profile", width=640) as driver:
        driver.get(served)
        assert driver.find_element(By.ID, "drop").is_displayed()
        driver.find_element(By.ID, "files").send_keys(str(tmp_path / "four.csv"))
        WebDriverWait(driver, 30).until(
            lambda page: page.find_element(By.ID, "state").text == "4 predicted"
        )
        rows = [row.text for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
        assert [row.split(" ")[:3] for row in rows] == [
            ["four.csv,", "row", str(number)] for number in (1, 2, 3, 4)
        ]
        (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
        driver.find_element(By.ID, "files").send_keys(str(tmp_path / "odd.csv"))
        WebDriverWait(driver, 30).until(
            lambda page: "unknown column" in page.find_element(By.ID, "state").text
        )
        wide = driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 640
        assert not [line for line in browser.complaints(driver) if "400" not in line]


def test_a_port_that_is_taken(served: str, ensemble: Path, cli: Cli) -> None:
    port = served.rstrip("/").rpartition(":")[2]
    refused = cli("serve", ensemble, "--port", port)
    assert refused.exit_code == 2
    assert f"no server at 127.0.0.1:{port}: " in refused.stderr
