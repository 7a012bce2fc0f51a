"""Data behind a URL: fetched once, checked, unpacked; and data that is in the image."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from hpo_job.data import fetch as fetch_module
from hpo_job.data.fetch import fetch, redacted, with_data
from hpo_job.errors import DataError, FetchError, SpecError
from hpo_job.spec.reading import read_spec


class Server:
    """Serves a folder, and counts what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.status: int | None = None
        asked, this = self.asked, self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                asked.append(self.path)
                if this.status:
                    self.send_error(this.status)
                else:
                    super().do_GET()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "www").mkdir()
    serving = Server(tmp_path / "www")
    yield serving
    serving.http.shutdown()
    serving.http.server_close()


@pytest.fixture
def table(tmp_path: Path, server: Server) -> tuple[str, str]:
    """A table's URL and checksum."""
    content = b"a,b\n1,2\n"
    (tmp_path / "www/table.csv").write_bytes(content)
    return f"{server.url}/table.csv", hashlib.sha256(content).hexdigest()


def test_a_file_is_fetched_once(table: tuple[str, str], server: Server, tmp_path: Path) -> None:
    """Also by workers that start together."""
    url, digest = table
    fetched: list[Path] = []
    threads = [
        threading.Thread(target=lambda: fetched.append(fetch(url, digest, tmp_path / "cache")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_bytes() for path in fetched} == {b"a,b\n1,2\n"}
    downloads = len(server.asked)
    fetch(url, digest, tmp_path / "cache")
    assert len(server.asked) == downloads
    assert list((tmp_path / "cache/data").glob(".*.tmp")) == []


def test_an_archive_is_a_folder(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "www/images.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("cats/1.png", "dogs/1.png"):
            archive.writestr(f"pets/{name}", "x")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    root = fetch(f"{server.url}/images.zip", digest, tmp_path / "cache")
    assert sorted(path.name for path in root.iterdir()) == ["cats", "dogs"]


def test_an_archive_that_is_damaged(server: Server, tmp_path: Path) -> None:
    """Its table of contents is whole, a file in it is not."""
    file = tmp_path / "www/images.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cats/1.png", "the content")
    file.write_bytes(file.read_bytes().replace(b"the content", b"another one"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=r"images\.zip: cannot be unpacked: BadZipFile"):
        fetch(f"{server.url}/images.zip", digest, tmp_path / "cache")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_writes_nothing_outside_its_folder(
    server: Server, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"www/images.{suffix}"
    names = ("cats/1.png", "../../../outside.png")
    if suffix == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            for name in names:
                packed.writestr(name, "x")
    else:
        with tarfile.open(file, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with contextlib.suppress(DataError):
        fetch(f"{server.url}/images.{suffix}", digest, tmp_path / "cache")
    for outside in tmp_path.rglob("outside.png"):
        assert tmp_path / "cache/data" in outside.parents, outside


def test_another_checksum_is_refused(table: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sha256 is .*, but data\.sha256 is 0000"):
        fetch(table[0], "0" * 64, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_is_not_there_is_final(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        fetch(f"{server.url}/none.csv", "0" * 64, tmp_path)


@pytest.mark.parametrize(
    ("status", "error"), [(403, DataError), (408, FetchError), (429, FetchError), (503, FetchError)]
)
def test_which_refusals_are_final(
    tmp_path: Path, server: Server, status: int, error: type[Exception]
) -> None:
    """Where many pods fetch at once, one may be told to come later: no reason to end them all."""
    server.status = status
    with pytest.raises(error, match=r"none\.csv") as refused:
        fetch(f"{server.url}/none.csv", "0" * 64, tmp_path)
    assert error is DataError or str(status) in str(refused.value)


def test_another_worker_that_was_not_seen(
    table: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a shared volume, that may remember for a while that there was nothing."""
    url, digest = table
    copied = fetch_module._copy

    def copy(source: IO[bytes], target: IO[bytes]) -> str:
        theirs = tmp_path / "cache/data" / digest[:16]
        theirs.mkdir()
        (theirs / "table.csv").write_text("theirs")
        return copied(source, target)

    monkeypatch.setattr(fetch_module, "_copy", copy)
    assert fetch(url, digest, tmp_path / "cache").read_text() == "theirs"


def test_a_cache_that_may_not_be_written_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fetch_module, "make_once", refused)
    with pytest.raises(DataError, match=r"cannot be fetched into .*Permission denied"):
        fetch("http://127.0.0.1:9/x.csv", "0" * 64, tmp_path)


def test_a_server_that_is_away_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="cannot be fetched") as refused:
        fetch("http://127.0.0.1:9/x.csv", "0" * 64, tmp_path)
    assert refused.value.exit_code == 1


def test_an_unknown_protocol_names_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"hpo-job\[remote\]"):
        fetch("nonsense://x/y.csv", "0" * 64, tmp_path)


def test_a_bucket_without_credentials_is_final(tmp_path: Path) -> None:
    """The S3 client says so with errors of its own, which are no OSErrors."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class NoCredentialsError(Exception):
        pass

    class Bucket(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "bucket"

        def _open(self, *arguments: object, **options: object) -> None:
            raise NoCredentialsError("Unable to locate credentials")

    fsspec.register_implementation("bucket", Bucket, clobber=True)
    with pytest.raises(DataError, match="NoCredentialsError: Unable to locate credentials"):
        fetch("bucket://b/x.csv", "0" * 64, tmp_path)


def test_a_redacted_url_has_no_secrets() -> None:
    assert redacted("https://u:s3cret@host/a.csv?sig=s3cret#x") == "https://host/a.csv"


def test_a_study_finds_its_data(
    job: Callable[..., Path], table: tuple[str, str], tmp_path: Path
) -> None:
    spec = read_spec(job(data={"path": table[0], "sha256": table[1]}))
    placed = with_data(spec, tmp_path / "cache")
    assert placed.data_path is not None
    assert placed.data_path.read_bytes() == b"a,b\n1,2\n"
    assert placed.stored() == spec.stored()  # where it is on this machine is not the study's


def test_a_url_needs_a_checksum(job: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="path is a URL, so sha256 is needed too"):
        read_spec(job(data={"path": "s3://bucket/x.zip"}))
    with pytest.raises(SpecError, match="sha256 is for a URL, and"):
        read_spec(job(data={"path": "data", "sha256": "0" * 64}))


def test_data_in_the_image(
    job: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read_spec(job(data={"path": "data"}))
    baked = tmp_path / "jobs/quadratic/data"
    baked.mkdir(parents=True)
    assert with_data(spec).data_path == spec.folder / "data"
    monkeypatch.setenv("HPO_JOB_JOBS", str(tmp_path / "jobs"))
    assert with_data(spec).data_path == baked
    (spec.folder / "data").mkdir()
    assert with_data(spec).data_path == spec.folder / "data"
