"""A job with a function of the user's own: a program that runs, to be changed step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hpo_job.cli.proposal.document import Table, document
from hpo_job.cli.proposal.look import SEED, Look
from hpo_job.cli.proposal.study import Limits
from hpo_job.data import columns
from hpo_job.data.folder import level_of_parts
from hpo_job.data.images import LabelledFiles
from hpo_job.data.label_sets import DELIMITERS, YES
from hpo_job.data.tables import LabelledRows

OBJECTIVE = "objective.py"
_TRAIN = '''

def train(trial, context):
    """Train one model with context.params; returns what study.toml calls the metric."""
    data = load(context)
    split = train_test_split(*data, test_size=0.3, random_state=context.seed)
    train_items, valid_items, train_targets, valid_targets = split
    scale = StandardScaler(with_mean=False).fit(train_items)
    model = {before}{model}(
        alpha=context.params["alpha"],
        learning_rate="constant",
        eta0=context.params["learning_rate"],
        random_state=context.seed,
    ){after}
    score = 0.0
    for _ in range(context.params["epochs"]):
        {fit}
        score = {score}
        context.report(score)  # counts the epochs, and ends a bad trial here
    with TemporaryDirectory() as folder:
        joblib.dump((scale, model), f"{{folder}}/model.joblib")
        context.save_model(f"{{folder}}/model.joblib")  # kept where the trial is among the best
    return score
'''
_CLASSES = {
    "before": "",
    "after": "",
    "model": "SGDClassifier",
    "fit": "model.partial_fit(scale.transform(train_items), train_targets, np.unique(data[1]))",
    "score": "float(model.score(scale.transform(valid_items), valid_targets))",
}
_LABELS = {
    "before": "MultiOutputClassifier(",
    "after": ")",
    "model": "SGDClassifier",
    "fit": "model.partial_fit(\n            scale.transform(train_items), train_targets, "
    "[[0, 1]] * train_targets.shape[1]\n        )",
    "score": "float(\n            f1_score(\n                valid_targets,\n                "
    'model.predict(scale.transform(valid_items)),\n                average="macro",\n'
    "                zero_division=0.0,\n            )\n        )",
}
_NUMBERS = {
    "before": "",
    "after": "",
    "model": "SGDRegressor",
    "fit": "model.partial_fit(scale.transform(train_items), train_targets)",
    "score": "float(np.abs(model.predict(scale.transform(valid_items)) - valid_targets).mean())",
}
_DIGITS = '''
def load(context):
    """Images of digits, a row of pixels each, and the digits: put your own data here."""
    return load_digits(return_X_y=True)
'''
_IMAGES = '''
def load(context):
    """A row of pixels for each image, and its class: the name of a folder that it is in."""
    files = [
        file
        for file in sorted(context.path.glob("{pattern}"))
        if file.suffix.lower() in Image.registered_extensions() and file.name[0] != "."
    ]
    images = [Image.open(file).convert("L").resize((32, 32)) for file in files]
    pixels = np.stack([np.asarray(image).ravel() / 255 for image in images])
    return pixels, np.array([file.relative_to(context.path).parts[{level}] for file in files])
'''
_IMAGE_ROWS = '''
def load(context):
    """A row of pixels for each image that the table names, and its class."""
    table = pd.{read}
    files = [context.path.parent / name for name in table[IMAGE]]
    images = [Image.open(file).convert("L").resize((32, 32)) for file in files]
    pixels = np.stack([np.asarray(image).ravel() / 255 for image in images])
    return pixels, table[LABEL].to_numpy()
'''
_LABEL_ROWS = '''
def load(context):
    """A row of pixels for each image that the table names, and 1 or 0 for each label."""
    table = pd.{read}
    files = [context.path.parent / name for name in table[IMAGE]]
    images = [Image.open(file).convert("L").resize((32, 32)) for file in files]
    pixels = np.stack([np.asarray(image).ravel() / 255 for image in images])
{labels}
    return pixels, labels.to_numpy()
'''
_IN_A_CELL = r"""    cells = table[LABEL].fillna("").str.strip()
    cells = cells.str.replace(r"\s*{pattern}\s*", "{mark}", regex=True)
    labels = cells.str.get_dummies("{mark}").drop(columns="", errors="ignore")"""
_IN_COLUMNS = """    cells = table[LABEL].astype(str)
    cells = cells.apply(lambda column: column.str.strip().str.casefold())
    labels = cells.isin({yes}).astype(int)"""
_ROWS = '''
def load(context):
    """A row of numbers for each row of the table, with a column for each category."""
    table = pd.{read}.dropna(subset=[LABEL])
{dates}    targets = table.pop(LABEL).to_numpy()
    return pd.get_dummies(table).fillna(0).to_numpy(float), targets
'''
_TEXTS = '''
def load(context):
    """The words of each text, counted, and its class."""
    table = pd.{read}
    return HashingVectorizer(n_features=2**16).transform(table[TEXT]), table[LABEL].to_numpy()
'''
_TEXT_FILES = '''
def load(context):
    """The words of each text, counted, and its class: the name of a folder that it is in."""
    files = [
        file
        for file in sorted(context.path.glob("{pattern}"))
        if file.suffix.lower() == ".txt" and file.name[0] != "."
    ]
    texts = [file.read_text(encoding="utf-8") for file in files]
    classes = np.array([file.relative_to(context.path).parts[{level}] for file in files])
    return HashingVectorizer(n_features=2**16).transform(texts), classes
'''
_SKLEARN = "from sklearn.{module} import {names}"


def program(look: Look | None) -> str:
    """The text of objective.py: reads the data, trains a linear model, reports every epoch."""
    imports, constants, load = ["import joblib", "import numpy as np"], "", _DIGITS
    modules = {"linear_model": "SGDClassifier", "model_selection": "train_test_split"}
    modules["preprocessing"] = "StandardScaler"
    regression = look is not None and not look.data.classes
    several = look is not None and look.objective == "image_multilabel"
    if several:
        modules |= {"metrics": "f1_score", "multioutput": "MultiOutputClassifier"}
    if regression:
        modules["linear_model"] = "SGDRegressor"
    if look is None:
        modules["datasets"] = "load_digits"
    elif isinstance(look.data, LabelledRows) and look.data.names:
        modules["feature_extraction.text"] = "HashingVectorizer"
        load = _of_folders(_TEXT_FILES, look.data.names)
    elif isinstance(look.data, LabelledFiles) and look.data.table is None:
        imports = [*imports, "from PIL import Image"]
        load = _of_folders(_IMAGES, look.data.files)
    else:
        imports.append("import pandas as pd")
        image, text = look.settings.get("image"), look.settings.get("text")
        names = {"LABEL": look.settings["label"], "TEXT": text, "IMAGE": image}
        constants = "\n" + "".join(
            f"{key} = {json.dumps(name, ensure_ascii=False)}\n"
            for key, name in names.items()
            if name is not None
        )
        if text:
            modules["feature_extraction.text"] = "HashingVectorizer"
        if image:
            imports.append("from PIL import Image")
        read = _read(look)
        load = _TEXTS if text else _IMAGE_ROWS if image else _ROWS
        load = load.format(read=read, dates=_dates(look))
        if several:
            load = _LABEL_ROWS.format(read=read, labels=_labels(look))
    imports += [_SKLEARN.format(module=key, names=modules[key]) for key in sorted(modules)]
    train = _TRAIN.format(**(_NUMBERS if regression else _LABELS if several else _CLASSES))
    head = (
        '"""What a trial does: change it as you like, as long as `train` returns a number."""\n\n'
        "from tempfile import TemporaryDirectory\n\n"
    )
    return head + "\n".join(imports) + "\n" + constants + "\n" + load + train


def _of_folders(load: str, names: Sequence[str]) -> str:
    """The program for these files, relative to their root: train, valid and test are no classes."""
    level = 1 if level_of_parts([PurePosixPath(name).parts for name in names]) == 0 else 0
    return load.format(pattern="*/" * (level + 1) + "**/*", level=level)


def _read(look: Look) -> str:
    """The call of pandas that reads the table as it is written: `;`, UTF-16, 1.234,5."""
    file = path_of(look)
    if not columns.is_table(file) or file.suffix == ".parquet":
        return "read_parquet(context.path)"
    written = columns.dialect(file)
    options = {}
    if written.separator != ",":
        options["sep"] = written.separator
    if written.encoding != "utf-8":
        options["encoding"] = written.encoding
    if isinstance(look.data, LabelledRows):
        marks = [each.format.marks for each in look.data.columns if each.format.kind == "number"]
        if any(each.decimal == "," for each in marks) or written.prefers_comma:
            options["decimal"], options["thousands"] = ",", "."
    keys = "".join(f", {key}={json.dumps(value)}" for key, value in options.items())
    if "thousands" in options and (dates := _dated(look)):  # else 02.03.2021 is a number
        types = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: str" for name in dates)
        keys += f", dtype={{{types}}}"
    return f"read_csv(context.path{keys})"


def _dates(look: Look) -> str:
    """The lines that turn dates into days, so that a model can learn from when something was."""
    lines = []
    for name, written in _dated(look).items():
        cell = f"table[{json.dumps(name, ensure_ascii=False)}]"
        lines.append(
            f'    dates = pd.to_datetime({cell}, format={json.dumps(written)}, errors="coerce")\n'
            f"    {cell} = (dates - pd.Timestamp(0)).dt.days  # since 1970\n"
        )
    return "".join(lines)


def _dated(look: Look) -> dict[str, str]:
    """How the dates are written in each column of dates of a table."""
    if not isinstance(look.data, LabelledRows):
        return {}
    kinds = {feature.name: feature.format for feature in look.data.columns}
    return {name: each.date for name, each in kinds.items() if each.kind == "date"}


def _labels(look: Look) -> str:
    """The lines that read several labels an image as the shipped objective reads them."""
    if isinstance(look.settings["label"], list):
        return _IN_COLUMNS.format(yes=json.dumps(YES))
    mark = look.settings.get("label_delim", DELIMITERS[0])
    return _IN_A_CELL.format(pattern=re.escape(mark), mark=mark)


def path_of(look: Look) -> Path:
    """The table, or the folder, that was looked at."""
    table = look.data.table if isinstance(look.data, LabelledFiles) else None
    return table or look.data.root


def propose(look: Look | None, name: str, path: str | None, limits: Limits) -> str:
    """The text of a study.toml for `program`."""
    regression = look is not None and not look.data.classes
    study = Table("")
    study.add("name", name, "of the study; lower-case letters, digits and dashes")
    study.add("objective", f"{OBJECTIVE}:train", "file:function; it trains one model")
    several = look is not None and look.objective == "image_multilabel"
    metric = "mae" if regression else "f1_macro" if several else "accuracy"
    study.add("metric", metric, "what its return value is called")
    study.add("direction", "minimize" if regression else "maximize", "which way is better")
    study.add("seed", SEED, "context.seed, and the sampler's")
    tables = [study]
    if path is not None:
        data = Table("[data]")
        data.add("path", path, "context.path: relative to this file")
        tables.append(data)
    sampler = Table("[sampler]")
    sampler.add("name", "TPESampler", "any of Optuna's; this one learns from trials")
    pruner = Table("[pruner]")
    pruner.add("name", "MedianPruner", "ends trials that are worse than half of those before")
    pruner.add("n_warmup_steps", 2, "none is ended in its first epochs")
    space = Table("[search_space]", "context.params: plain values are fixed, tables are searched.")
    rates = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
    space.add("learning_rate", rates, "of the optimiser")
    space.add("alpha", {**rates, "low": 1e-7}, "how much large weights cost")
    space.add("epochs", {"type": "int", "low": 3, "high": 20}, "passes over the training items")
    head = (
        f"Written by `hpo-job init`. {OBJECTIVE} next to it is the function; `hpo-job check` says "
        "what will run, `hpo-job run` runs it."
    )
    return document(head, [*tables, limits.table(), sampler, pruner, space])
