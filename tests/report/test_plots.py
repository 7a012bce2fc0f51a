"""What pictures, figures and the report's table show: axes, names, numbers; without a browser."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.report import comparison_figures, figures, plots
from hpo_job.report.axes import axis
from hpo_job.report.origin import origin_section
from hpo_job.report.page import Page
from hpo_job.report.plots import canvas, parameters, time, values
from hpo_job.report.tables import columns_and_rows
from hpo_job.report.time_sections import failures_section
from hpo_job.results.comparison import best_importances
from hpo_job.spec.choices import PLOT_KINDS
from tests import synthetic

PHASES = [
    {"name": "language_model_frozen", "start": 0, "metric": "perplexity", "of_study": False},
    {"name": "language_model_unfrozen", "start": 1, "metric": "perplexity", "of_study": False},
    {"name": "classifier", "start": 2, "metric": "f1_weighted", "of_study": True},
]


def texts(count: int = 4) -> list[FrozenTrial]:
    """Trials that were language models and then classifiers, and one that was pruned before."""
    drawn = [
        create_trial(
            value=0.8,
            user_attrs={"phases": PHASES},
            intermediate_values={0: 120.0, 1: 90.0, 2: 0.7, 3: 0.8},
        )
        for _ in range(count)
    ]
    return [*drawn, synthetic.language_model()]


def test_each_kind_of_plot_has_one_name_everywhere() -> None:
    assert tuple(plots._KINDS) == PLOT_KINDS


def test_a_panel_has_the_metric_of_its_phase() -> None:
    study = synthetic.study(texts())
    metrics = ["perplexity", "perplexity", "f1_weighted"]
    drawn = figures.intermediate(study)
    assert drawn is not None
    assert [each.text.split("<br>")[-1] for each in drawn.layout.annotations] == metrics
    with canvas.style():
        assert [each.get_ylabel() for each in values.intermediate(study, None).axes] == metrics


def test_a_perplexity_is_not_drawn_among_the_values() -> None:
    with canvas.style():
        (axes,) = values.history(synthetic.study(texts()), None).axes
        assert axes.get_ylim()[1] < 1


def test_pruned_trials_and_the_baseline_are_in_the_picture_of_the_history() -> None:
    with canvas.style():
        (axes,) = values.history(synthetic.study(synthetic.trials(80)), None).axes
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["PRUNED, last value", "COMPLETE", "best so far", "baseline 0.5200"]


@pytest.mark.parametrize("draw", [time.timeline, values.history, values.pareto])
def test_a_legend_hides_nothing(draw: Any) -> None:
    with canvas.style():
        figure = draw(synthetic.study(synthetic.trials(60)), None)
        figure.canvas.draw()
        axes = figure.axes[0]
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1 - 1


def test_the_colour_bar_of_slices_lies_next_to_them() -> None:
    with canvas.style():
        figure = parameters.slices(synthetic.study(synthetic.trials(60)), None)
        figure.canvas.draw()
        *panels, bar = [axes.get_window_extent() for axes in figure.axes]
        assert all(bar.x0 >= panel.x1 for panel in panels)


def test_whole_numbers_have_nothing_between_them() -> None:
    drawn = synthetic.trials(40)
    assert axis(drawn, "epochs").plotly()["dtick"] == 1
    assert "dtick" not in axis(drawn, "mult").plotly()


def test_many_studies_of_other_parameters_leave_the_bars_readable() -> None:
    studies = [synthetic.study(synthetic.trials(30), "one"), synthetic.study(name="two")]
    table = best_importances(studies)
    drawn = comparison_figures.importances(table)
    assert drawn is not None
    assert next(trace.text[0] for trace in drawn.data) == ""  # nothing is known of the second


def test_the_table_keeps_none_and_infinity_from_nothing() -> None:
    space: dict[str, BaseDistribution] = {"depth": CategoricalDistribution([None, 2])}
    drawn = [
        create_trial(value=math.inf, params={"depth": None}, distributions=space),
        create_trial(value=0.5, params={"depth": 2}, distributions=space),
        create_trial(value=0.25),
    ]
    columns, rows = columns_and_rows(synthetic.study(drawn, ours=False))
    names = [column["name"] for column in columns]
    assert [row[names.index("depth")] for row in rows] == ["None", 2, None]
    assert [row[names.index("value")] for row in rows] == ["inf", 0.5, 0.25]
    assert columns[names.index("value")]["number"]
    assert columns[names.index("note")]["group"] == "attribute"  # no trial has one


def html_of(study: optuna.Study, section: Any, *more: Any) -> str:
    page = Page("x")
    section(study, page, "", *more)
    return page.html()


def test_the_search_space_reads_as_check_prints_it() -> None:
    space = {
        "model": {"type": "categorical", "choices": ["resnet18", "resnet50"]},
        "rate": {"type": "float", "low": 1e-05, "high": 0.1, "log": True, "when": {"tune": True}},
        "epochs": {"type": "int", "low": 1, "high": 3, "step": 1, "log": True},
        "batch_size": 32,
    }
    html = html_of(synthetic.study(search_space=space), origin_section)
    assert "one of resnet18, resnet50" in html
    assert "float 1e-05 to 0.1, log, when tune = true" in html
    assert "int 1 to 3, log<" in html
    assert "fixed at 32" in html


def test_failures_of_which_nothing_is_known() -> None:
    study = synthetic.study([create_trial(state=TrialState.FAIL)], ours=False)
    assert "1 of 1 trial failed; 0s were spent" in html_of(
        study, failures_section, ".hpo/artifacts"
    )
