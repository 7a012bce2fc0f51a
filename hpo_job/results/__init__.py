"""The results of studies as data frames, text and TOML; nothing here changes a study."""

from hpo_job.results.columns import running
from hpo_job.results.ending import finished
from hpo_job.results.formatting import clock, number, settings, text_table
from hpo_job.results.overview import caption, notes, overview, row
from hpo_job.results.ranking import (
    NEARLY,
    Fastest,
    as_toml,
    best,
    fastest_within,
    front,
    leading,
    score,
    top,
)
from hpo_job.results.trials import baselines, metric_name, metric_names, parameters, seconds

__all__ = [
    "NEARLY",
    "Fastest",
    "as_toml",
    "baselines",
    "best",
    "caption",
    "clock",
    "fastest_within",
    "finished",
    "front",
    "leading",
    "metric_name",
    "metric_names",
    "notes",
    "number",
    "overview",
    "parameters",
    "row",
    "running",
    "score",
    "seconds",
    "settings",
    "text_table",
    "top",
]
