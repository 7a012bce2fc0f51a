"""Names that options choose from, in a module that imports nothing: `--help` lists them."""

IMPORTANCE_METHODS = ("ped-anova", "fanova", "mean-decrease-impurity")  # of Optuna's evaluators
PLOT_KINDS = (
    "history",
    "intermediate",
    "parallel",
    "slice",
    "contour",
    "importance",
    "pareto",
    "timeline",
    "time",
    "edf",
)
