"""Measures what saving the state of a training costs: an image model, a text and a table.

    python benchmarks/checkpoints.py               # all three, a few minutes on a CPU
    python benchmarks/checkpoints.py --kinds rows --epochs 30

Each training is a real trial that saves to a folder as often as it can. Printed are, for one save,
the size of the state, how long training waited, and the processor's time, that of the thread which
uploads it included; then the share of the time of training that this is, at one save a minute and
at one after each epoch (of these small data: an epoch of larger data takes longer).
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hpo_job.machine import cpu_name  # noqa: E402

COMMON = """
name = "{kind}"
direction = "minimize"
metric = "{metric}"
objective = "{objective}"
[budget]
trials = 1
[artifacts]
keep = 0
[checkpoint]
every = 0.5
[data]
{data}
[search_space]
{space}
"""
KINDS = {
    "images": {
        "objective": "image_classification",
        "metric": "log_loss",
        "data": 'path = "data"\nvalid_pct = 0.3',
        "space": 'model = "resnet18"\npre_trained = false\nimage_size = 128\nbatch_size = 32\n'
        "epochs = {epochs}",
    },
    "texts": {
        "objective": "text_classification",
        "metric": "log_loss",
        "data": 'path = "passages.csv.gz"\nlabel = "party"\ntext = "text"\ngroup = "address"\n'
        "sample = 200",
        "space": "pre_trained = false\nmax_tokens = 200\nbatch_size = 16\n"
        "classifier_epochs = {epochs}",
    },
    "rows": {
        "objective": "tabular_regression",
        "metric": "rmse",
        "data": 'path = "penguins.csv"\nlabel = "body_mass_g"',
        "space": "epochs = {epochs}",
    },
}
FILES = {
    "images": "people-vs-animals/data",
    "texts": "state-of-the-union-early/passages.csv.gz",
    "rows": "penguins-mass/penguins.csv",
}


def measure(kind: str, epochs: int) -> dict[str, Any]:
    """Train one trial, and time each of its saves."""
    from hpo_job.artifacts.checkpoints import Checkpoints
    from hpo_job.objectives.context import Context
    from hpo_job.spec.reading import read_spec
    from hpo_job.storage.database import Storage
    from hpo_job.study.checking import check
    from hpo_job.study.joining import create
    from hpo_job.trial import attributes
    from hpo_job.worker.loop import work
    from hpo_job.worker.machine_share import Machine
    from hpo_job.worker.signals import Stop

    save, upload = Context.save, Checkpoints.upload
    waits: list[float] = []
    processor: list[float] = []
    uploads: list[float] = []
    sizes: list[int] = []

    def timed_save(self: Context, state: Any) -> bool:
        wall, cpu = time.perf_counter(), time.thread_time()
        saved = save(self, state)
        if saved:
            waits.append(time.perf_counter() - wall)
            processor.append(time.thread_time() - cpu)
        return saved

    def timed_upload(self: Checkpoints, file: Any, seconds: float) -> None:
        sizes.append(file.seek(0, os.SEEK_END))
        cpu = time.thread_time()
        upload(self, file, seconds)
        uploads.append(time.thread_time() - cpu)

    Context.save, Checkpoints.upload = timed_save, timed_upload  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        job = Path(place) / "job"
        job.mkdir()
        source = ROOT / "jobs" / FILES[kind]
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, job / source.name)
        text = COMMON.format(kind=kind, **KINDS[kind]).replace("{epochs}", str(epochs))
        (job / "study.toml").write_text(text)
        checked = check(read_spec(job), Path(".hpo/weights"), Path(place) / "cache")
        storage = Storage(f"sqlite:///{place}/studies.db", create=True)
        study, stop = create(checked, storage), Stop()
        with stop.listening():
            machine = Machine(1, Path(place) / "cache", artifacts=f"{place}/store")
            work(checked, study, storage, stop, machine)
        attrs = study.trials[0].user_attrs
        storage.close()
    held = sum(waits)
    cost = [one + other for one, other in zip(processor, uploads, strict=False)]
    return {
        "saves": len(waits),
        "size": statistics.median(sizes) / 2**20,
        "wait": statistics.median(waits),
        "cpu": statistics.median(cost),
        # of an epoch without the time that saves have taken of it
        "epoch": (attrs[attributes.TRAIN_TIME] - held) / len(attrs[attributes.EPOCH_TIMES]),
    }


def child(kind: str, epochs: int, answer: Path) -> None:
    answer.write_text(json.dumps(measure(kind, epochs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    print(f"{cpu_name()}, 1 thread")
    print("| training | state | waits | processor | once a minute | each epoch (of) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as place:
            answer = Path(place) / "answer"
            process = multiprocessing.get_context("spawn").Process(
                target=child, args=(kind, arguments.epochs, answer)
            )
            process.start()
            process.join()
            one = json.loads(answer.read_text())
        share = max(one["wait"], one["cpu"])
        print(
            f"| {kind} | {one['size']:.1f} MiB | {one['wait']:.3f} s | {one['cpu']:.3f} s "
            f"| {share / 60:.2%} | {share / one['epoch']:.1%} ({one['epoch']:.1f} s) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
