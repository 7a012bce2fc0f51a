"""The names of what is stored with a study and with each of its trials, declared once.

Those of trials are Optuna user attributes, so they show up as ``user_attrs_*`` columns.
Seconds unless the name says otherwise.
"""

# Of a study
SPEC = "spec"  # study.toml as it was when the study was created
BASELINE = "baseline"  # a number; a list of them, one for each metric, with several objectives
PROVENANCE = "provenance"  # where the study comes from: data, revision, versions
IMPORTED = "imported_from"  # the database and study that its trials were copied from
LR_FIND = "lr_find"  # what the learning-rate finder suggests, by parameter

# Of a trial, written by the worker
WORKER = "worker"  # who runs the trial: host or pod, and process
DRAW = "draw"  # the number of the parameter set in the study; a retry keeps it
REASON = "fail_reason"  # one of those below, "error" or "out_of_memory"
ERROR = "error"  # the line of the error that ended it
RETRY_OF = "retry_of"  # the number of the trial whose parameters run again
CHECKPOINTS = "checkpoints"  # the saved states of a trial: see `artifacts.checkpoints`
RESUMED_FROM = "resumed_from_trial"  # the attempt whose saved state was continued
RESUMED_AT = "resumed_at_epoch"  # how many epochs (or other steps) that state had behind it
SAVED_SECONDS = "saved_seconds"  # of work that the saved state held, and that was not repeated
LOST_SECONDS = "lost_seconds"  # of work of the attempt before that no saved state held
PHASES = "phases"  # those it went through: see `trial.phases.Phase.stored`
REPEAT_VALUES = "repeat_values"  # the value with each seed
REPEAT_STD = "repeat_std"  # their standard deviation
PREDICTIONS = "predictions_id"  # those of the kept model for the validation items
RUNG = "rung"  # of a PromotionPruner: the one it is to reach; 0 for the first of its bracket
BRACKET = "bracket"
PAUSED_AT = "paused_at"  # after how many reports it stopped at its rung
INTERVAL = "interval"  # low and high end of the metric over samples of the validation items
ARTIFACT = "artifact_id"  # the kept model, in the study's artifact store
LOG = "log_id"  # what it printed, logged and warned of, in the study's artifact store

OUTCOME = (
    REASON,
    ERROR,
    PHASES,
    REPEAT_VALUES,
    REPEAT_STD,
    PREDICTIONS,
    INTERVAL,
    ARTIFACT,
    LOG,
    PAUSED_AT,
)

OF_PROMOTION = (RUNG, BRACKET)
RESUMPTION = (CHECKPOINTS, RESUMED_FROM, RESUMED_AT, SAVED_SECONDS, LOST_SECONDS)

# Where a trial's time went: measured by each trial itself, and written however it ends
DATA_TIME = "data_time"  # creating the data loaders
LR_FIND_TIME = "lr_find_time"  # the learning-rate finder, in the trial that runs its suggestion
TRAIN_TIME = "train_time"  # all fits, their validation passes included
EPOCH_TIMES = "epoch_times"  # a list: each epoch, its validation pass included
VALIDATION_TIME = "validation_time"  # the validation passes after the epochs
EXECUTE_TIME = "execute_time"  # one pass over the validation set, warmed up, device synchronised
ITEM_TIME_MS = "item_time_ms"  # milliseconds of that pass for each item
STORAGE_TIME = "storage_time"  # waiting for the study's storage, until the result is recorded
LOCK_TIME = "lock_time"  # of it, waiting for the study's lock, in which the next trial is chosen
SAMPLING_TIME = "sampling_time"  # of it, drawing the parameters and storing them
RECORDING_TIME = "recording_time"  # recording the result of the trial that this worker ran before
TOTAL_TIME = "total_time"  # from asking for the trial to recording its result
PEAK_GPU_MEMORY_MIB = "peak_gpu_memory_mib"  # the most memory that tensors took on the GPU, in MiB
TIMES = (
    DATA_TIME,
    LR_FIND_TIME,
    TRAIN_TIME,
    EPOCH_TIMES,
    VALIDATION_TIME,
    EXECUTE_TIME,
    ITEM_TIME_MS,
    STORAGE_TIME,
    LOCK_TIME,
    SAMPLING_TIME,
    RECORDING_TIME,
    TOTAL_TIME,
    PEAK_GPU_MEMORY_MIB,
)

# Where a trial ran
DEVICE_NAME = "device_name"  # the name of the GPU or of the CPU
GPU = "gpu"  # which one of its machine: a number as in nvidia-smi, a UUID, or a MIG name
USER = "user"  # the name of the account that ran the worker
HOST = "host"  # the name of the machine
POD = "pod"  # the name of the pod
IMAGE = "image"  # the container image of the pod
PLACE = (DEVICE_NAME, GPU, USER, HOST, POD, IMAGE)

# Why a trial failed through no fault of its objective: its parameters are run again
INTERRUPTED, PREEMPTED, LOST = "interrupted", "preempted", "lost"
RETRIED = frozenset({INTERRUPTED, PREEMPTED, LOST})


def train_time(phase: str) -> str:
    """The attribute that holds the seconds of the fits of one phase."""
    return f"{TRAIN_TIME}_{phase}"


def is_measured(name: str) -> bool:
    """Whether a trial measures this attribute itself, so that a copied value means nothing.

    The learning-rate finder's time is none of these: it ran before the trial did.
    """
    if name == LR_FIND_TIME:
        return False
    return name in (*TIMES, *OUTCOME, *RESUMPTION, *PLACE) or name.startswith(f"{TRAIN_TIME}_")
