"""The names of what is stored with a study and with each of its trials, declared once.

Those of trials are Optuna user attributes, so they show up as ``user_attrs_*`` columns.
Seconds unless the name says otherwise.
"""

# Of a study
SPEC = "spec"
BASELINE = "baseline"
PROVENANCE = "provenance"
LR_FIND = "lr_find"

# Of a trial, written by the worker
WORKER = "worker"
DRAW = "draw"
REASON = "fail_reason"  # one of those below, "error" or "out_of_memory"
ERROR = "error"
RETRY_OF = "retry_of"

# Of a trial, written by its objective
DATA_TIME = "data_time"
TRAIN_TIME = "train_time"
EXECUTE_TIME = "execute_time"
LR_FIND_TIME = "lr_find_time"
VALIDATION_TIME = "validation_time"
STORAGE_TIME = "storage_time"
PHASES = "phases"

# Why a trial failed though its objective is not to blame: its parameters are run again
INTERRUPTED, PREEMPTED, LOST = "interrupted", "preempted", "lost"
RETRIED = frozenset({INTERRUPTED, PREEMPTED, LOST})
