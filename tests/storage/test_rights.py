"""`check --storage` tries what a worker needs, with accounts that lack some of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.storage.database import Storage, try_rights
from hpo_job.storage.rights import CREATE, LOCK, READ, WRITE
from tests import ROOT
from tests.quick import Quick, write_job
from tests.storage.mysql.server import PrivateServer, new_database
from tests.storage.postgres import PostgresServer
from tests.storage.sql import sql
from tests.storage.test_read_only import read_only, without_rights

Cli = Callable[..., Result]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def page_sql(database: str) -> list[str]:
    """The statements for accounts of docs/operations.md."""
    block = PAGE.partition(f"For {database}")[2].partition("```sql\n")[2].partition("```")[0]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def mysql_account(root_url: str, url: str, privileges: str) -> str:
    """A new account with these privileges on the database; its URL."""
    name = f"u{os.urandom(4).hex()}"
    for host in ("%", "localhost"):
        sql(root_url, f"CREATE USER '{name}'@'{host}' IDENTIFIED BY 's3cret'")
        if privileges:
            database = make_url(url).database
            sql(root_url, f"GRANT {privileges} ON `{database}`.* TO '{name}'@'{host}'")
    return make_url(url).set(username=name, password="s3cret").render_as_string(False)


def granted(root_url: str, statements: tuple[str, ...]) -> None:
    sql(root_url, *(statement.rstrip(";") for statement in statements))


ALL = "SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, REFERENCES"


@pytest.mark.parametrize("with_tables", [False, True])
@pytest.mark.parametrize(
    ("privileges", "lacking", "wanted"),
    [
        (ALL, set(), None),
        ("SELECT", {WRITE, CREATE}, "INSERT, UPDATE, DELETE, CREATE, INDEX, REFERENCES"),
        ("SELECT, INSERT, UPDATE, DELETE", {CREATE}, "CREATE, INDEX, REFERENCES"),
        ("SELECT, INSERT, UPDATE", {WRITE, CREATE}, "DELETE, CREATE, INDEX, REFERENCES"),
        ("INSERT, UPDATE, DELETE, CREATE, REFERENCES", {READ, CREATE}, "SELECT, INDEX"),
        ("", {READ, WRITE, CREATE}, ALL),
    ],
)
def test_what_an_account_of_mysql_lacks_and_the_statement_that_gives_it(
    root_url: str, *, with_tables: bool, privileges: str, lacking: set[str], wanted: str | None
) -> None:
    url = new_database(root_url)
    if with_tables:
        Storage(url, create=True).close()
    before = dump(url)
    limited = mysql_account(root_url, url, privileges)
    rights = try_rights(limited)
    if wanted is None:
        assert (dict(rights.lacking), rights.remedy) == ({}, ())
        return
    (statement,) = rights.remedy
    named = [name for name in wanted.split(", ") if name in statement]
    # MariaDB does not ask for REFERENCES, MySQL does
    assert named == [name for name in wanted.split(", ") if name != "REFERENCES" or name in named]
    assert set(rights.lacking) == lacking
    assert rights.has_tables == (with_tables and privileges != "")
    assert "s3cret" not in rights.problem()
    granted(root_url, rights.remedy)
    assert try_rights(limited).lacking == {}
    assert dump(url) == before


def dump(url: str) -> list[Any]:
    """The tables of a database, with the next number of each."""
    columns = "table_name, table_rows, auto_increment"
    return sql(
        url, f"SELECT {columns} FROM information_schema.tables WHERE table_schema = DATABASE()"
    )


def test_a_grant_has_the_database_as_earlier_ones_have_it(root_url: str) -> None:
    """`_` is a wildcard in a grant, and of two grants that fit, the server reads one."""
    url = new_database(root_url)
    database = str(make_url(url).database)
    (again,) = try_rights(mysql_account(root_url, url, "SELECT")).remedy
    assert f"ON `{database}`.*" in again
    (first,) = try_rights(mysql_account(root_url, url, "")).remedy
    assert f"ON `{database}`.*".replace("_", r"\_") in first


def test_a_server_that_is_read_only_needs_no_grant(own_server: PrivateServer) -> None:
    url = new_database(own_server.root_url)
    Storage(url, create=True).close()
    limited = mysql_account(own_server.root_url, url, ALL)
    sql(own_server.root_url, "SET GLOBAL read_only = 1")
    rights = try_rights(limited)
    assert set(rights.missing) == {WRITE}
    assert rights.remedy == ("name a server in the URL that is not read-only",)


def test_what_an_account_of_mysql_may_create_is_enough_for_a_worker(root_url: str) -> None:
    url = new_database(root_url)
    limited = mysql_account(root_url, url, ALL)
    Storage(limited, create=True).close()
    assert try_rights(limited).has_tables


# -- PostgreSQL ------------------------------------------------------------------------------


def postgres_account(server: PostgresServer, url: str, *grants: str) -> str:
    """A new account with these rights in the database; its URL."""
    name = f"u{os.urandom(4).hex()}"
    sql(
        url,
        f"CREATE ROLE {name} LOGIN PASSWORD 's3cret'",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        *(f"GRANT {grant} TO {name}" for grant in grants),
    )
    return make_url(url).set(username=name, password="s3cret").render_as_string(False)


TABLES = "ON ALL TABLES IN SCHEMA public"
SEQUENCES = "USAGE ON ALL SEQUENCES IN SCHEMA public"


@pytest.mark.parametrize(
    ("grants", "lacking"),
    [
        ((), {READ, WRITE, CREATE}),
        ((f"SELECT {TABLES}",), {WRITE, CREATE}),
        ((f"SELECT, INSERT, UPDATE, DELETE {TABLES}",), {WRITE, CREATE}),
        ((f"SELECT, INSERT, UPDATE, DELETE {TABLES}", SEQUENCES), {CREATE}),
        (
            (f"SELECT, INSERT, UPDATE, DELETE {TABLES}", SEQUENCES, "CREATE ON SCHEMA public"),
            set(),
        ),
    ],
)
def test_what_an_account_of_postgresql_lacks_and_the_statements_that_give_it(
    postgres: PostgresServer, postgres_template: str, grants: tuple[str, ...], lacking: set[str]
) -> None:
    url = postgres.new_database(postgres_template)
    limited = postgres_account(postgres, url, *grants)
    rights = try_rights(limited)
    assert set(rights.lacking) == lacking
    assert rights.has_tables
    granted(url, rights.remedy)
    again = try_rights(limited)
    assert (dict(again.lacking), again.remedy) == ({}, ())
    assert sql(url, "SELECT to_regclass('hpo_job_check')") == [(None,)]


def test_an_empty_database_of_postgresql_needs_the_right_to_create(
    postgres: PostgresServer, postgres_url: str
) -> None:
    limited = postgres_account(postgres, postgres_url)
    rights = try_rights(limited)
    assert set(rights.missing) == {CREATE} and not rights.has_tables
    granted(postgres_url, rights.remedy)
    Storage(limited, create=True).close()
    assert try_rights(limited).lacking == {}


@pytest.mark.parametrize("revoked", ["ALL ON SCHEMA public", "CONNECT ON DATABASE {database}"])
def test_an_account_of_postgresql_that_is_kept_out(
    postgres: PostgresServer, postgres_template: str, revoked: str
) -> None:
    url = postgres.new_database(postgres_template)
    sql(url, f"REVOKE {revoked.format(database=make_url(url).database)} FROM PUBLIC")
    limited = postgres_account(postgres, url)
    rights = try_rights(limited)
    assert set(rights.missing) == {READ, WRITE, CREATE}
    granted(url, rights.remedy)
    assert try_rights(limited).lacking == {}


def test_a_server_of_postgresql_that_is_read_only(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    Storage(url, create=True).close()
    sql(url, f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
    rights = try_rights(url)
    assert set(rights.lacking) == {WRITE, CREATE}
    assert rights.remedy == ("name a server in the URL that is not read-only",)


# -- SQLite ----------------------------------------------------------------------------------

TRY = """
import sys
from hpo_job.storage.database import try_rights
rights = try_rights(sys.argv[1])
print(",".join(rights.lacking), rights.how(), sep="|")
"""


def tried(url: str) -> tuple[set[str], str]:
    """What an ordinary account lacks, and what it is to do."""
    done = subprocess.run(
        [*without_rights(), sys.executable, "-c", TRY, url], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lacking, _, remedy = done.stdout.strip().partition("|")
    return {name for name in lacking.split(",") if name}, remedy


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is made writable again at the end."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


@pytest.mark.needs("setpriv")
@pytest.mark.processes
@pytest.mark.parametrize("name", ["studies.db", "deeper/studies.db"])
def test_a_sqlite_file_in_a_folder_that_is_read_only(folder: Path, name: str) -> None:
    read_only(folder)
    lacking, remedy = tried(f"sqlite:///{folder}/{name}")
    assert lacking == {WRITE, CREATE, LOCK}
    assert remedy.startswith(f"let it write to the folder {folder}, and to studies.db")
    folder.chmod(0o755)
    assert tried(f"sqlite:///{folder}/{name}") == (set(), "")
    assert list(folder.iterdir()) == []


@pytest.mark.needs("setpriv")
@pytest.mark.processes
def test_a_sqlite_file_that_is_read_only_itself(folder: Path) -> None:
    url = f"sqlite:///{folder}/studies.db"
    Storage(url, create=True).close()
    (folder / "studies.db").chmod(0o444)
    assert tried(url)[0] == {WRITE, CREATE, LOCK}
    (folder / "studies.db").chmod(0o644)
    assert tried(url) == (set(), "")


def test_a_sqlite_file_that_a_worker_uses_is_tried_and_left_as_it_is(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    quick.start()
    before = {file.name for file in tmp_path.iterdir()}
    assert try_rights(quick.url).lacking == {}
    assert {file.name for file in tmp_path.iterdir()} == before
    quick.storage.close()


# -- the command -----------------------------------------------------------------------------


def test_check_prints_what_is_missing_and_the_statement_and_ends_with_2(
    cli: Cli, root_url: str, tmp_path: Path
) -> None:
    job, url = write_job(tmp_path), new_database(root_url)
    limited = mysql_account(root_url, url, "SELECT")
    refused = cli("check", job, "--storage", limited)
    assert refused.exit_code == 2
    assert "rights        read, lock\n" in refused.stdout
    assert "may not write or create tables" in refused.stdout
    statement = re.search(r"^ {14}(GRANT INSERT, .*;)$", refused.stdout, re.MULTILINE)
    assert statement
    (line,) = refused.stderr.splitlines()
    assert line.startswith("hpo-job: storage mysql") and "s3cret" not in line
    assert line.endswith(statement[1])
    facts = json.loads(cli("check", job, "--storage", limited, "--format", "json").stdout)
    assert facts["rights"] == {"read": True, "write": False, "create tables": False, "lock": True}
    assert facts["rights_remedy"] == [statement[1]]
    granted(root_url, (statement[1],))
    allowed = cli("check", job, "--storage", limited)
    assert allowed.exit_code == 0, allowed.output
    assert "rights        read, write, create tables, lock\n" in allowed.stdout


def test_check_of_an_account_that_may_not_create_where_nobody_has_to(
    cli: Cli, root_url: str, tmp_path: Path
) -> None:
    job, url = write_job(tmp_path), new_database(root_url)
    Storage(url, create=True).close()
    limited = mysql_account(root_url, url, "SELECT, INSERT, UPDATE, DELETE")
    done = cli("check", job, "--storage", limited)
    assert done.exit_code == 0
    assert "may not create tables: only the first worker" in done.stdout
    assert "GRANT CREATE, " in done.stdout


def test_check_without_storage_tries_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", write_job(tmp_path))
    assert done.exit_code == 0
    assert "rights" not in done.stdout
    assert not (tmp_path / ".hpo").exists()


# -- docs/operations.md ----------------------------------------------------------------------


def test_the_accounts_of_the_page_on_mysql(own_server: PrivateServer) -> None:
    sql(own_server.root_url, *page_sql("MySQL and MariaDB"))
    for host in ("127.0.0.1",):
        worker = make_url(own_server.root_url).set(
            username="worker", password="PASSWORD", database="hpo", host=host
        )
        url = worker.render_as_string(hide_password=False)
        assert try_rights(url).lacking == {}
        Storage(url, create=True).close()
        reader = worker.set(username="reader").render_as_string(hide_password=False)
        assert set(try_rights(reader).lacking) == {WRITE, CREATE}
        Storage(reader, read_only=True).close()


def test_the_accounts_of_the_page_on_postgresql(own_postgres: PostgresServer) -> None:
    statements = page_sql("PostgreSQL")
    sql(own_postgres.root_url, *statements[:-4])
    root = make_url(own_postgres.root_url).set(database="hpo").render_as_string(False)
    sql(root, *statements[-4:])
    worker = make_url(root).set(username="worker", password="PASSWORD")
    url = worker.render_as_string(hide_password=False)
    assert try_rights(url).lacking == {}
    Storage(url, create=True).close()
    assert try_rights(url).lacking == {}
    reader = worker.set(username="reader").render_as_string(hide_password=False)
    assert set(try_rights(reader).lacking) == {WRITE, CREATE}
    Storage(reader, read_only=True).close()
