"""A connection to the API server that a kubeconfig names: requests, answers and their errors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from hpo_job.cluster.refusals import NoAnswerError, NoApiServerError, error_of
from hpo_job.errors import ClusterError, one_line

try:
    import urllib3
    from websocket import WebSocketBadStatusException, WebSocketException

    from hpo_job.cluster import kubeconfig
    from hpo_job.cluster.client_parts import RESTClientObject, create_websocket, get_websocket_url
except ImportError as error:  # an optional extra: tuning on one machine does not need it
    raise ClusterError(
        f"{error.name} is not installed: pip install 'hpo-job[kubernetes]'"
    ) from None

Object = dict[str, Any]
NAMESPACE = "hpo-job"  # where neither the command nor the kubeconfig names one
TIMEOUT = (5, 60)  # seconds to connect, and to wait for an answer
CONNECTION_ERRORS = (urllib3.exceptions.HTTPError,)
# Errors, and answers of gateways, after which nobody knows whether a request was carried out
LOST = (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError)
LOST_BEHIND = (502, 504)
DONE_OR_NOT = "the change may have been made all the same: run the command again"
CONTEXT = "is it the right context? kubectl config get-contexts"
RETRIES = urllib3.Retry(2, redirect=5, status=0, backoff_factor=0.2)
_CONNECTION = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")  # urllib3's, before the reason
_WARNING = re.compile(r'^\d+ \S+ "(.*)"$')  # the Warning header of RFC 7234


class Connection:
    """Requests to one API server, for one namespace.

    Args:
        context: of the kubeconfig; its current one by default.
        namespace: where to look; by default the context's, or else `NAMESPACE`.

    Attributes:
        warnings: what the API server has warned of in its answers, each text once.
    """

    def __init__(self, context: str | None = None, namespace: str | None = None) -> None:
        self._configuration, active = kubeconfig.load(context)
        self._context = active.get("name")
        self.namespace: str = namespace or active.get("namespace") or NAMESPACE
        self.warnings: list[str] = []
        self._ahead: dict[str, Future[Any]] = {}
        # Only the client's connections and credentials are used. Its generated methods and
        # classes differ from one release to the next.
        self._pool = RESTClientObject(self._configuration).pool_manager
        if not self._configuration.verify_ssl:  # as the kubeconfig asks; kubectl warns of nothing
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        # urllib3 logs every retry; only the final failure is reported, on one line
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    @property
    def host(self) -> str:
        return str(self._configuration.host)

    def websocket(self, path: str, **query: str) -> Any:
        """Open a WebSocket to a subresource.

        Args:
            path: below the namespace, like ``pods/NAME/portforward``.
            query: the parameters of the request.
        """
        place = f"{self.host}/api/v1/namespaces/{self.namespace}/{path}"
        url = get_websocket_url(place, list(query.items()))
        # the client's function wants names in lower case
        headers = {name.lower(): value for name, value in self._credentials().items()}
        try:
            return create_websocket(self._configuration, url, headers)
        except WebSocketBadStatusException as error:
            body = error.resp_body or b""
            raise error_of(error.status_code, body, self.namespace, self.host) from error
        except (WebSocketException, OSError) as error:
            raise self._no_answer(error) from error

    @contextmanager
    def asking_ahead(self, *questions: str) -> Iterator[None]:
        """Send several questions at the same time; inside, the first of each is answered by that.

        Over a slow network each takes long, and who asks one after the other waits for all.

        Args:
            questions: paths with their queries, as `_json` asks for them.
        """
        self._credentials()  # once, where a log-in plugin has to be run
        asked = ThreadPoolExecutor(len(questions) or 1)
        for question in questions:
            self._ahead[question] = asked.submit(self._request, "GET", question, {})
        asked.shutdown(wait=False)
        try:
            yield
        finally:
            for question in questions:
                self._ahead.pop(question, None)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> Object:
        question = with_query(path, query or {})
        ahead = self._ahead.pop(question, None) if method == "GET" else None
        if ahead is not None:
            response = ahead.result()
        else:
            response = self._request(method, path, query or {}, body, content)
        try:
            answer: Object = json.loads(response.data)
        except ValueError as error:
            raise NoApiServerError(self.host, response.status) from error
        return answer

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content: str = "application/json",
        *,
        stream: bool = False,
    ) -> Any:
        changes = method != "GET" and "dryRun" not in query
        headers = {"Content-Type": content, "Accept": "application/json, */*"}
        if not stream:  # a list of 1,000 pods is 11 MB otherwise
            headers["Accept-Encoding"] = "gzip"
        try:
            response = self._pool.request(
                method,
                self.host + with_query(path, query),
                headers=headers | self._credentials(),
                body=None if body is None else json.dumps(body),
                timeout=urllib3.Timeout(connect=TIMEOUT[0], read=TIMEOUT[1]),
                retries=RETRIES if method == "GET" else False,
                preload_content=not stream,
            )
            refused = response.data if response.status >= 400 else b""  # read here: it may be cut
        except (urllib3.exceptions.HTTPError, OSError) as error:
            lost = changes and isinstance(error, LOST)
            raise self._no_answer(error, DONE_OR_NOT if lost else CONTEXT) from error
        if response.status >= 400:
            refusal = error_of(response.status, refused, self.namespace, self.host)
            if changes and response.status in LOST_BEHIND:
                raise ClusterError(f"{refusal}; {DONE_OR_NOT}")
            raise refusal
        for header in response.headers.getlist("Warning"):
            text = _WARNING.sub(r"\1", header).replace('\\"', '"')
            if text not in self.warnings:
                self.warnings.append(text)
        return response

    def _credentials(self) -> dict[str, str]:
        """The header with the kubeconfig's token, which the client renews when it expires."""
        auth = self._configuration.auth_settings().get("BearerToken", {})
        return {auth["key"]: auth["value"]} if auth.get("value") else {}

    def _no_answer(self, error: Exception, hint: str = CONTEXT) -> NoAnswerError:
        reason = _CONNECTION.sub("", one_line(getattr(error, "reason", None) or error))
        return NoAnswerError(
            f"the API server {self.host} of context {self._context} does not answer: {reason}; "
            f"{hint}"
        )


def with_query(path: str, query: Mapping[str, str]) -> str:
    """A path and its query, as they stand in a URL."""
    return f"{path}{'?' if query else ''}{urlencode(query)}"
