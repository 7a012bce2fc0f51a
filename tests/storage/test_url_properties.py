"""Storage URLs of any characters: read as they were written, and never shown with their secrets."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage import urls
from hpo_job.storage.mysql.url import read_url

# Any text but what no URL can hold: surrogates
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
SECRET = TEXT.map(lambda text: f"s3cret{text}")
DRIVERS = st.sampled_from(["mysql+pymysql", "postgresql+psycopg"])


@given(DRIVERS, TEXT, SECRET)
def test_an_encoded_password_is_read_as_it_is_and_never_shown(
    driver: str, user: str, password: str
) -> None:
    url = f"{driver}://{quote(user, safe='')}:{quote(password, safe='')}@db.example:3306/hpo"
    parsed = urls.parse(url)
    assert (parsed.username, parsed.password) == (user, password)
    assert (parsed.host, parsed.port, parsed.database) == ("db.example", 3306, "hpo")
    shown = urls.redacted_url(parsed)
    assert make_url(shown).password == "***"
    assert shown.count("***") == 1 + quote(user, safe="").count("***")


@given(SECRET, st.text(max_size=20), st.text(max_size=20))
def test_what_a_driver_says_is_one_line_without_the_password(
    password: str, before: str, after: str
) -> None:
    url = urls.parse(f"postgresql+psycopg://hpo:{quote(password, safe='')}@db/hpo")
    line = urls.redact(f"{before} {password} {quote(password)} {after}", url)
    assert "s3cret" not in line
    assert "\n" not in line


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_line_that_says_that_it_is_none(text: str) -> None:
    refused = None
    try:
        parsed = urls.parse(text)
    except StorageError as error:
        refused = str(error)
    if refused is None:
        assert parsed.get_backend_name() in urls.BACKENDS
    else:
        assert refused.startswith("storage: ") and "\n" not in refused


@given(TEXT, SECRET)
def test_the_driver_gets_the_user_and_the_password(user: str, password: str) -> None:
    server = read_url(f"mysql+pymysql://{quote(user, safe='')}:{quote(password, safe='')}@db/hpo")
    values = set(map(str, server.arguments.values()))
    assert {user, password} <= values
    assert "s3cret" not in repr(server)
