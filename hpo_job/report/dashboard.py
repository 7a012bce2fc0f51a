"""optuna-dashboard on a study: the same server that runs next to the workers in a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from hpo_job.errors import StudyError
from hpo_job.storage.database import Storage


def serve(
    study: str | None, storage: Storage, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        study: the study to open; None for the list of all.
        storage: where the studies are.
        host: the address to listen at.
        port: the port to listen at; 0 for any that is free.
        ready: called with the URL once the server listens.

    Raises:
        StudyError: optuna-dashboard is not installed, or the port is taken.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise StudyError(
            "the dashboard needs optuna-dashboard: pip install 'hpo-job[dashboard]'"
        ) from error
    logging.getLogger("optuna_dashboard").setLevel(logging.WARNING)
    application = wsgi(storage.optuna)
    try:
        server = make_server(host, port, application, _Server, _Quiet)
    except OSError as error:
        raise StudyError(
            f"no dashboard at {host}:{port}: {error.strerror}; choose another --port"
        ) from error
    with server:
        address = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
        place = f"studies/{storage.study_id(study)}" if study else ""
        ready(f"http://{address}:{server.server_port}/dashboard/{place}")
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    """Answers while a slow request of another tab is worked on."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Does not write a line for each request."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass
