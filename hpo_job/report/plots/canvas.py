"""What every picture has: matplotlib without a screen, colours, a legend next to the axes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna

from hpo_job.errors import StudyError
from hpo_job.report.palette import COLOURS

DPI = 150
STYLE = "seaborn-v0_8-whitegrid"


@contextmanager
def style() -> Iterator[None]:
    """The look of all pictures, for as long as this is open; figures are closed after it."""
    # Agg draws into files alone; importing pyplot may otherwise look for a screen
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        # a constrained layout keeps colour bars and legends apart from the axes
        with plt.style.context([STYLE, {"figure.constrained_layout.use": True}]):
            yield
    finally:
        plt.close("all")


def subplots(*arguments: Any, **settings: Any) -> tuple[Any, Any]:
    """A figure and its axes."""
    import matplotlib.pyplot as plt

    created: tuple[Any, Any] = plt.subplots(*arguments, **settings)
    return created


def nothing_to_draw(study: optuna.Study, kind: str) -> StudyError:
    """Why there is no such plot of this study."""
    return StudyError(f"study {study.study_name!r} has nothing to draw as {kind} yet")


def legend(axes: Any, states: set[str] | None = None) -> None:
    """The legend above the axes, where it hides nothing; of states, or of what is labelled."""
    from matplotlib.patches import Patch

    patches = [
        Patch(color=COLOURS[state], label=state) for state in COLOURS if states and state in states
    ]
    axes.legend(
        **({"handles": patches} if patches else {}),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        borderaxespad=0.2,
    )
