"""The kubeconfig: read by the `kubernetes` client, and what is wrong with it in one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from hpo_job.errors import ClusterError

# What the client raises for a file that is no kubeconfig: it looks no closer itself
_BROKEN = (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)


def load(context: str | None) -> tuple[Any, dict[str, Any]]:
    """The client's configuration for a context, or the current one; and what the context says.

    Raises ClusterError where there is no kubeconfig, or none that leads to a cluster.
    """
    configuration = client.Configuration()
    file = os.environ.get("KUBECONFIG") or None  # the client looks when it is imported
    try:
        with _heard() as said:
            config.load_kube_config(file, context, client_configuration=configuration)
        if said:  # a plugin that failed is logged, and all calls would then be anonymous
            raise ClusterError(f"the kubeconfig's credentials: {said[-1]}")
        active = _context(file, context)
        configuration.proxy = _proxy(file, str(active.get("cluster"))) or configuration.proxy
    except ConfigException as error:
        raise ClusterError(_no_kubeconfig(error, context)) from error
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ClusterError(
            f"the kubeconfig {file or '~/.kube/config'} cannot be read: {reason}"
        ) from error
    return configuration, active


def _context(file: str | None, name: str | None) -> dict[str, Any]:
    """What the kubeconfig says of a context: its cluster, its user, perhaps a namespace."""
    if name is None:
        _, active = config.list_kube_config_contexts(file)
        return dict(active.get("context") or {})
    # that of the client wants a current one, even where another was asked for
    named = (each for each in _entries(file, "contexts") if each["name"] == name)
    return dict(next(named)["context"])


def _proxy(file: str | None, cluster: str) -> str | None:
    """The `proxy-url` of a cluster, which the client does not read."""
    for each in _entries(file, "clusters"):
        if each.get("name") == cluster:
            return (each.get("cluster") or {}).get("proxy-url")
    return None


def _entries(file: str | None, kind: str) -> Iterator[dict[str, Any]]:
    """The clusters or contexts of all files of a kubeconfig; the first of a name counts."""
    for path in (file or str(Path("~/.kube/config").expanduser())).split(os.pathsep):
        if path and Path(path).is_file():
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            yield from found.get(kind) or []


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What is logged as an error inside, in place of being printed."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(" ".join(record.getMessage().split()))

    root, ear = logging.getLogger(), Ear(logging.ERROR)
    before = root.handlers[:]
    root.handlers[:] = [ear]
    try:
        yield said
    finally:
        root.handlers[:] = before


def _no_kubeconfig(error: Exception, context: str | None) -> str:
    text = " ".join(str(error).split())
    if context and context in text:
        return f"context {context!r} is not in the kubeconfig; see kubectl config get-contexts"
    return f"no kubeconfig ({text}); set KUBECONFIG to the file that names your cluster"
