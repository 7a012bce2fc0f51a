"""The model that a function of the user's own has saved: copied at once, kept where it is good."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path

from hpo_job.errors import DataError, problem
from hpo_job.objectives.learner_file import LEARNER

FUNCTION = "function"  # the objective in the record of a model that hpo-job cannot load itself


class SavedFiles:
    """A copy of a file or folder, which can be written elsewhere; removed with this object.

    Args:
        path: of what the function has written.

    Raises:
        DataError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hpo-job-model-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            if path.is_dir():
                shutil.copytree(path, self._folder / path.name)
            else:
                shutil.copy2(path, self._folder / path.name)
        except OSError as error:
            raise DataError(f"context.save_model: {path}: {problem(error)}") from error

    def __call__(self, folder: Path) -> None:
        """Write the copy, and a record of what it is, into ``folder``."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)
        record = {"objective": FUNCTION, "files": sorted(f.name for f in self._folder.iterdir())}
        (folder / LEARNER).write_text(json.dumps(record, indent=2), encoding="utf-8")
