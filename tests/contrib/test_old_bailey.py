"""The Old Bailey converter: what becomes a row, what is left out, and what is said about it.

The archive's licence forbids shipping its files, so the sessions here are made up; the real ones
are read from beside the checkout where they are.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

import click
import pytest
from click.testing import Result

from contrib import old_bailey, tei
from contrib.__main__ import main
from contrib.old_bailey import Summary, convert, read_decade
from hpo_job.errors import DataError
from tests import ROOT, SHARED_DATA
from tests.quick import wait_until

REAL = SHARED_DATA / "old-bailey"
Cli = Callable[..., Result]
Refused = Callable[..., str]
Row = dict[str, str]

THEFT = '<interp type="offenceCategory" value="theft"/>'
LARCENY = '<interp type="offenceSubcategory" value="grandLarceny"/>'
BROKEN = '<TEI.2><text><div1 type="trialAccount" id="t17341016-1"><p>The prisoner'


def account(name: str, inside: str = THEFT + LARCENY + "<p>Guilty.</p>") -> str:
    return f'<div1 type="trialAccount" id="{name}">{inside}</div1>'


def session(*accounts: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> str:
    body = "".join(accounts)
    return (
        f'{head}<TEI.2><text><body><div0 type="sessionsPaper">{body}</div0></body></text></TEI.2>'
    )


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def pack(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def rows_of(path: Path) -> list[Row]:
    csv.field_size_limit(10**9)
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


class Converted:
    """One conversion: its rows, its summary, and what was said and looked at on the way."""

    def __init__(self, *sources: Path, decade: int = 1730, to: str = "out.csv") -> None:
        self.messages: list[str] = []
        self.looks: list[tuple[int, int]] = []
        self.path = sources[0].parent / "made" / to
        self.path.parent.mkdir(exist_ok=True)
        self.summary = convert(
            sources,
            decade,
            self.path,
            tell=self.messages.append,
            look=lambda done, total: self.looks.append((done, total)),
        )
        self.rows = rows_of(self.path)
        self.ids = [row["id"] for row in self.rows]


def read(text: str | bytes) -> list[tei.Trial]:
    return tei.read_session(io.BytesIO(text.encode() if isinstance(text, str) else text))


def text_of(inside: str, **settings: str) -> str:
    (trial,) = read(session(account("t17341016-1", inside), **settings))
    return trial.text


# the real archive


def expected(decade: int) -> dict[str, Row]:
    return {row["id"]: row for row in rows_of(REAL / f"{decade}s.csv.gz")}


@pytest.mark.needs("old-bailey")
@pytest.mark.parametrize(("decade", "sessions", "all_rows"), [(1730, 4, 59), (1830, 2, 129)])
def test_real_sessions_give_the_expected_rows(
    tmp_path: Path, decade: int, sessions: int, all_rows: int
) -> None:
    output = tmp_path / "out.csv.gz"
    messages: list[str] = []
    summary = convert([REAL / "tei-sample"], decade, output, tell=messages.append)
    assert summary == Summary(sessions=sessions, trials=all_rows, rows=all_rows)
    assert messages == []
    rows = {row["id"]: row for row in rows_of(output)}
    dates = {name[1:9] for name in rows}
    wanted = {name: row for name, row in expected(decade).items() if name[1:9] in dates}
    assert len(wanted) == {1730: 59, 1830: 34}[decade]
    # to the byte: each line of the archive is a line of the text
    assert {name: rows.get(name) for name in wanted} == wanted
    # the expected rows of the 1830s are without half of the thefts
    assert {rows[name]["broad"] for name in rows.keys() - wanted.keys()} <= {"theft"}


@pytest.mark.needs("old-bailey")
def test_a_real_session_that_is_cut_short_gives_no_row(tmp_path: Path) -> None:
    whole = (REAL / "tei-sample" / "17341016.xml").read_bytes()
    put(tmp_path / "in" / "17341016.xml", whole[: len(whole) // 2])
    other = REAL / "tei-sample" / "17381011.xml"
    table = Converted(tmp_path / "in", other)
    assert {name[:9] for name in table.ids} == {"t17381011"}
    assert table.summary.skipped == 1


# what becomes a row


def test_first_category_and_first_subcategory_count() -> None:
    kill = '<interp type="offenceCategory" value="kill"/>'
    murder = '<interp type="offenceSubcategory" value="murder"/>'
    (trial,) = read(session(account("t17341016-1", THEFT + kill + LARCENY + murder)))
    assert (trial.broad, trial.narrow) == ("theft", "grandLarceny")


def test_an_empty_category_is_none() -> None:
    none = '<interp type="offenceCategory" value=""/><interp type="offenceSubcategory" value=""/>'
    first, second = read(
        session(account("t17341016-1", none), account("t17341016-2", none + THEFT))
    )
    assert (first.broad, first.narrow) == ("", "")
    assert (second.broad, second.narrow) == ("theft", "")


def test_offences_belong_to_their_own_trial() -> None:
    nothing = account("t17341016-2", "<p>Put off.</p>")
    named = [t.broad for t in read(session(THEFT, account("t17341016-1"), nothing, LARCENY))]
    assert named == ["theft", ""]


def test_a_trial_without_an_offence_is_counted_and_no_row(tmp_path: Path) -> None:
    source = put(
        tmp_path / "17341016.xml",
        session(account("t17341016-1"), account("t17341016-2", "<p>Put off.</p>")),
    )
    table = Converted(source)
    assert table.ids == ["t17341016-1"]
    assert table.summary == Summary(sessions=1, trials=2, rows=1)


def test_a_trial_without_words_has_an_empty_text(tmp_path: Path) -> None:
    empty = '<div1 type="trialAccount" id="t17341016-2"/>'
    table = Converted(put(tmp_path / "17341016.xml", session(account("t17341016-1", THEFT), empty)))
    assert table.rows == [{"id": "t17341016-1", "broad": "theft", "narrow": "", "text": ""}]
    assert table.summary.trials == 2


def test_text_is_what_is_between_the_tags() -> None:
    inside = """
        <interp type="surname" value="not this"/>
        <p>JOHN <hi rend="smallCaps">Ward</hi>, was   indicted
           for <rs>stealing<xptr type="pageFacsimile" doc="1"/>a Coat</rs> .<lb/>Guilty</p>
        <!-- nor this --><?nor this?>

        <note>[Branding. See summary.]</note><![CDATA[<b> & c]]>
    """
    assert text_of(inside) == (
        "JOHN Ward, was   indicted\nfor stealinga Coat .Guilty\n[Branding. See summary.]<b> & c"
    )


def test_what_stands_outside_of_trials_is_left_out() -> None:
    text = session("<p>Before the Lord Mayor</p>", account("t17341016-1"), "<p>The End</p>")
    assert [trial.text for trial in read(text)] == ["Guilty."]


def test_trials_may_be_of_any_level_and_namespace() -> None:
    text = (
        '<t:TEI xmlns:t="http://www.tei-c.org/ns/1.0"><t:div0 type="trialAccount"'
        ' xml:id="t17341016-1"><t:interp type="offenceCategory" value="theft"/>'
        "<t:div1><t:p>Guilty</t:p></t:div1> of it</t:div0></t:TEI>"
    )
    assert read(text) == [tei.Trial("t17341016-1", "theft", "", "Guilty of it")]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<?xml version="1.0"?>', "utf-8"),
        ('<?xml version="1.0" encoding="UTF-8"?>', "utf-8-sig"),
        ('<?xml version="1.0" encoding="UTF-16"?>', "utf-16"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>', "latin-1"),
        ('<?xml version="1.0" encoding="windows-1252"?>', "cp1252"),
    ],
)
def test_encodings(head: str, encoding: str) -> None:
    text = session(account("t18341124-1", "<p>£5 at the café</p>"), head=head)
    assert read(text.encode(encoding))[0].text == "£5 at the café"


def test_entities() -> None:
    own = '<!DOCTYPE TEI.2 [<!ENTITY coin "1 <hi>guinea</hi>">]>'
    assert text_of("<p>&coin; &amp; &#163;5 &#x2014; &lt;</p>", head=own) == "1 guinea & £5 — <"


def test_entities_of_a_dtd_that_is_not_there() -> None:
    absent = '<!DOCTYPE TEI.2 SYSTEM "http://localhost/tei.dtd">'
    assert text_of("<p>&pound;5&mdash;&eacute;</p>", head=absent) == "£5—é"
    with pytest.raises(tei.MalformedError, match="&crown; in trial t17341016-1"):
        text_of("<p>&crown;</p>", head=absent)


def test_files_are_never_included(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret", "s3cret")
    head = f'<!DOCTYPE TEI.2 [<!ENTITY secret SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(tei.MalformedError, match="&secret; is in another file"):
        text_of("<p>It says &secret;.</p>", head=head)


# malformed files


BOMB = "<!DOCTYPE TEI.2 [<!ENTITY a0 'lol, lol, lol, lol, lol'>{}]>".format(
    "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 20}'>" for n in range(1, 9))
)
MALFORMED = {
    "cut short": BROKEN,
    "empty": "",
    "not XML": "The Proceedings at the Old Bailey",
    "a wrong tag": session("<p></b>"),
    "an unknown entity": session(account("t17341016-1", "<p>&pound;</p>")),
    "wrong bytes": session(account("t17341016-1", "<p>£</p>")).encode("latin-1"),
    "an unknown encoding": session(head='<?xml version="1.0" encoding="klingon"?>'),
    "an encoding expat cannot": session(head='<?xml version="1.0" encoding="shift_jis"?>'),
    "another XML": "<html><body>Not found</body></html>",
    "no id": session('<div1 type="trialAccount"><p>Guilty</p></div1>'),
    "a macOS resource fork": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X",
    "an XML bomb": session(account("t17341016-1", "<p>&a8;</p>"), head=BOMB),
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("name", ["17341016.xml", "undated.xml"])
def test_a_malformed_file_is_named_and_the_rest_converted(
    cli: Cli, tmp_path: Path, wrong: str | bytes, name: str
) -> None:
    bad = put(tmp_path / "in" / name, wrong)
    good = put(tmp_path / "in" / "17341204.xml", session(account("t17341204-1")))
    result = cli("old-bailey", bad, good, "--decade", "1730", "-o", "out.csv")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"hpo-job: {bad}: ")
    assert line.endswith("; skipped")
    assert result.stdout == "out.csv: 1 session, 1 trial, 1 row; 1 file skipped\n"
    assert [row["id"] for row in rows_of(tmp_path / "out.csv")] == ["t17341204-1"]


def test_the_message_says_where() -> None:
    with pytest.raises(expat.ExpatError, match="line 2, column"):
        read("<TEI.2>\n<p></b>")


def test_expat_is_one_that_refuses_bombs() -> None:
    assert expat.version_info >= (2, 4, 1)


@pytest.mark.needs("no-root")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    bad = put(tmp_path / "17341016.xml", session(account("t17341016-1")))
    good = put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    bad.chmod(0)
    table = Converted(bad, good)
    assert table.messages == [f"{bad}: Permission denied; skipped"]


def test_a_damaged_zip_member_is_named(tmp_path: Path) -> None:
    names = ["a/17341016.xml", "a/17341204.xml"]
    archive = pack(tmp_path / "obo.zip", {n: session(account(f"t{n[2:10]}-1")) for n in names})
    content = bytearray(archive.read_bytes())
    at = content.index(names[0].encode()) + len(names[0])
    content[at + 10 : at + 40] = bytes(30)
    archive.write_bytes(content)
    table = Converted(archive)
    assert table.ids == ["t17341204-1"]
    (line,) = table.messages
    assert line.startswith(f"{archive}/a/17341016.xml: ")


def test_a_zip_member_with_a_password_is_named(tmp_path: Path) -> None:
    archive = pack(tmp_path / "obo.zip", {"17341016.xml": session(account("t17341016-1"))})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    good = put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    table = Converted(archive, good)
    assert table.ids == ["t17341204-1"]
    assert "password" in table.messages[0]


@pytest.mark.parametrize("cut", [0, 40, -30])
def test_a_zip_that_is_none_is_named(tmp_path: Path, cut: int) -> None:
    archive = pack(tmp_path / "obo.zip", {"17341016.xml": session(account("t17341016-1"))})
    archive.write_bytes(archive.read_bytes()[:cut])
    good = put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    table = Converted(archive, good)
    assert table.ids == ["t17341204-1"]
    assert table.summary.skipped == 1
    assert table.messages[0].startswith(f"{archive}: not a zip, or an incomplete one: ")


def test_another_xml_that_lies_about_is_named_and_ignored(tmp_path: Path) -> None:
    other = put(tmp_path / "in" / "build.xml", "<project/>")
    put(tmp_path / "in" / "17341204.xml", session(account("t17341204-1")))
    table = Converted(tmp_path / "in")
    assert table.messages == [f"{other}: not TEI, it begins with <project>; ignored"]
    assert table.summary.skipped == 0


# sources


def test_sources_of_every_kind_are_one_table(tmp_path: Path) -> None:
    pack(tmp_path / "obo.zip", {"obo/sessionsPapers/17341016.XML": session(account("t17341016-1"))})
    put(tmp_path / "in" / "deep" / "er" / "17341204.xml", session(account("t17341204-1")))
    alone = put(tmp_path / "17330112", session(account("t17330112-1")))
    table = Converted(tmp_path / "obo.zip", tmp_path / "in", alone)
    assert table.ids == ["t17330112-1", "t17341016-1", "t17341204-1"]
    assert table.summary == Summary(sessions=3, trials=3, rows=3)
    assert table.looks[0] == (0, 3)
    assert table.looks[-1] == (3, 3)


def test_a_zip_needs_no_suffix(tmp_path: Path) -> None:
    archive = pack(tmp_path / "download", {"17341016.xml": session(account("t17341016-1"))})
    assert Converted(archive).ids == ["t17341016-1"]


def test_what_macos_leaves_behind_is_passed_over(tmp_path: Path) -> None:
    fork = "\x00\x05\x16\x07"
    junk = {
        "__MACOSX/obo/._17341016.xml": fork,
        "__MACOSX/obo/17341016.xml": fork,
        "obo/._17341016.xml": fork,
        "obo/.git/17341016.xml": fork,
        "obo/readme.txt": "Old Bailey",
        "obo/folder.xml/": "",
    }
    good = {"obo/17341016.xml": session(account("t17341016-1"))}
    archive = pack(tmp_path / "obo.zip", junk | good)
    for name, text in junk.items():
        if not name.endswith("/"):
            put(tmp_path / "in" / name, text)
    (tmp_path / "in" / "obo" / "folder.xml").mkdir()
    put(tmp_path / "in" / "obo" / "17341204.xml", session(account("t17341204-1")))
    table = Converted(archive, tmp_path / "in")
    assert table.ids == ["t17341016-1", "t17341204-1"]
    assert table.messages == []


def test_ordinarys_accounts_are_passed_over(tmp_path: Path) -> None:
    members = {
        "OBO_XML_7-2/ordinarysAccounts/OA17341016.xml": BROKEN,
        "OBO_XML_7-2/sessionsPapers/17341016.xml": session(account("t17341016-1")),
    }
    table = Converted(pack(tmp_path / "obo.zip", members))
    assert (table.ids, table.messages) == (["t17341016-1"], [])


def test_a_zip_in_a_zip_is_told(tmp_path: Path) -> None:
    outer = pack(tmp_path / "4775434.zip", {"4775434/OBO_XML_7-2.zip": "", "readme.txt": ""})
    good = put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    table = Converted(outer, good)
    named = "it holds a zip, 4775434/OBO_XML_7-2.zip: unpack that, and name it instead"
    assert table.messages == [f"{outer}: {named}; skipped"]


def test_a_folder_may_be_below_a_hidden_one(tmp_path: Path) -> None:
    put(tmp_path / ".cache" / "obo" / "17341016.xml", session(account("t17341016-1")))
    assert Converted(tmp_path / ".cache" / "obo").ids == ["t17341016-1"]


def test_a_trial_in_several_sources_is_taken_from_the_first(tmp_path: Path) -> None:
    one, two = "t17341016-1", "t17341016-2"
    first = account(one, THEFT + "first")
    second = account(one, THEFT + "second")
    archive = pack(tmp_path / "obo.zip", {"17341016.xml": session(first, first)})
    copy = put(tmp_path / "in" / "17341016.xml", session(second, account(two)))
    table = Converted(archive, tmp_path / "in", copy, archive)
    assert [(row["id"], row["text"]) for row in table.rows] == [
        (one, "first"),
        (two, "Guilty."),
    ]
    assert table.summary == Summary(sessions=2, trials=2, rows=2, repeated=2)
    table = Converted(tmp_path / "in", archive)
    assert table.rows[0]["text"] == "second"
    assert table.summary == Summary(sessions=1, trials=2, rows=2, repeated=2)


def test_a_good_copy_stands_in_for_a_malformed_one(tmp_path: Path) -> None:
    put(tmp_path / "bad" / "17341016.xml", session(account("t17341016-1")) + "<p>")
    put(tmp_path / "good" / "17341016.xml", session(account("t17341016-1")))
    table = Converted(tmp_path / "bad", tmp_path / "good")
    assert table.ids == ["t17341016-1"]
    assert table.summary.skipped == 1


# decades


def test_only_sessions_of_the_decade_are_parsed(tmp_path: Path) -> None:
    for year in (1729, 1730, 1739, 1740):
        name = f"{year}0116"
        inside = session(account(f"t{name}-1")) if year // 10 == 173 else BROKEN
        put(tmp_path / "in" / f"{name}.xml", inside)
    table = Converted(tmp_path / "in")
    assert table.ids == ["t17300116-1", "t17390116-1"]
    assert table.messages == []


@pytest.mark.parametrize(
    ("name", "head", "trial"),
    [
        ("session.xml", '<interp type="date" value="17341016"/>', "x-1"),
        ("session.xml", '<div1 type="frontMatter" id="f17341016-1"/>', "x-1"),
        ("1.xml", '<date when="2018-03-01"/><date when="1734-10-16"/>', "x-1"),
        ("20240101.xml", "", "t17341016-1"),
        ("17341016.xml", '<interp type="date" value="18341016"/>', "x-1"),
        ("19990101.xml", "", "t17341016-1"),
        ("s17341016.xml", "", "x-1"),
        ("1734-10-16.xml", "", "x-1"),
        ("17341016e.xml", "", "x-1"),
    ],
)
def test_date_is_in_the_name_or_else_in_the_header(
    tmp_path: Path, name: str, head: str, trial: str
) -> None:
    source = put(tmp_path / name, session(head, account(trial)))
    assert Converted(source).ids == [trial]
    with pytest.raises(DataError, match="found: 1734 to 1734"):
        Converted(source, decade=1740)


def test_no_date_is_malformed(tmp_path: Path) -> None:
    good = put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    bad = put(tmp_path / "x.xml", session(account("x-1")))
    table = Converted(good, bad)
    assert table.messages == [f"{bad}: there is no session date in its name or its header; skipped"]


@pytest.mark.parametrize("text", ["1730", "1730s", " 1730 "])
def test_a_decade_is_written_in_two_ways(text: str) -> None:
    assert read_decade(text) == 1730


@pytest.mark.parametrize("text", ["1670", "1910"])
def test_first_and_last_decade(text: str) -> None:
    assert read_decade(text) == int(text)


@pytest.mark.parametrize("text", ["1735", "1660", "1920", "173", "", "s", "-1730", "thirties"])
def test_a_bad_decade_is_refused(refused: Refused, tmp_path: Path, text: str) -> None:
    put(tmp_path / "17341016.xml", session(account("t17341016-1")))
    line = refused("old-bailey", "17341016.xml", f"--decade={text}", "-o", "out.csv")
    assert repr(text) in line
    assert "1670, 1680 … 1910" in line


# the table


def test_rows_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    numbers = ["10", "2", "42m", "43", "42", "1"]
    put(tmp_path / "in" / "a" / "17341204.xml", session(account("t17341204-1")))
    put(
        tmp_path / "in" / "b" / "17341016.xml",
        session(*(account(f"t17341016-{number}") for number in numbers)),
    )
    put(tmp_path / "in" / "c" / "17341016a.xml", session(account("t17341016-3")))
    wanted = [f"t17341016-{number}" for number in ("1", "2", "3", "10", "42", "42m", "43")]
    assert Converted(tmp_path / "in").ids == [*wanted, "t17341204-1"]


def test_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("17341016", "17341204"):
        put(tmp_path / "in" / f"{name}.xml", session(account(f"t{name}-1", THEFT + 'a, "b"\nc')))
    first = Converted(tmp_path / "in", to="first.csv.gz").path.read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second = Converted(tmp_path / "in", to="second.csv.gz").path.read_bytes()
    assert first == second
    plain = Converted(tmp_path / "in", to="plain.csv").path.read_bytes()
    assert gzip.decompress(first) == plain
    assert plain.startswith(b'id,broad,narrow,text\r\nt17341016-1,theft,,"a, ""b""\nc"\r\n')


def test_the_table_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    source = put(tmp_path / "17341016.xml", session(account("t17341016-1")))
    yesterday = put(tmp_path / "yesterday", "being read by somebody")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "out.csv").hardlink_to(yesterday)
    assert Converted(source).ids == ["t17341016-1"]
    assert yesterday.read_text() == "being read by somebody"


def test_a_table_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    table = Converted(put(tmp_path / "17341016.xml", session(account("t17341016-1"))))
    usual = put(tmp_path / "usual", "")
    assert stat.S_IMODE(table.path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "the table of yesterday"])
def test_an_interrupted_conversion_leaves_the_output_as_it_was(
    tmp_path: Path, interrupt: type[BaseException], before: str | None
) -> None:
    for name in ("17341016", "17341204"):
        put(tmp_path / "in" / f"{name}.xml", session(account(f"t{name}-1")))
    output = tmp_path / "out" / "1730s.csv.gz"
    output.parent.mkdir()
    if before:
        output.write_text(before)
    on_the_way: list[int] = []

    def look(done: int, total: int) -> None:
        on_the_way.append(len([*output.parent.iterdir()]))
        if done == 1:
            raise interrupt

    with pytest.raises(interrupt):
        convert([tmp_path / "in"], 1730, output, tell=print, look=look)
    assert on_the_way[0] == (2 if before else 1)  # in the same folder, so a rename is enough
    left = {path.name: path.read_text() for path in output.parent.iterdir()}
    assert left == ({output.name: before} if before else {})


@pytest.mark.needs("full-disk")
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "17341016.xml", session(account("t17341016-1", THEFT + "long " * 9999)))
    opened = Path.open

    def full(path: Path, *arguments: str) -> object:
        target = Path("/dev/full") if path.suffix == ".tmp" else path
        return opened(target, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match=r"out\.csv: cannot be written: No space left on device"):
        convert([source], 1730, tmp_path / "out.csv", tell=print)
    assert [path.name for path in tmp_path.iterdir()] == ["17341016.xml"]


def test_memory_is_that_of_one_session(tmp_path: Path) -> None:
    import tracemalloc

    inside = THEFT + "<p>" + "guilty " * 20_000 + "</p>"
    days = [f"1734{month:02}{day:02}" for month in (1, 2, 3) for day in range(1, 21)]
    members = {f"{day}.xml": session(account(f"t{day}-1", inside)) for day in days}
    archive = pack(tmp_path / "obo.zip", members)
    size = sum(map(len, members.values()))
    members.clear()
    tracemalloc.start()
    try:
        convert([archive], 1730, tmp_path / "out.csv.gz", tell=print)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 4


# the command


SOURCE = "17341016.xml"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return put(tmp_path / SOURCE, session(account("t17341016-1"), account("t17341016-1")))


@pytest.mark.usefixtures("source")
def test_a_conversion_ends_with_one_line(cli: Cli, tmp_path: Path) -> None:
    result = cli("old-bailey", SOURCE, "--decade", "1730s", "-o", "out.csv.gz")
    assert result.exit_code == 0
    line = "out.csv.gz: 1 session, 1 trial, 1 repeated, 1 row; 0 files skipped\n"
    assert (result.stdout, result.stderr) == (line, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [SOURCE, "out.csv.gz"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.zip", SOURCE], "none.zip: no such file or folder"),
        (["none", SOURCE], "none: no such file or folder"),
        (["empty"], "no TEI file (.xml) that can be read in empty"),
        ([SOURCE, "--decade", "1830"], "no session of the 1830s in 17341016.xml; found: 1734 to"),
        ([SOURCE, "-o", "out.txt"], "out.txt: the name of the table has to end in .csv or .csv.gz"),
        ([SOURCE, "-o", "out.gz"], "out.gz: the name of the table has to end in"),
        ([SOURCE, "-o", "folder.csv"], "folder.csv: is a folder"),
        ([SOURCE, "-o", "no/out.csv"], "no/out.csv: there is no folder no"),
        (["17350116.xml"], "no trial of the 1730s that can be read in 17350116.xml"),
    ],
)
@pytest.mark.usefixtures("source")
def test_nothing_to_convert_is_one_line_and_writes_nothing(
    refused: Refused, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    put(tmp_path / "17350116.xml", session("<p>The Ordinary's Account</p>"))
    usual = ["--decade", "1730", "-o", "out.csv"]
    line = refused("old-bailey", *usual, *arguments)
    assert line.startswith(f"hpo-job: {says}")


@pytest.mark.parametrize(
    ("name", "text", "last"),
    [
        ("obo.zip", "no zip", "no TEI file (.xml) that can be read in obo.zip"),
        ("17341016.xml", BROKEN, "no trial of the 1730s that can be read in 17341016.xml"),
        ("page.xml", "<html/>", "no TEI file (.xml) that can be read in page.xml"),
    ],
)
def test_nothing_but_malformed_files_writes_nothing(
    cli: Cli, tmp_path: Path, name: str, text: str, last: str
) -> None:
    put(tmp_path / name, text)
    result = cli("old-bailey", name, "--decade", "1730", "-o", "out.csv")
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first.startswith(f"hpo-job: {name}: ")
    assert second == f"hpo-job: {last}"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_long_name_stays_on_one_line(cli: Cli, tmp_path: Path) -> None:
    bad = put(tmp_path / ("[bold]long " * 20) / "17341016.xml", BROKEN)
    put(tmp_path / "17341204.xml", session(account("t17341204-1")))
    result = cli("old-bailey", tmp_path, "--decade", "1730", "-o", "out.csv")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"hpo-job: {bad}: ")


@pytest.mark.usefixtures("source")
def test_ctrl_c_is_told_from_a_malformed_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(old_bailey, "convert", interrupted)
    result = cli("old-bailey", SOURCE, "--decade", "1730", "-o", "out.csv")
    assert result.exit_code == 130
    assert result.stderr == "hpo-job: stopped; out.csv is as it was\n"


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
@pytest.mark.processes
def test_a_real_ctrl_c_leaves_no_half_file(tmp_path: Path) -> None:
    pack(tmp_path / "obo.zip", {"17341016.xml": session(account("t17341016-1"))})
    (tmp_path / "out").mkdir()
    # All rows are written, and the table is not in its place yet, until the signal comes. A signal
    # that comes while they are written may be swallowed by what writes them
    code = (
        "import threading, contrib.old_bailey as converter; write = converter._write;"
        "wait = lambda: (open('written', 'w').close(), threading.Event().wait());"
        "converter._write = lambda *all: (write(*all), wait());"
        "from contrib.__main__ import main; main()"
    )
    arguments = ["old-bailey", "obo.zip", "--decade", "1730", "-o", "out/1730s.csv.gz"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: (tmp_path / "written").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    assert [*(tmp_path / "out").iterdir()] != []
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "")
    assert errors == "hpo-job: stopped; out/1730s.csv.gz is as it was\n"
    assert [*(tmp_path / "out").iterdir()] == []


def test_help_is_whole(cli: Cli) -> None:
    for arguments in (["-h"], ["old-bailey", "--help"]):
        result = cli(*arguments)
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
    command = main.commands["old-bailey"]
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [option.name for option in options] == ["decade", "output"]
    assert all(option.help for option in options)


@pytest.mark.processes
def test_the_command_needs_no_torch() -> None:
    code = (
        "import sys, contrib.__main__, contrib.old_bailey;"
        "print({'torch', 'fastai', 'optuna', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "set()\n"
