"""The state of a fastai training, to be continued elsewhere: what it is made of, and put back into.

Guaranteed: training that is continued from a state ends as it would have ended without the break.
On a CPU that is exact: the weights, the optimiser, the position in the one-cycle, all random
numbers, the order of the items and the recorder's history are part of the state.

A state in the middle of an epoch needs the order of its items, which is drawn at its beginning. So
the random numbers of that moment are part of it, too: the order is drawn again, and the batches
that were trained already are left out without being read.
"""

from __future__ import annotations

import random
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from fastai.callback.schedule import ParamScheduler
from fastai.learner import Learner
from fastai.text.models.awdlstm import AWD_LSTM
from fastcore.foundation import L
from torch import nn

from hpo_job import __version__
from hpo_job.objectives.context import Context
from hpo_job.trial.checkpoint_file import State

# Those whose versions decide on a model's layers, and on the rounding of its training
LIBRARIES = ("torch", "torchvision", "timm", "fastai")
# What numpy has no type for is kept as integers of the same size
UNKNOWN_TO_NUMPY = {"bfloat16": (torch.bfloat16, torch.int16)}


def resume(context: Context) -> None:
    """Look for a state that an earlier attempt at this trial has saved; called once a trial."""
    context.resumed = context.resume(lambda state: _misfit(state, context))


def resumed_phase(context: Context) -> str | None:
    """The phase in which training goes on; None where it begins, or has gone on already."""
    return None if context.resumed is None else str(context.resumed["phase"])


def capture(learn: Learner, context: Context, phase: str, values: list[float]) -> State:
    """What the rest of a training depends on, as a tree of plain values and arrays.

    What is missing is where it goes on, and with which random numbers: see
    `hpo_job.objectives.epochs.Epochs`.

    Args:
        learn: the learner, between two batches or two epochs.
        context: the trial.
        phase: the name of the phase it is in.
        values: of the phase's epochs so far.
    """
    smooth = learn.recorder.smooth_loss
    scaler = getattr(learn, "scaler", None)
    return {
        **_origin(context),
        "phase": phase,
        "values": values,
        "model": _plain(learn.model.state_dict()),
        "hidden": [_plain([module.bs, module.hidden]) for module in _recurrent(learn.model)],
        "optimiser": _plain(learn.opt.state_dict()),
        "scaler": _plain(scaler.state_dict()) if scaler is not None else None,
        "smooth_loss": [smooth.count, float(smooth.val)],
        "recorder": _recorded(learn),
    }


def restore(learn: Learner, state: State) -> None:
    """Put back what `capture` returned."""
    learn.model.load_state_dict(_tensors(state["model"]))
    device = learn.dls.device
    optimiser = _tensors(state["optimiser"], device)
    for (parameter, *_), kept in zip(learn.opt.all_params(), optimiser["state"], strict=True):
        kept |= {name: _laid_out_as(parameter, value) for name, value in kept.items()}
    learn.opt.load_state_dict({**optimiser, "hypers": L(optimiser["hypers"])})
    if state["scaler"] is not None and getattr(learn, "scaler", None) is not None:
        learn.scaler.load_state_dict(_tensors(state["scaler"]))
    smooth = learn.recorder.smooth_loss
    smooth.count, smooth.val = int(state["smooth_loss"][0]), torch.tensor(state["smooth_loss"][1])
    _restore_recorded(learn, state["recorder"])


def forget_epoch(learn: Learner) -> None:
    """Take an epoch that was left out off the recorder, which has just noted it as an empty one."""
    recorder = learn.recorder
    del recorder.values[-1], recorder.iters[-1]
    learn.final_record = recorder.values[-1].copy()


def restore_hidden(learn: Learner, state: State) -> None:
    """Put back what a language model remembers of the batches before, which an epoch resets."""
    for module, kept in zip(_recurrent(learn.model), state["hidden"], strict=True):
        size, hidden = _tensors(kept, learn.dls.device)
        module.bs, module.hidden = size, [tuple(pair) for pair in hidden]


