"""Reads and writes the names, directions and attributes of studies."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

from hpo_job.storage.mysql import faults, statements
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.freshness import fresh_until
from hpo_job.storage.optuna_private import FrozenStudy

USER_ATTRS = "study_user_attributes"


class StudyTable:
    """Reads and writes studies through a worker's connection."""

    def __init__(self, connection: Connection, fresh_for: float = 0.0) -> None:
        self._connection = connection
        self._fresh_for = fresh_for  # seconds for which attributes are not read again
        # By study id; neither changes in the life of a study.
        self._names: dict[int, str] = {}
        self._directions: dict[int, list[StudyDirection]] = {}
        # By study id, the user attributes and their checksum when they were read.
        self._attrs: dict[int, tuple[int, list[Sequence[Any]]]] = {}
        # By table and study id, attributes, and until when they count as up to date.
        self._recent: dict[tuple[str, int], tuple[float, list[Sequence[Any]]]] = {}

    def create(self, name: str, directions: Sequence[StudyDirection]) -> int:
        """Create a study, and return its id.

        Raises:
            DuplicatedStudyError: there is one of that name.
        """
        sent: int | None = None

        def create(cursor: Cursor, _: int) -> int:
            nonlocal sent
            if sent is not None:
                cursor.execute(statements.STUDY_ID, (name,))
                row = cursor.fetchone()
                if row is not None and row[0] == sent:
                    return sent  # the answer to COMMIT was lost
            cursor.execute(statements.NEW_STUDY, (name,))
            study_id = int(cursor.lastrowid)
            for objective, direction in enumerate(directions):
                cursor.execute(statements.NEW_DIRECTION, (direction.name, study_id, objective))
            sent = study_id
            return study_id

        try:
            study_id = self._connection.run(create, transaction=True)
        except self._connection.server.driver.IntegrityError as error:
            if faults.code_of(error) != faults.DUPLICATE:
                raise faults.storage_error(error, self._connection.server.label) from error
            raise DuplicatedStudyError(f"there is a study named {name} already") from error
        self._names[study_id] = name
        self._directions[study_id] = list(directions)
        return study_id

    def delete(self, study_id: int) -> None:
        """Delete a study and its trials.

        Raises:
            GoneError: there is no such study.
        """

        def delete(cursor: Cursor, attempt: int) -> None:
            cursor.execute(statements.STUDY_NAME + " FOR UPDATE", (study_id,))
            if cursor.fetchone() is None:
                if attempt:
                    return
                raise faults.gone(self._connection.server.label)
            for statement in statements.DELETE_STUDY:
                cursor.execute(statement, (study_id,))

        self._connection.run(delete, transaction=True)
        self._names.pop(study_id, None)
        self._directions.pop(study_id, None)

    def rename(self, study_id: int, name: str) -> None:
        """Give a study another name.

        Raises:
            DuplicatedStudyError: there is one of that name.
        """

        def rename(cursor: Cursor, _: int) -> None:
            cursor.execute(statements.RENAME_STUDY, (name, study_id))

        try:
            self._connection.run(rename, transaction=True)
        except self._connection.server.driver.IntegrityError as error:
            if faults.code_of(error) != faults.DUPLICATE:
                raise faults.storage_error(error, self._connection.server.label) from error
            raise DuplicatedStudyError(f"there is a study named {name} already") from error
        self._names.pop(study_id, None)

    def set_attr(self, table: str, study_id: int, key: str, value: Any) -> None:
        """Write an attribute.

        Raises:
            GoneError: there is no such study.
        """
        text = json.dumps(value)
        self._recent.pop((table, study_id), None)
        self._attrs.pop(study_id, None)

        def write(cursor: Cursor, _: int) -> int:
            cursor.execute(statements.set_study_attr(table), (key, text, study_id))
            return int(cursor.rowcount)

        if not self._connection.run(write):
            raise faults.gone(self._connection.server.label)

    def attrs(self, table: str, study_id: int) -> dict[str, Any]:
        """The attributes of a study.

        Raises:
            GoneError: there is no such study.
        """
        rows = self._attr_rows(table, study_id)
        return {key: json.loads(text) for key, text in rows if key is not None}

    def _attr_rows(self, table: str, study_id: int) -> list[Sequence[Any]]:
        until, rows = self._recent.get((table, study_id), (0.0, []))
        if time.monotonic() < until:
            return rows
        begin = time.monotonic()
        rows = self._rows(statements.study_attrs(table), (study_id,))
        if not rows:
            raise faults.gone(self._connection.server.label)
        self._recent[table, study_id] = fresh_until(begin, self._fresh_for), rows
        return rows

    def user_attrs(self, study_id: int, checksum: int | None) -> dict[str, Any]:
        """The user attributes of a study, read only if their checksum has changed.

        Args:
            study_id: the study.
            checksum: as of now, see `Reader.attrs_checksum`; None if it is not known.

        Raises:
            GoneError: there is no such study.
        """
        known = self._attrs.get(study_id)
        if checksum is not None and known is not None and known[0] == checksum:
            rows = known[1]
        else:
            rows = self._attr_rows(USER_ATTRS, study_id)
            if checksum is not None:
                self._attrs[study_id] = checksum, rows
        return {key: json.loads(text) for key, text in rows if key is not None}

    def id_of(self, name: str) -> int:
        """The id of the study of that name.

        Raises:
            KeyError: there is no such study.
        """
        if self._fresh_for:
            return self._read(name)
        rows = self._rows(statements.STUDY_ID, (name,))
        if not rows:
            raise KeyError(f"there is no study named {name}")
        return int(rows[0][0])

    def _read(self, name: str) -> int:
        """Read at once what a reader asks next: over a slow network each question takes long."""
        begin = time.monotonic()
        rows = self._rows(statements.STUDY, (name, name))
        if not rows:
            raise KeyError(f"there is no study named {name}")
        study_id = int(rows[0][0])
        directions = [row[2] for row in rows if row[1] is not None]
        self._directions[study_id] = [StudyDirection[direction] for direction in directions]
        attrs = [row[3:] for row in rows if row[1] is None]
        self._recent[USER_ATTRS, study_id] = fresh_until(begin, self._fresh_for), attrs
        return study_id

    def name_of(self, study_id: int) -> str:
        """The name of a study.

        Raises:
            GoneError: there is no such study.
        """
        if study_id not in self._names:
            rows = self._rows(statements.STUDY_NAME, (study_id,))
            if not rows:
                raise faults.gone(self._connection.server.label)
            self._names[study_id] = rows[0][0]
        return self._names[study_id]

    def directions(self, study_id: int) -> list[StudyDirection]:
        """The directions of a study.

        Raises:
            GoneError: there is no such study.
        """
        if study_id not in self._directions:
            rows = self._rows(statements.DIRECTIONS, (study_id,))
            if not rows:
                raise faults.gone(self._connection.server.label)
            self._directions[study_id] = [StudyDirection[row[0]] for row in rows]
        return self._directions[study_id]

    def all(self) -> list[FrozenStudy]:
        """All studies, by id."""
        studies = self._rows(statements.ALL_STUDIES)
        directions = defaultdict(list)
        for study_id, direction in self._rows(statements.ALL_DIRECTIONS):
            directions[study_id].append(StudyDirection[direction])
        user = self._all_attrs(USER_ATTRS)
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
        for study_id, key, text in self._rows(statements.all_attrs(table)):
            attrs[study_id][key] = json.loads(text)
        return attrs

    def _rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Sequence[Any]]:
        def read(cursor: Cursor, _: int) -> list[Sequence[Any]]:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

        return self._connection.run(read)
