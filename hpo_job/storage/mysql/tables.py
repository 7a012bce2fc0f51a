"""The tables of Optuna's schema that hold what is in a trial, and the kinds of their rows."""

from collections.abc import Mapping, Sequence

# Kinds of rows in an answer of `queries`; those of a table are its kind in TABLES.
TRIAL, STUDY, STALE, PARAM, VALUE, USER, SYSTEM, REPORT = range(8)
TAIL = 10  # added to the kind of rows of running trials
HIGHEST = 20  # added to the kind whose highest key a row tells

UNFINISHED = "('RUNNING', 'WAITING')"
FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"


class Table:
    """A table of trial contents: its key, and its columns as (place, name, value, text)."""

    def __init__(self, name: str, key: str, columns: str, written: Sequence[str]) -> None:
        self.name = name
        self.key = key
        self.columns = columns
        self.written = written


TABLES: Mapping[int, Table] = {
    PARAM: Table(
        "trial_params",
        "param_id",
        "c.param_id, c.param_name, c.param_value, c.distribution_json",
        ("param_name", "param_value", "distribution_json"),
    ),
    VALUE: Table(
        "trial_values",
        "trial_value_id",
        "c.objective, c.value_type, c.value, NULL",
        ("objective", "value", "value_type"),
    ),
    USER: Table(
        "trial_user_attributes",
        "trial_user_attribute_id",
        "c.trial_user_attribute_id, c.`key`, NULL, c.value_json",
        ("`key`", "value_json"),
    ),
    SYSTEM: Table(
        "trial_system_attributes",
        "trial_system_attribute_id",
        "c.trial_system_attribute_id, c.`key`, NULL, c.value_json",
        ("`key`", "value_json"),
    ),
    REPORT: Table(
        "trial_intermediate_values",
        "trial_intermediate_value_id",
        "c.step, c.intermediate_value_type, c.intermediate_value,"
        " CONCAT('', c.trial_intermediate_value_id)",
        ("step", "intermediate_value", "intermediate_value_type"),
    ),
}
