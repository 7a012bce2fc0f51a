"""Images per second of training: hpo-job, a plain fastai loop, and what the device can do.

    python benchmarks/gpu.py              # the demo's images; on a GPU also 12,000 larger ones
    python benchmarks/gpu.py --trials 6 --workers 2       # on a CPU; a GPU has sizes of its own

Rates are of training images, in the epochs after each trial's first, validation left out.

The plain loop is written as one writes it in a notebook: fastai's ImageDataLoaders and
vision_learner, all trials one after the other in one process, float32, all CPUs. The limit is one
training step on a fixed batch, again and again, with nothing to load: on a GPU in one process, on a
CPU as many processes with one thread each as hpo-job has workers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastai.callback.core import Callback

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "jobs" / "people-vs-animals" / "data"
RATES = (1e-3, 2e-3, 3e-3, 5e-3, 8e-3, 1e-2)
SECONDS = 10  # that a limit is measured for
LARGE, SIDE = 12_000, 320
VALID = 0.3
SHARED = (1, 2, 4, 8)  # workers that share one GPU


def main() -> None:
    """Print the figures of each part; ``--part`` runs one alone, in a process of its own."""
    options = _options()
    if options.part:
        result = globals()[f"_{options.part}"](options)
        print("RESULT", json.dumps(result))
        return
    print(f"device    {_device()}")
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        print("\nsmall: the demo's images", flush=True)
        if _on_gpu():
            options.size, options.epochs, options.workers, options.trials = 128, 3, 4, 16
        _compare(options)
        if _on_gpu():
            _scale(options, SHARED)
            print(f"\nlarge: {LARGE} images of {SIDE} px", flush=True)
            options.data = _make_large(options.folder / "large")
            options.model, options.size, options.batch = "resnet50", 224, 64
            options.trials, options.workers, options.epochs, options.unfrozen = 1, 1, 2, 1
            _compare(options)
            _scale(options, SHARED[:2])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEMO)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--unfrozen", type=int, default=1)
    parser.add_argument("--trials", type=int, default=len(RATES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--part", choices=["loop", "study", "limit"])
    return parser.parse_args()


def _compare(options: argparse.Namespace) -> None:
    images = sum(1 for path in options.data.rglob("*") if path.is_file())
    epochs = options.epochs + options.unfrozen
    limit = _limit_of_all(options)
    print(f"limit     {limit['rate']:8.0f} images/s  {limit['how']}", flush=True)
    if _on_gpu():
        repeatable = _alone("limit", options, HPO_JOB_BENCHMARK_REPEATABLE="1")
        print(
            f"limit     {repeatable['rate']:8.0f} images/s  the same, deterministic as trials are",
            flush=True,
        )
    loop = _alone("loop", options)
    study = _alone("study", options)
    for name, part in (("loop", loop), ("hpo-job", study)):
        print(
            f"{name:<9} {part['rate']:8.0f} images/s while training  {part['seconds']:6.1f} s of "
            f"trials  {part['whole']:6.1f} s in all  best {part['best']:.3f}  "
            f"{60 * options.trials / part['seconds']:.1f} trials a minute",
            flush=True,
        )
    print(f"hpo-job / loop {loop['seconds'] / study['seconds']:.2f} (trials), ", end="")
    print(f"{loop['whole'] / study['whole']:.2f} (in all); ", end="")
    print(f"{images} images, {epochs} epochs, {options.trials} trials, {options.workers} workers")
    print(f"hpo-job / loop {study['rate'] / loop['rate']:.2f} (images/s while training)")
    print(f"hpo-job / limit {study['rate'] / limit['rate']:.2f}", flush=True)


def _scale(options: argparse.Namespace, counts: Sequence[int]) -> None:
    """Print what one, two and more workers do on one GPU."""
    for count in counts:
        settings = {**vars(options), "workers": count, "trials": 10 * count}
        part = _alone("study", argparse.Namespace(**settings))
        rate = 60 * settings["trials"] / part["seconds"]
        print(f"workers {count}: {rate:8.1f} trials a minute", flush=True)


def _alone(part: str, options: argparse.Namespace, **env: str) -> dict[str, Any]:
    """The result of one part, in a process of its own."""
    return _result(_start(part, options, **env))


def _start(part: str, options: argparse.Namespace, **env: str) -> subprocess.Popen[str]:
    settings = {name: value for name, value in vars(options).items() if name != "part"}
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    return subprocess.Popen(
        [sys.executable, __file__, "--part", part, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if process.returncode or not lines:
        raise SystemExit(f"a part failed with exit code {process.returncode}\n{output}")
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def _limit_of_all(options: argparse.Namespace) -> dict[str, Any]:
    on_gpu = _on_gpu()
    count = 1 if on_gpu else options.workers
    threads = {} if on_gpu else {"OMP_NUM_THREADS": str(options.threads)}
    processes = [_start("limit", options, **threads) for _ in range(count)]
    rates = [_result(process)["rate"] for process in processes]
    how = "one fixed batch, no loading"
    how += "" if on_gpu else f"; {count} processes at once, {options.threads} thread each"
    return {"rate": sum(rates), "how": how}


def _limit(options: argparse.Namespace) -> dict[str, Any]:
    """Training steps on one batch, as a trial computes them, for a while."""
    import torch
    from fastai.losses import CrossEntropyLossFlat

    from hpo_job.objectives.images.models import build
    from hpo_job.objectives.precision import resolved

    device = torch.device("cuda" if _on_gpu() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.deterministic = "HPO_JOB_BENCHMARK_REPEATABLE" in os.environ
    model = build(options.model, 2, None, options.size)[0].to(device)
    model.to(memory_format=torch.channels_last)
    batch = torch.rand(options.batch, 3, options.size, options.size, device=device)
    batch = batch.to(memory_format=torch.channels_last)
    targets = torch.randint(0, 2, (options.batch,), device=device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loss = CrossEntropyLossFlat()
    half = resolved("auto", device.type) == "bf16"

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            predictions = model(batch)
        loss(predictions.float(), targets).backward()
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(3):
        step()
    _wait()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        for _ in range(5):
            step()
        _wait()
        steps += 5
    return {"rate": steps * options.batch / (time.perf_counter() - started)}


def _loop(options: argparse.Namespace) -> dict[str, Any]:
    """The trials as a notebook runs them; every one with the same split."""
    begin = time.perf_counter()
    from fastai.vision.all import (
        ImageDataLoaders,
        Resize,
        ResizeMethod,
        accuracy,
        vision_learner,
    )
    from torchvision import models

    best, trained = 0.0, 0.0
    started = time.perf_counter()
    for trial in range(options.trials):
        dls = ImageDataLoaders.from_folder(
            options.data,
            valid_pct=VALID,
            seed=42,
            item_tfms=Resize(options.size, method=ResizeMethod.Squish),
            bs=options.batch,
        )
        learn = vision_learner(
            dls, getattr(models, options.model), pretrained=False, metrics=accuracy
        )
        times: list[float] = []
        with learn.no_bar(), learn.no_logging(), learn.added_cbs(_timer(times)):
            learn.fit_one_cycle(options.epochs, RATES[trial % len(RATES)])
            learn.unfreeze()
            learn.fit_one_cycle(options.unfrozen, 1e-3)
        trained += sum(times[1:])
        best = max(best, float(learn.final_record[-1]))
    end = time.perf_counter()
    images = len(dls.train_ds) * (options.epochs + options.unfrozen - 1)
    rate = images * options.trials / trained
    return {"rate": rate, "seconds": end - started, "whole": end - begin, "best": best}


def _timer(times: list[float]) -> Callback:
    """A callback that appends the seconds of each epoch's training."""
    from fastai.callback.core import Callback

    class Timer(Callback):  # type: ignore[misc]
        def before_train(self) -> None:
            self.started = time.perf_counter()

        def after_train(self) -> None:
            _wait()
            times.append(time.perf_counter() - self.started)

    return Timer()


