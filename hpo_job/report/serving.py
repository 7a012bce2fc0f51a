"""An exported model behind HTTP: a page to drop files on, and predictions as JSON."""

from __future__ import annotations

import math
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from hpo_job.artifacts.inference import ANSWER, ITEM, Model, class_columns
from hpo_job.errors import DataError, SpecError, problem

if TYPE_CHECKING:
    import pandas as pd
    from flask import Flask
    from werkzeug.datastructures import FileStorage

LARGEST = 64 * 2**20  # bytes of a request
FILES = 200  # of a request
THREADS = 8  # that answer requests; predictions are made one at a time
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def application(model: Model, *, hosts: Sequence[str] | None) -> Flask:
    """The WSGI application.

    ``GET /`` is the page, ``GET /model`` says what is served, and ``POST /predict`` with files in
    the field ``files`` answers with a list of predictions, or with an error of one line.

    Args:
        model: what predicts.
        hosts: names that requests may be addressed to, so that no web page elsewhere can reach a
            server on this machine under another name; None for any.

    Raises:
        SpecError: Flask is not installed.
    """
    try:
        from flask import Flask, jsonify, render_template, request
    except ImportError as error:
        raise SpecError("serve needs Flask: pip install 'hpo-job[serve]'") from error

    app = Flask("hpo_job.report", template_folder="templates", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST, TRUSTED_HOSTS=list(hosts) if hosts else None)
    busy = threading.Lock()

    @app.get("/")
    def page() -> str:
        return render_template(
            "serve.html",
            title=model.folder.name,
            layout=model.layout,
            threshold=model.threshold,
        )

    @app.get("/model")
    def facts() -> Any:
        known = {"name": model.folder.name, "objective": model.objective, "layout": model.layout}
        return jsonify(known | ({} if model.threshold is None else {"threshold": model.threshold}))

    @app.post("/predict")
    def answer() -> Any:
        sent = [file for file in request.files.getlist("files") if file.filename]
        if not sent or len(sent) > FILES:
            return jsonify(error=f"send 1 to {FILES} files in the field 'files'"), 400
        with tempfile.TemporaryDirectory() as folder, busy:
            paths, names = _saved(sent, Path(folder))
            try:
                table = model.predict(paths)
            except DataError as error:
                line = str(error)
                for path, name in zip(paths, names, strict=True):
                    line = line.replace(str(path), name)
                return jsonify(error=line), 400
        known = dict(zip(map(str, paths), names, strict=True))
        return jsonify(_records(table, known, model))

    @app.errorhandler(413)
    def too_large(_: Exception) -> Any:
        return jsonify(error=f"more than {LARGEST // 2**20} MiB in one request"), 413

    @app.after_request
    def protect(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
            "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def serve(model: Model, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve ``model`` until Ctrl-C.

    Args:
        model: what predicts.
        host: the address to listen at.
        port: the port to listen at; 0 for any that is free.
        ready: called with the URL once the server listens.

    Raises:
        SpecError: a package is not installed, or the port is taken.
    """
    try:
        from waitress.server import create_server
    except ImportError as error:
        raise SpecError("serve needs waitress: pip install 'hpo-job[serve]'") from error
    app = application(model, hosts=LOOPBACK if host in LOOPBACK else None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise SpecError(
            f"no server at {host}:{port}: {problem(error)}; choose another --port or --host"
        ) from error
    with listening:
        server = create_server(app, sockets=[listening], threads=THREADS)
        try:
            address = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
            name = f"[{address}]" if ":" in address else address
            ready(f"http://{name}:{listening.getsockname()[1]}/")
            server.run()
        finally:
            server.close()


def _saved(sent: Sequence[FileStorage], folder: Path) -> tuple[list[Path], list[str]]:
    """The files, written under names of ours: only the suffix is the sender's."""
    paths, names = [], []
    for number, file in enumerate(sent):
        name = PurePath(str(file.filename).replace("\\", "/")).name
        suffix = ".csv.gz" if name.lower().endswith(".csv.gz") else PurePath(name).suffix
        path = folder / f"{number}{suffix if suffix[1:].replace('.', '').isalnum() else ''}"
        file.save(path)
        paths.append(path)
        names.append(name)
    return paths, names


def _records(table: pd.DataFrame, names: dict[str, str], model: Model) -> list[dict[str, Any]]:
    """The predictions with the senders' file names, and the probability of each class by name.

    Several labels of an item are a list.
    """
    classes = class_columns(table)
    records = []
    for row in table.to_dict("records"):
        item = {name: row[name] for name in ITEM if name in row}
        item["file"] = names[str(item["file"])]
        shares = {name: _number(row[name]) for name in classes}
        answer = _plain(row[ANSWER])
        if model.threshold is not None:
            answer = model.labels_in(answer)
        records.append({**item, ANSWER: answer, "probabilities": shares})
    return records


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return _number(value) if isinstance(value, float) else value
