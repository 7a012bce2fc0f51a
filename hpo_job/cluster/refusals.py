"""What a refusal of the API server means: the errors of this package, each of one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpo_job.errors import ClusterError, HpoJobError

NO_NAMESPACE = (
    "namespace {} does not exist; `kubectl apply -k k8s/cluster` creates the one that k8s/settings "
    "names"
)
# Of Kueue's webhook, beside "field is immutable": a priority class, on a Job that runs
_FIXED = ("immutable", "cannot be added to a non-suspended", "cannot be removed from a workload")
# "User ann cannot patch resource "jobs" in API group "batch""
_CANNOT = re.compile(r'cannot (\S+) resource "([^"]+)"(?: in API group "([^"]*)")?')


class NotFoundError(ClusterError):
    """The requested object does not exist."""


class NoAnswerError(ClusterError):
    """The API server, or a gateway before it, has no answer for now; asking again may help."""


class NoApiServerError(ClusterError):
    """Whatever answers is not an API server: a proxy, or a log-in page.

    Args:
        host: the URL that was asked.
        code: the HTTP status of the answer.
    """

    def __init__(self, host: str, code: int) -> None:
        self.code = code
        super().__init__(
            f"{host} answers, but not as a Kubernetes API server does; is there a log-in page or a "
            "proxy in front of it? kubectl cluster-info"
        )


class DeniedError(ClusterError):
    """The cluster rejects this account, so that asking again is of no use."""


class ForbiddenError(DeniedError):
    """The account of the kubeconfig lacks a right."""


class ImmutableError(ClusterError):
    """The object exists, and differs in a field that cannot be changed."""


class ExistsError(ClusterError):
    """An object of that name exists already."""


class QuotaError(ClusterError):
    """A quota of the namespace is used up."""


@contextmanager
def adding(what_is_so: str) -> Iterator[None]:
    """Let every error inside say as well what was changed before it; its exit code stays."""
    try:
        yield
    except HpoJobError as error:
        longer = ClusterError(f"{error}; {what_is_so}")
        longer.exit_code = error.exit_code
        raise longer from error


def error_of(code: int, body: bytes, namespace: str, host: str) -> ClusterError:
    """The error for an answer with an HTTP status of 400 or more.

    Args:
        code: the HTTP status.
        body: the answer; an API server sends a `Status` object as JSON.
        namespace: of the request, for the message.
        host: the URL of the server, for the message.
    """
    status = _status(body)
    message = " ".join(str(status.get("message") or code).split())
    if code == 401:
        return DeniedError("the cluster does not accept the kubeconfig's credentials; log in again")
    for_now = code >= 500 or code == 429  # overloaded, starting, or behind a gateway
    if not _is_api_server(code, status, message):
        page = NoApiServerError(host, code)
        return NoAnswerError(str(page)) if for_now else page
    if "exceeded quota" in message:
        quota = message.partition("exceeded quota: ")[2]
        return QuotaError(f"namespace {namespace}: quota {quota}")
    if code == 403 and "denied the request" in message:
        return _denied(message)
    if code == 403:
        return _forbidden(message, namespace)
    if code == 404:
        return _not_found(status, message, namespace)
    if code == 422:
        return _invalid(status, message)
    if status.get("reason") == "AlreadyExists":
        return ExistsError(f"the API server refuses: {message}")
    kind = NoAnswerError if for_now else ClusterError
    return kind(f"the API server refuses: {message}")


def _status(body: bytes) -> dict[str, Any]:
    try:
        status = json.loads(body)
    except ValueError:
        return {"message": body.decode(errors="replace")}
    return status if isinstance(status, dict) else {"message": str(status)}


def _is_api_server(code: int, status: dict[str, Any], message: str) -> bool:
    """Whether an API server wrote this. A proxy's 404 or HTML page says nothing of the object."""
    return not message.startswith("<") and (code != 404 or status.get("kind") == "Status")


def _forbidden(message: str, namespace: str) -> ForbiddenError:
    cannot = _CANNOT.search(message)
    if not cannot:
        return ForbiddenError(f"forbidden: {message}")
    verb, resource, group = cannot.groups()
    where = f" in namespace {namespace}" if "namespace" in message else ""
    name = f"{resource}.{group}" if group else resource
    return ForbiddenError(f"forbidden: this account may not {verb} {name}{where}")


def _denied(message: str) -> ClusterError:
    """An admission webhook has refused it: no right is missing."""
    kind = ImmutableError if any(words in message for words in _FIXED) else ClusterError
    return kind(f"the API server refuses: {message}")


def _not_found(status: dict[str, Any], message: str, namespace: str) -> NotFoundError:
    if (status.get("details") or {}).get("kind") == "namespaces":
        return NotFoundError(NO_NAMESPACE.format(namespace))
    return NotFoundError(f"namespace {namespace}: {message}")


def _invalid(status: dict[str, Any], message: str) -> ClusterError:
    if "immutable" in message:
        return ImmutableError(message)
    details = status.get("details") or {}
    causes = [f"{each.get('field')}: {each.get('message')}" for each in details.get("causes") or []]
    if not causes:
        return ClusterError(f"the API server refuses: {message}")
    return ClusterError(f"{details.get('kind')} {details.get('name')}: {'; '.join(causes)}")