def random_numbers(learn: Learner) -> State:
    """The states of all generators of random numbers, the one that shuffles the items included."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "python": list(random.getstate()),
        "numpy": [name, keys, position, has_gauss, gauss],
        "torch": torch.get_rng_state().numpy(),
        "order": list(learn.dls.train.rng.getstate()),
    }
    if learn.dls.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(learn.dls.device).numpy()
    return state


def restore_random_numbers(learn: Learner, state: State) -> None:
    """Let all generators go on from where `random_numbers` saw them."""
    random.setstate(_python_state(state["python"]))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(torch.from_numpy(np.array(state["torch"])))
    learn.dls.train.rng.setstate(_python_state(state["order"]))
    if "cuda" in state and learn.dls.device.type == "cuda":
        torch.cuda.set_rng_state(torch.from_numpy(np.array(state["cuda"])), learn.dls.device)


def _origin(context: Context) -> State:
    """What a state belongs to: only there it can be continued."""
    versions = {"hpo-job": __version__, **{package: version(package) for package in LIBRARIES}}
    return {"params": dict(context.params), "seed": context.seed, "versions": versions}


def _misfit(state: State, context: Context) -> str | None:
    origin = _origin(context)
    if "phase" not in state:
        return "it is of another objective"
    if state["params"] != origin["params"]:
        return "it has other parameters"
    if state["seed"] != origin["seed"]:
        return "it has another seed"
    for package, here in origin["versions"].items():
        if state["versions"].get(package) != here:
            return f"{package} {state['versions'].get(package)} saved it, and here is {here}"
    return None


def _laid_out_as(parameter: torch.Tensor, value: Any) -> Any:
    """A tensor of the parameter's shape, in its order of memory: kernels go through both at once.

    An array has lost that order, which is another one with channels last.
    """
    if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value


def _recorded(learn: Learner) -> State:
    """What fastai's recorder and schedule have noted of the fit so far."""
    recorder = learn.recorder
    losses = [loss.detach().float().cpu() for loss in recorder.losses]
    return {
        "values": _plain(recorder.values),
        "iters": list(recorder.iters),
        "rates": np.array(recorder.lrs, dtype=np.float64),
        "losses": torch.stack(losses).numpy() if losses else np.zeros(0, dtype=np.float32),
        "schedules": [
            {name: np.array(values, dtype=np.float64) for name, values in schedule.hps.items()}
            for schedule in _schedules(learn)
        ],
    }


def _restore_recorded(learn: Learner, kept: State) -> None:
    recorder = learn.recorder
    recorder.values = [L(values) for values in kept["values"]]
    recorder.iters, recorder.lrs = list(kept["iters"]), kept["rates"].tolist()
    recorder.losses = list(torch.from_numpy(kept["losses"].copy()))
    for schedule, values in zip(_schedules(learn), kept["schedules"], strict=True):
        schedule.hps = {name: each.tolist() for name, each in values.items()}


def _schedules(learn: Learner) -> list[ParamScheduler]:
    return [callback for callback in learn.cbs if isinstance(callback, ParamScheduler)]


def _recurrent(model: nn.Module) -> list[Any]:
    """The parts of a model that remember the batches before, outside of their weights."""
    return [module for module in model.modules() if isinstance(module, AWD_LSTM)]


def _plain(value: Any) -> Any:
    """A tree of tensors as a tree of arrays; they are copied, since training goes on meanwhile."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        for name, (kind, stand_in) in UNKNOWN_TO_NUMPY.items():
            if tensor.dtype == kind:
                return {name: tensor.view(stand_in).numpy().copy()}
        return tensor.numpy().copy()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | L):
        return [_plain(each) for each in value]
    return value


def _tensors(value: Any, device: torch.device | None = None) -> Any:
    """The tree that `_plain` was called with, on ``device``; tuples have become lists."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy()).to(device)
    if isinstance(value, dict):
        for name, (kind, _) in UNKNOWN_TO_NUMPY.items():
            if value.keys() == {name}:
                return torch.from_numpy(value[name].copy()).view(kind).to(device)
        return {key: _tensors(each, device) for key, each in value.items()}
    if isinstance(value, list):
        return [_tensors(each, device) for each in value]
    return value


def _python_state(state: list[Any]) -> tuple[Any, ...]:
    version, numbers, gauss = state
    return version, tuple(int(number) for number in numbers), gauss
