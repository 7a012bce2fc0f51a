"""The rows of whole studies: their names, directions and attributes."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql import statements as sql
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.optuna_private import FrozenStudy


class StudyTable:
    """Reads and writes studies through a worker's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Neither changes in the life of a study.
        self._names: dict[int, str] = {}
        self._directions: dict[int, list[StudyDirection]] = {}
        self._attrs: dict[int, tuple[int, list[Sequence[Any]]]] = {}  # as of a sum of them

    def create(self, name: str, directions: Sequence[StudyDirection]) -> int:
        """Create a study.

        Raises:
            DuplicatedStudyError: there is one of that name.
        """
        sent: int | None = None

        def create(cursor: Cursor, _: int) -> int:
            nonlocal sent
            if sent is not None:
                cursor.execute(sql.STUDY_ID, (name,))
                row = cursor.fetchone()
                if row is not None and row[0] == sent:
                    return sent  # the answer to COMMIT was lost
            cursor.execute(sql.NEW_STUDY, (name,))
            study_id = int(cursor.lastrowid)
            for objective, direction in enumerate(directions):
                cursor.execute(sql.NEW_DIRECTION, (direction.name, study_id, objective))
            sent = study_id
            return study_id

        try:
            study_id = self._connection.run(create, transaction=True)
        except self._connection.server.driver.IntegrityError as error:
            if faults.code_of(error) != faults.DUPLICATE:
                raise faults.storage_error(error, self._connection.server.shown) from error
            raise DuplicatedStudyError(f"there is a study named {name} already") from error
        self._names[study_id] = name
        self._directions[study_id] = list(directions)
        return study_id

    def delete(self, study_id: int) -> None:
        """Delete a study and its trials; KeyError where there is none."""

        def delete(cursor: Cursor, attempt: int) -> None:
            cursor.execute(sql.STUDY_NAME + " FOR UPDATE", (study_id,))
            if cursor.fetchone() is None:
                if attempt:
                    return
                raise _no_study(study_id)
            for statement in sql.DELETE_STUDY:
                cursor.execute(statement, (study_id,))

        self._connection.run(delete, transaction=True)
        self._names.pop(study_id, None)
        self._directions.pop(study_id, None)

    def set_attr(self, table: str, study_id: int, key: str, value: Any) -> None:
        """Write an attribute; KeyError where there is no such study."""
        text = json.dumps(value)

        def write(cursor: Cursor, _: int) -> int:
            cursor.execute(sql.set_study_attr(table), (key, text, study_id))
            return int(cursor.rowcount)

        if not self._connection.run(write):
            raise _no_study(study_id)

    def attrs(self, table: str, study_id: int) -> dict[str, Any]:
        """The attributes of a study; KeyError where there is none."""
        found = self._rows(sql.study_attrs(table), (study_id,))
        if not found:
            raise _no_study(study_id)
        return {key: json.loads(text) for key, text in found if key is not None}

    def user_attrs(self, study_id: int, total: int | None) -> dict[str, Any]:
        """The user attributes of a study, read only where their sum is not what it was.

        total: the sum as of now, see `Reader.sum_of`; None where it is not known.
        """
        kept = self._attrs.get(study_id)
        if total is None or kept is None or kept[0] != total:
            found = self._rows(sql.study_attrs("study_user_attributes"), (study_id,))
            if not found:
                raise _no_study(study_id)
            if total is not None:
                self._attrs[study_id] = total, found
        else:
            found = kept[1]
        return {key: json.loads(text) for key, text in found if key is not None}

    def id_of(self, name: str) -> int:
        """The id of the study of that name; KeyError where there is none."""
        found = self._rows(sql.STUDY_ID, (name,))
        if not found:
            raise KeyError(f"there is no study named {name}")
        return int(found[0][0])

    def name_of(self, study_id: int) -> str:
        """The name of a study; KeyError where there is none."""
        if study_id not in self._names:
            found = self._rows(sql.STUDY_NAME, (study_id,))
            if not found:
                raise _no_study(study_id)
            self._names[study_id] = found[0][0]
        return self._names[study_id]

    def directions(self, study_id: int) -> list[StudyDirection]:
        """The directions of a study; KeyError where there is none."""
        if study_id not in self._directions:
            found = self._rows(sql.DIRECTIONS, (study_id,))
            if not found:
                raise _no_study(study_id)
            self._directions[study_id] = [StudyDirection[row[0]] for row in found]
        return self._directions[study_id]

    def all(self) -> list[FrozenStudy]:
        """All studies, by id."""
        studies = self._rows(sql.ALL_STUDIES)
        directions = defaultdict(list)
        for study_id, direction in self._rows(sql.ALL_DIRECTIONS):
            directions[study_id].append(StudyDirection[direction])
        user = self._all_attrs("study_user_attributes")
        system = self._all_attrs("study_system_attributes")
        return [
            FrozenStudy(
                study_name=name,
                direction=None,
                directions=directions[study_id],
                user_attrs=user[study_id],
                system_attrs=system[study_id],
                study_id=study_id,
            )
            for study_id, name in studies
        ]

    def _all_attrs(self, table: str) -> dict[int, dict[str, Any]]:
        attrs: dict[int, dict[str, Any]] = defaultdict(dict)
        for study_id, key, text in self._rows(sql.all_attrs(table)):
            attrs[study_id][key] = json.loads(text)
        return attrs

    def _rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Sequence[Any]]:
        def read(cursor: Cursor, _: int) -> list[Sequence[Any]]:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

        return self._connection.run(read)


def _no_study(study_id: int) -> KeyError:
    return KeyError(f"there is no study with the id {study_id}")
