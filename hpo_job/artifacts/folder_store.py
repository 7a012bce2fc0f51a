"""An artifact store in a folder, as Optuna's own is, without what that imports.

`optuna.artifacts` imports the clients of all clouds that are installed, which takes a worker a
fifth of a second and 20 MB.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO


class FolderStore:
    """A file for each artifact, named by its id; as `optuna.artifacts` has it.

    Args:
        folder: that exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The artifact's content.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._file(artifact_id).open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        with self._file(artifact_id).open("wb") as file:
            shutil.copyfileobj(content_body, file)

    def remove(self, artifact_id: str) -> None:
        """Remove the artifact.

        Raises:
            FileNotFoundError: it is not there.
        """
        self._file(artifact_id).unlink()

    def _file(self, artifact_id: str) -> Path:
        if Path(artifact_id).name != artifact_id or artifact_id in ("", ".."):
            raise ValueError(f"not the id of an artifact: {artifact_id!r}")
        return self._folder / artifact_id
