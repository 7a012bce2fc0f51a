"""URLs with every kind of password: read for certain or refused, and never shown."""

from __future__ import annotations

import os
import random
import string
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from hpo_job.errors import StorageError
from hpo_job.spec.urls import ambiguity, store_problem, without_password
from hpo_job.storage import database, urls
from hpo_job.storage.mysql import plain_text_warning, redacted_url
from hpo_job.storage.mysql.url import read_url

DRIVERS = ("mysql+pymysql", "mysql", "postgresql+psycopg", "postgresql", "mariadb+pymysql")
HARD = "@/:#?%[]&=+ !$'()*,;\\\"<>{}|^`~é"
ENDS = ("127.0.0.1:3306/hpo", "db.example/hpo", "/hpo", "[::1]:3306/hpo?charset=utf8mb4", "db")


def passwords(n: int) -> Iterator[str]:
    draw = random.Random(17)
    for _ in range(n):
        letters = draw.choices(string.ascii_letters + string.digits, k=draw.randint(6, 24))
        for _ in range(draw.randint(0, 4)):
            letters.insert(draw.randrange(len(letters) + 1), draw.choice(HARD))
        yield "".join(letters)


def parts(text: str) -> set[str]:
    return {text[i : i + 4] for i in range(len(text) - 3)}


def said(url: str, file: Path) -> str:
    """All that the functions which take a URL return or raise, as a user would see it."""
    lines = []

    def from_file() -> object:
        file.write_text(url)
        return "" if urls.storage_url(None, file) == url else "another URL"

    for function in (
        lambda: urls.redacted_url(urls.parse(url)),
        lambda: database.warning(url),
        lambda: database.is_new(url),
        lambda: redacted_url(url),
        lambda: plain_text_warning(url),
        lambda: repr(read_url(url)),
        lambda: store_problem(url),
        lambda: without_password(url) if ambiguity(url) is None else "",
        from_file,
    ):
        try:
            lines.append(str(function()))
        except StorageError as error:
            lines.append(str(error))
    assert not any("\n" in line for line in lines)
    return "\n".join(lines)


@pytest.mark.parametrize("start", ["us/er:", "us#er:", "us?er:", "/d#user:", "/d?user:", "/user:"])
def test_no_password_is_shown_whatever_is_before_it(tmp_path: Path, start: str) -> None:
    for driver in DRIVERS:
        url = f"{driver}://{start}SECRETWORD@127.0.0.1/hpo"
        assert "SECR" not in said(url, tmp_path / "url")
        assert ambiguity(url)


def test_no_password_is_shown_whatever_is_in_it(tmp_path: Path) -> None:
    """5,000 URLs, half of them with the password as it is, half with it encoded."""
    draw = random.Random(4)
    usual: dict[tuple[str, str], set[str]] = {}
    refused = 0
    for n, password in enumerate(passwords(5000)):
        driver, end = draw.choice(DRIVERS), draw.choice(ENDS)
        written = quote(password, safe="") if n % 2 else password
        url = f"{driver}://hpo:{written}@{end}"
        if (driver, end) not in usual:
            usual[driver, end] = parts(said(f"{driver}://hpo:x@{end}", tmp_path / "url"))
            ambiguous = f"{driver}://hpo:@%@@{end}"
            usual[driver, end] |= parts(said(ambiguous, tmp_path / "url"))
            usual[driver, end] |= parts(said(f"{driver}://hpo:a b@{end}", tmp_path / "url"))
        secret = (parts(password) | parts(written)) - usual[driver, end]
        assert not secret & parts(said(url, tmp_path / "url")), url
        if n % 2 == 0 and ambiguity(url):
            refused += 1
            continue
        parsed = urls.parse(url)  # an encoded one is always read
        assert parsed.password == unquote(written)
        assert (parsed.username, parsed.host or "") == (
            "hpo",
            end.split("/")[0].partition(":")[0] if not end.startswith("[") else "::1",
        )
    assert 500 < refused < 2500


@pytest.mark.parametrize("hard", ["@", "/", "#", "?", "%", "%zz", "a@b@c", "/@", "?@", "#@"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_password_whose_end_is_not_known_is_refused_with_the_way_to_write_it(
    driver: str, hard: str
) -> None:
    with pytest.raises(StorageError) as error:
        database.Storage(f"{driver}://user:se{hard}cret-tail@127.0.0.1:1/hpo", patience=0)
    text = str(error.value)
    assert text.startswith(f"storage: {driver}://...: ")
    assert "percent-encode the user name, the password" in text and "@ is %40" in text
    assert not any(part in text for part in ("cret", "tail", "127.0.0.1", "user:"))
    assert "\n" not in text


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///.hpo/studies.db",
        "sqlite:////data/me@home: #1/100%/studies.db",
        "mysql://user:p:w@db.example/hpo",
        "mysql://user:p%40%2F%3A%23%3F%25w@db.example:3306/hpo?ssl_ca=/etc/ca.pem",
        "postgresql+psycopg://db.example/hpo",
        "postgresql+psycopg://user@/hpo?host=/run/postgresql",
        "mysql+pymysql://user:pw@[::1]:3306/hpo",
    ],
)
def test_what_is_written_right_is_read(url: str) -> None:
    assert urls.parse(url).render_as_string(hide_password=False).partition("://")[0] in url


@pytest.mark.parametrize("path", ["file:x.db?mode=ro&uri=true", ":memory:", ""])
def test_a_sqlite_url_names_a_file(path: str) -> None:
    with pytest.raises(StorageError, match=r"name a file|name the file itself"):
        urls.parse(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("s3://key:s3/cret@bucket", "a /, ? or # before its @"),
        ("s3://key:s3cret@bucket", "credentials are not read from here"),
        ("https://me:s3cret@host", "should be a folder, s3://bucket"),
        ("s3://[cret", "no URL"),
    ],
)
def test_credentials_of_a_bucket_are_refused_and_not_shown(place: str, reason: str) -> None:
    problem = store_problem(place)
    assert problem is not None and reason in problem
    assert "cret" not in problem


def test_what_may_be_secret_in_a_query_is_not_shown() -> None:
    url = urls.parse("mysql+pymysql://hpo:S3CRET@db/hpo?charset=utf8mb4&ssl_key=T0KEN%20A")
    assert urls.redacted_url(url) == "mysql+pymysql://hpo:***@db/hpo?charset=utf8mb4&ssl_key=***"
    answer = "no S3CRET,\n no T0KEN A, no T0KEN%20A with utf8mb4"
    assert urls.redact(answer, url) == "no ***, no ***, no *** with utf8mb4"


def test_a_sqlite_file_whose_name_is_no_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/b\udcff.db"
    opened = database.Storage(url, create=True)
    assert str(opened).endswith(("/b%3F.db", "/b?.db"))  # as SQLAlchemy 2.1 and 2.0 write it
    assert [os.fsencode(file.name) for file in tmp_path.glob("*.db")] == [b"b\xff.db"]
    for wrong in (f"{url}?mode=\udcfe", "mysql://u:p\udcff@h/d", "postgresql://u:p@h/d\udcff"):
        with pytest.raises(StorageError, match="not UTF-8; percent-encode them"):
            urls.parse(wrong)
