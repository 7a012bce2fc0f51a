"""Tables of trials: a column for what varies, what is the same once, and names that are cut."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from click.testing import Result
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.results.columns import columns, shortened
from hpo_job.storage.database import Storage
from tests import synthetic

Cli = Callable[..., Result]
LONG = "learning_rate_of_the_frozen_head"
SPACE: dict[str, BaseDistribution] = {
    "model": CategoricalDistribution(["resnet18", "resnet50"]),
    "epochs": IntDistribution(1, 10),
    LONG: IntDistribution(1, 9),
    "seed": IntDistribution(7, 7),
}


def trial(number: int, **attrs: object) -> FrozenTrial:
    params = {"model": "resnet18", "epochs": number + 1, LONG: number % 3 + 1, "seed": 7}
    return create_trial(
        value=0.6 + number / 100, params=params, distributions=SPACE, user_attrs=attrs
    )


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    return synthetic.study([trial(n) for n in range(5)], storage=storage.optuna)


def test_what_varies_has_a_column_and_the_rest_is_said_once(
    study: optuna.Study, cli: Cli, database: str
) -> None:
    lines = cli("results", "synthetic", "--storage", database).stdout.splitlines()
    assert lines[0].split() == ["trial", "state", "f1_weighted", "time", "epochs", LONG]
    assert lines[1].split()[-2:] == ["1", "1"]
    assert len(lines[1:6]) == 5
    same = " ".join(lines[6:])
    assert "the same in all: " in same
    for text in ("batch_size=32", "model=resnet18", "seed=7"):
        assert same.count(text) == 1
    assert "model" not in "".join(lines[:6])


def test_names_are_cut_with_a_sign_where_they_do_not_fit(study: optuna.Study) -> None:
    narrow = columns(study, study.trials, 60)
    assert narrow.header[-2:] == ("epochs", "lear…ead")
    assert columns(study, study.trials, 80).header[-1] == LONG
    folded = columns(study, study.trials, 40)
    assert folded.header == ("trial", "state", "f1_weighted", "time", "parameters")
    assert "seed" not in folded.rows[0][-1]
    assert shortened("epochs", 8) == "epochs"


def test_names_that_would_be_the_same_when_cut_are_not() -> None:
    space = {f"a_long_name_{n}_of_a_parameter": IntDistribution(0, 9) for n in range(3)}
    trials = [
        create_trial(value=1.0, params=dict.fromkeys(space, n), distributions=dict(space))
        for n in range(2)
    ]
    study = synthetic.study(trials, ours=False)
    assert columns(study, study.trials, 70).header[-1] == "parameters"


def test_reasons_have_a_column_where_there_are_any(study: optuna.Study) -> None:
    failed = create_trial(state=TrialState.FAIL, user_attrs={"error": "ValueError: x"})
    study.add_trial(failed)
    table = columns(study, study.trials, 200)
    assert table.header[-1] == "note"
    assert table.rows[-1][-1] == "(ValueError: x)"
    assert "model" not in table.header  # it is the same in all that have any parameters
    assert table.rows[-1][table.header.index("epochs")] == "-"


def test_chosen_columns_are_headed_as_they_were_typed(
    study: optuna.Study, cli: Cli, database: str
) -> None:
    asked = ["--columns", "number,f1_weighted,model,params_epochs"]
    lines = cli("results", "synthetic", *asked, "--storage", database).stdout.splitlines()
    assert lines[0].split() == ["number", "f1_weighted", "model", "params_epochs"]
    text = cli("results", "synthetic", *asked, "--format", "csv", "--storage", database).stdout
    assert text.splitlines()[0] == "number,value,params_model,params_epochs"