def _study(options: argparse.Namespace) -> dict[str, Any]:
    """The same trials by ``hpo-job run``."""
    import optuna

    from hpo_job.trial import attributes

    folder = Path(tempfile.mkdtemp(prefix="study-", dir=options.folder))
    (folder / "study.toml").write_text(_study_toml(options))
    url = f"sqlite:///{folder}/studies.db"
    command = [sys.executable, "-m", "hpo_job", "run", str(folder), "--storage", url]
    command += ["--workers", str(options.workers), "--cache", str(options.folder / "cache")]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=folder)
    whole = time.perf_counter() - begin
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if len(done) < options.trials:
        raise SystemExit(f"{len(done)} of {options.trials} trials are COMPLETE")
    first = min(trial.datetime_start for trial in done if trial.datetime_start)
    last = max(trial.datetime_complete for trial in done if trial.datetime_complete)
    seconds = (last - first).total_seconds()
    files = sum(1 for path in options.data.rglob("*") if path.is_file())
    epochs = options.epochs + options.unfrozen
    images = round((1 - VALID) * files) * (epochs - 1) * len(done)
    trained = 0.0
    for trial in done:
        validation = trial.user_attrs[attributes.VALIDATION_TIME] / epochs
        times = trial.user_attrs[attributes.EPOCH_TIMES][1:]
        trained += (sum(times) - validation * len(times)) / options.workers
    best = max(trial.value for trial in done if trial.value is not None)
    return {"rate": images / trained, "seconds": seconds, "whole": whole, "best": best}


def _study_toml(options: argparse.Namespace) -> str:
    rates = [RATES[trial % len(RATES)] for trial in range(options.trials)]
    entries = "".join(f"\n[[enqueue]]\nlearning_rate = {rate}\n" for rate in rates)
    return f"""
name = "benchmark"
objective = "image_classification"
metric = "accuracy"
direction = "maximize"
[budget]
trials = {options.trials}
[data]
path = "{options.data}"
valid_pct = {VALID}
[artifacts]
keep = 0
[search_space]
model = "{options.model}"
pre_trained = false
image_size = {options.size}
batch_size = {options.batch}
epochs = {options.epochs}
unfrozen_epochs = {options.unfrozen}
unfrozen_learning_rate = 1e-3
learning_rate = {{ type = "float", low = 1e-4, high = 1e-1, log = true }}
{entries}"""


def _make_large(folder: Path) -> Path:
    """Images of random rectangles, in two classes by their colour."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("red", "blue"):
        (folder / name).mkdir(parents=True)
    for number in range(LARGE):
        small = rng.integers(0, 160, (20, 20, 3), dtype=np.uint8)
        small[..., 0 if number % 2 else 2] += 80
        name = "red" if number % 2 else "blue"
        Image.fromarray(small).resize((SIDE, SIDE)).save(folder / name / f"{number:05}.jpg")
    return folder


def _wait() -> None:
    import torch

    if _on_gpu():
        torch.cuda.synchronize()


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if _on_gpu() else _cpu()


def _cpu() -> str:
    from hpo_job.machine import cpu_name

    return f"{cpu_name() or platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    main()
