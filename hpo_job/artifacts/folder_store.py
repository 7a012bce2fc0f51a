"""An artifact store in a folder, as Optuna's own is, without what that imports.

`optuna.artifacts` imports the clients of all clouds that are installed, which takes a worker a
fifth of a second and 20 MB.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

PART = ".part"  # ends the name of a file that is being written
OLD = 24 * 3600.0  # seconds without a change after which nobody writes it any more


class FolderStore:
    """A file for each artifact, named by its id; as `optuna.artifacts` has it.

    An artifact that is written again has its old content until the new one is complete.

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
        part = self._part(artifact_id)
        try:
            with part.open("wb") as file:
                shutil.copyfileobj(content_body, file)
            part.replace(self._file(artifact_id))
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def remove(self, artifact_id: str) -> None:
        """Remove the artifact, and what a killed process left of writing it.

        Raises:
            FileNotFoundError: it is not there.
        """
        self.remove_part(artifact_id)
        self._file(artifact_id).unlink()

    def remove_part(self, artifact_id: str) -> None:
        """Remove what a killed process left of writing the artifact, if anything."""
        self._part(artifact_id).unlink(missing_ok=True)

    def old_parts(self) -> Iterator[tuple[str, int]]:
        """The files that nobody writes any more, with their sizes in bytes.

        A killed process has left them, whichever study it worked on.
        """
        for file in sorted(self._folder.glob(f"*{PART}")):
            with suppress(FileNotFoundError):  # another process removes it
                status = file.stat()
                if _is_id(file.name.removesuffix(PART)) and time.time() - status.st_mtime > OLD:
                    yield file.name, status.st_size

    def _file(self, artifact_id: str) -> Path:
        if Path(artifact_id).name != artifact_id or artifact_id in ("", ".."):
            raise ValueError(f"not the id of an artifact: {artifact_id!r}")
        return self._folder / artifact_id

    def _part(self, artifact_id: str) -> Path:
        """What is written first, and then renamed."""
        file = self._file(artifact_id)
        return file.with_name(file.name + PART)


def _is_id(name: str) -> bool:
    """Whether it is named as Optuna and hpo-job name artifacts; other files are the user's."""
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
