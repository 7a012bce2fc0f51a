"""Python files of the user's own in a job folder: imported once per process."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from hpo_job.spec.study_toml import StudySpec


def named(spec: StudySpec, key: str, text: str) -> Any:
    """What ``file.py:name`` means.

    Args:
        spec: the study; the file is relative to its job folder.
        key: of study.toml, for errors.
        text: what it says there.

    Raises:
        SpecError: there is no such file or name, or the file cannot be imported.
    """
    file, _, name = text.partition(":")
    module = imported(spec, key, file)
    attribute = getattr(module, name, None)
    if attribute is None:
        raise spec.error(key, f"{file} has nothing called {name}")
    return attribute


def imported(spec: StudySpec, key: str, name: str) -> ModuleType:
    """A file of the user's as a module; its folder is put on ``sys.path``.

    Raises:
        SpecError: there is no such file, or it cannot be imported.
    """
    file = (spec.folder / name).resolve()
    # Under its plain name, so that processes started by the function can import it too.
    for module_name in (file.stem, f"{file.stem}_{file}"):
        loaded = sys.modules.get(module_name)
        if loaded is None:
            break
        if getattr(loaded, "__file__", None) == str(file):
            return loaded
    if not file.is_file():
        raise spec.error(key, f"{file}: no such file")
    location = importlib.util.spec_from_file_location(module_name, file)
    if location is None or location.loader is None:
        raise spec.error(key, f"{file}: not a Python file")
    module = importlib.util.module_from_spec(location)
    sys.modules[module_name] = module
    sys.path.insert(0, str(file.parent))
    try:
        location.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        del sys.modules[module_name]
        text = " ".join(str(error).split())
        raise spec.error(
            key, f"{file} cannot be imported: {type(error).__name__}: {text}"
        ) from error
    return module
