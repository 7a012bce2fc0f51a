"""The report in a real browser: it draws, sorts and filters, asks for nothing, and fits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.trial import TrialState, create_trial
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import hpo_job
from hpo_job import report
from hpo_job.errors import QueryError, StudyError
from hpo_job.report.dashboard import serve
from hpo_job.results.trials import complete, value
from hpo_job.spec.choices import PLOT_KINDS
from hpo_job.storage.database import Storage
from tests import browser, synthetic
from tests.report.test_plots import texts

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
    values = sorted((value(t) for t in complete(study)), reverse=True)
    assert cells(chrome, 3)[0] == f"{values[0]:.4f}"  # the whole number is told on hovering
    cell = chrome.find_element(By.CSS_SELECTOR, ".explorer tbody td:nth-child(3)")
    assert float(cell.get_attribute("title") or "") == pytest.approx(values[0], rel=1e-5)
    search = chrome.find_element(By.CSS_SELECTOR, ".explorer input[type=search]")
    search.send_keys("COMPLETE resnet18 f1_weighted>=0.8")
    expected = [t for t in complete(study) if t.params["model"] == "resnet18" and value(t) >= 0.8]
    assert len(cells(chrome, 1)) == min(len(expected), 100)
    told = chrome.find_element(By.CSS_SELECTOR, ".explorer .count").text
    assert f"{len(expected)} of {count} trials" in told
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


def test_several_studies_a_failed_one_and_hostile_words(chrome: Chrome, tmp_path: Path) -> None:
    words = "<script>alert(1)</script> & <b>more</b>"
    failed = [create_trial(state=TrialState.FAIL, user_attrs={"error": words}) for _ in range(3)]
    one = synthetic.study(synthetic.trials(30), "one")
    two = synthetic.study(failed, "<img src=x onerror=alert(2)>")
    file = tmp_path / "report.html"
    report.write([one, two, synthetic.several_objectives(20)], file)
    show(chrome, file)
    assert browser.complaints(chrome) == []
    assert browser.requests(chrome) == [file.as_uri()]
    titles = [each.text for each in chrome.find_elements(By.CSS_SELECTOR, "h1, h2")]
    assert titles[1] == "Comparison"
    assert two.study_name in titles
    assert not chrome.find_elements(By.TAG_NAME, "img")


def test_titles_of_phases_have_room_on_a_narrow_page(chrome: Chrome, tmp_path: Path) -> None:
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

    def ready(found: str) -> None:
        address.append(found)
        up.set()

    server = threading.Thread(
        target=serve, args=("synthetic", storage, "127.0.0.1", 0, ready), daemon=True
    )
    server.start()
    assert up.wait(60)
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
    made = [t for t in synthetic.trials(20) if t.state.name != "FAIL"]
    synthetic.study(made, storage=storage.optuna, budget={"trials": len(made)})
    done = cli("status", "synthetic", "--watch", "--storage", database)
    assert done.exit_code == 0
    assert f"finished  {len(made)} of {len(made)} trials" in done.stdout
    assert "ended last" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_watch_shows_a_study_without_a_budget_once(
    storage: Storage, cli: Cli, database: str
) -> None:
    synthetic.study(synthetic.trials(3), "theirs", storage=storage.optuna, ours=False)
    done = cli("status", "theirs", "--watch", "--storage", database)  # would go on for ever
    assert "finished  3 trials" in done.stdout
