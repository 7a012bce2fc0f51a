"""The report in a real browser: it draws, sorts and filters, asks for nothing, and fits."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import hpo_job
from hpo_job import report
from hpo_job.errors import QueryError, StudyError
from hpo_job.report.dashboard import serve
from hpo_job.report.page import _environment
from hpo_job.results.trials import value
from hpo_job.spec.choices import PLOT_KINDS
from hpo_job.storage.database import Storage
from hpo_job.trial.counting import counted
from tests import browser, synthetic
from tests.report.test_plots import texts

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]
PATIENCE = 120  # seconds; a busy machine draws slowly


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser.opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(driver: Chrome, file: Path) -> None:
    """Open a page and wait until all is drawn."""
    browser.requests(driver)
    browser.complaints(driver)
    driver.get(file.as_uri())
    WebDriverWait(driver, PATIENCE).until(
        lambda d: d.execute_script("return document.documentElement.dataset.ready") == "yes"
    )


def cells(driver: Chrome, column: int) -> list[str]:
    rows = driver.find_elements(By.CSS_SELECTOR, f".explorer tbody td:nth-child({column})")
    return [each.text for each in rows]


@pytest.mark.parametrize("count", [20, 1000])
def test_it_opens_draws_and_asks_for_nothing(chrome: Chrome, tmp_path: Path, count: int) -> None:
    study = synthetic.study(synthetic.trials(count))
    file = tmp_path / "report.html"
    report.write([study], file)
    assert file.stat().st_size < 15e6
    show(chrome, file)
    assert browser.complaints(chrome) == []
    assert browser.requests(chrome) == [file.as_uri()]
    plots = chrome.find_elements(By.CLASS_NAME, "plot")
    assert len(plots) >= 12
    drawn = chrome.execute_script(
        "return [...document.querySelectorAll('.plot')].map("
        "p => p.querySelectorAll('.main-svg path, .main-svg .point, .main-svg image').length)"
    )
    assert min(drawn) > 0
    wide = chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert wide
    # the table: sorted by a click on the value, filtered by words and comparisons
    chrome.find_element(By.XPATH, "//div[@class='explorer']//th[starts-with(., 'f1_w')]").click()
    values = sorted((value(t) for t in counted(study)), reverse=True)
    assert cells(chrome, 3)[0] == f"{values[0]:.4f}"  # the exact number appears on hovering
    cell = chrome.find_element(By.CSS_SELECTOR, ".explorer tbody td:nth-child(3)")
    assert float(cell.get_attribute("title") or "") == pytest.approx(values[0], rel=1e-5)
    search = chrome.find_element(By.CSS_SELECTOR, ".explorer input[type=search]")
    search.send_keys("COMPLETE resnet18 f1_weighted>=0.8")
    expected = [t for t in counted(study) if t.params["model"] == "resnet18" and value(t) >= 0.8]
    assert len(cells(chrome, 1)) == min(len(expected), 100)
    count_text = chrome.find_element(By.CSS_SELECTOR, ".explorer .count").text
    assert f"{len(expected)} of {count} trials" in count_text
    search.clear()
    search.send_keys("nothing>3")
    assert "no such column" in chrome.find_element(By.CSS_SELECTOR, ".explorer .count").text
    # light and dark
    before = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    chrome.find_element(By.ID, "theme").click()
    WebDriverWait(chrome, PATIENCE).until(
        lambda d: d.execute_script("return document.documentElement.dataset.theme") == "dark"
    )
    assert before != chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert browser.complaints(chrome) == []


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(2)' x=\"",
    "</script><script>alert(3)</script>",
    "</div></section><b>bold</b> &amp; {{ 7*7 }} {% x %}",
)


def hostile_study(name: str) -> optuna.Study:
    """A study that has markup wherever a study may have text."""
    space: dict[str, BaseDistribution] = {
        HOSTILE[0]: FloatDistribution(1e-5, 1e-1, log=True),
        HOSTILE[1]: CategoricalDistribution(HOSTILE),
        HOSTILE[2]: IntDistribution(1, 10),
    }
    rng = random.Random(0)
    trials = []
    for number in range(30):
        params = {
            HOSTILE[0]: 10 ** rng.uniform(-5, -1),
            HOSTILE[1]: rng.choice(HOSTILE),
            HOSTILE[2]: rng.randint(1, 10),
        }
        attrs = {
            "worker": {"host": HOSTILE[number % 4], "pid": 1},
            HOSTILE[3]: HOSTILE[2],
            "phases": [{"name": HOSTILE[2], "start": 0, "metric": HOSTILE[0]}],
        }
        if number % 10 == 0:
            attrs |= {"error": HOSTILE[number // 10], "fail_reason": HOSTILE[3]}
        trials.append(
            create_trial(
                state=TrialState.COMPLETE if number % 10 else TrialState.FAIL,
                value=rng.random() if number % 10 else None,
                params=params,
                distributions=space,
                user_attrs=attrs,
                intermediate_values={0: rng.random()},
            )
        )
        trials[-1].datetime_start = synthetic.START
        trials[-1].datetime_complete = synthetic.START + timedelta(seconds=9)
    curves = {HOSTILE[0]: synthetic.CURVE}
    study = synthetic.study(trials, name, metric=HOSTILE[0])
    study.set_user_attr("lr_find", curves)
    study.set_user_attr("provenance", {HOSTILE[0]: HOSTILE[2], "versions": {HOSTILE[1]: "1"}})
    return study


def test_markup_in_names_and_texts_is_shown_as_it_is(chrome: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    studies = [hostile_study(HOSTILE[0]), hostile_study(HOSTILE[2]), hostile_study(HOSTILE[3])]
    report.write(studies, file)
    show(chrome, file)
    assert browser.complaints(chrome) == []
    assert browser.requests(chrome) == [file.as_uri()]
    assert not chrome.find_elements(By.CSS_SELECTOR, "img, main b, [onerror], [onmouseover]")
    assert len(chrome.find_elements(By.TAG_NAME, "script")) == 5  # those of the template
    assert chrome.title == ", ".join(study.study_name for study in studies)
    chapters = [each.text for each in chrome.find_elements(By.TAG_NAME, "h1")]
    assert chapters == [chrome.title, "Comparison", *(study.study_name for study in studies)]
    links = [each.text for each in chrome.find_elements(By.CSS_SELECTOR, "nav a")]
    assert links == chapters[1:]
    headings = chrome.execute_script(
        "return [...document.querySelector('.explorer').querySelectorAll('th')]"
        ".map(th => th.firstChild.textContent)"
    )
    assert set(HOSTILE[:3]) <= set(headings)
    failures = chrome.find_element(By.CSS_SELECTOR, "section[id$=failures] tbody").text
    assert all(text in failures for text in HOSTILE[:3])
    # plotly reads some HTML as markup: its texts are escaped as well
    titles = chrome.execute_script(
        "return [...document.querySelectorAll('.xtitle, .ytitle')].map(t => t.textContent)"
    )
    assert set(HOSTILE[:3]) <= set(titles)


def test_no_template_leaves_a_text_unescaped() -> None:
    """Autoescape escapes text and quoted attributes; anything else would have to be looked at."""
    folder = Path(str(resources.files("hpo_job.report"))) / "templates"
    templates = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert {"page.html", "blocks.html"} <= set(templates)
    for name, template in templates.items():
        for forbidden in ("safe", "autoescape", "xmlattr"):
            assert not re.search(rf"\b{forbidden}\b", template.replace("unsafe-inline", "")), name
        assert not re.search(r"=\s*\{\{", template), f"{name}: an attribute without quotes"
    assert _environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"


def test_several_studies_and_one_of_failed_trials(chrome: Chrome, tmp_path: Path) -> None:
    failed = [create_trial(state=TrialState.FAIL, user_attrs={"error": "no"}) for _ in range(3)]
    one = synthetic.study(synthetic.trials(30), "one")
    other = synthetic.study(failed, "other")
    file = tmp_path / "report.html"
    report.write([one, other, synthetic.several_objectives(20)], file)
    show(chrome, file)
    assert browser.complaints(chrome) == []
    titles = [each.text for each in chrome.find_elements(By.CSS_SELECTOR, "h1, h2")]
    assert titles[1] == "Comparison"
    assert other.study_name in titles


def test_titles_of_phases_fit_on_a_narrow_page(chrome: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.write([synthetic.study(texts())], file)
    narrow = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        show(chrome, file)
        boxes = chrome.execute_script(
            "return [...document.querySelectorAll('#intermediate .annotation-text')].map(t => "
            "{const box = t.getBoundingClientRect(); return [box.left, box.right]})"
        )
    finally:
        wide = {**narrow, "width": 1280}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", wide)
    assert len(boxes) == 3
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(boxes))


# the dashboard


def test_the_dashboard_shows_the_same_study(
    chrome: Chrome, storage: Storage, database: str
) -> None:
    synthetic.study(synthetic.trials(10), storage=storage.optuna)
    address: list[str] = []
    up = threading.Event()

    def ready(url: str) -> None:
        address.append(url)
        up.set()

    server = threading.Thread(
        target=serve, args=("synthetic", storage, "127.0.0.1", 0, ready), daemon=True
    )
    server.start()
    assert up.wait(120)
    chrome.get(address[0])
    WebDriverWait(chrome, PATIENCE).until(
        lambda d: "synthetic" in d.find_element(By.TAG_NAME, "body").text
    )


def test_a_port_that_is_taken_is_one_line(storage: Storage) -> None:
    import socket

    synthetic.study(storage=storage.optuna)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StudyError, match="choose another --port"):
            serve("synthetic", storage, "127.0.0.1", taken.getsockname()[1], print)


# plots and notebooks


@pytest.fixture
def stored(storage: Storage) -> optuna.Study:
    return synthetic.study(synthetic.trials(40), storage=storage.optuna)


@pytest.mark.parametrize(
    ("name", "begins"), [("x.png", b"\x89PNG"), ("x.pdf", b"%PDF"), ("x.html", b"<!doctype")]
)
def test_a_plot_as_a_picture_or_a_page(
    stored: optuna.Study, cli: Cli, database: str, name: str, begins: bytes
) -> None:
    done = cli(
        "plot", "synthetic", "slice", "-o", name, "--params", "epochs,model", "--storage", database
    )
    assert done.exit_code == 0, done.output
    assert Path(name).read_bytes().startswith(begins)


@pytest.mark.parametrize("arguments", [["-o", "x.gif"], ["--params", "nothing"]])
def test_a_plot_that_cannot_be(
    stored: optuna.Study, cli: Cli, database: str, arguments: list[str]
) -> None:
    done = cli("plot", "synthetic", "slice", *arguments, "--storage", database)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_notebook_has_frames_and_figures(
    stored: optuna.Study, database: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    loaded = hpo_job.load("synthetic", database)
    assert loaded.study.best_value == stored.best_value
    assert "best      #" in repr(loaded)
    trials = loaded.trials(where="value >= 0.8", sort="-value")
    assert trials["params_model"].value_counts().sum() == len(trials)
    assert list(loaded.best(3)["value"]) == sorted(loaded.best(3)["value"], reverse=True)
    assert len(loaded.fastest(0.02)) == 1
    assert len(loaded.pareto("value", "execute_time")) >= 1
    assert loaded.parameters()["batch_size"] == 32
    assert loaded.importance().sum() == pytest.approx(1)
    assert loaded.timings()["share"].sum() == pytest.approx(1)
    assert loaded.compare(loaded).shape[0] == 2
    for kind in PLOT_KINDS:
        with subtests.test(kind):
            assert loaded.plot(kind).data
    assert loaded.report(tmp_path / "r.html").is_file()
    with pytest.raises(QueryError):
        loaded.trials(where="nothing > 1")
    with pytest.raises(StudyError):
        loaded.plot("pie")


def test_watch_ends_with_the_budget(storage: Storage, cli: Cli, database: str) -> None:
    trials = [t for t in synthetic.trials(20) if t.state.name != "FAIL"]
    synthetic.study(trials, storage=storage.optuna, budget={"trials": len(trials)})
    done = cli("status", "synthetic", "--watch", "--storage", database)
    assert done.exit_code == 0
    assert f"finished  {len(trials)} of {len(trials)} trials" in done.stdout
    assert "ended last" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_watch_shows_a_study_without_a_budget_once(
    storage: Storage, cli: Cli, database: str
) -> None:
    synthetic.study(synthetic.trials(3), "theirs", storage=storage.optuna, ours=False)
    done = cli("status", "theirs", "--watch", "--storage", database)  # would go on for ever
    assert "finished  3 trials" in done.stdout
