"""Reading the kubeconfig through the `kubernetes` client, with errors of one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hpo_job.cluster.client_parts import (
    ConfigException,
    Configuration,
    list_kube_config_contexts,
    load_kube_config,
)
from hpo_job.errors import ClusterError, one_line

# What the client raises for a file that is not a kubeconfig: it does not check that itself
_BROKEN = (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)


def load(context: str | None) -> tuple[Any, dict[str, Any]]:
    """Load the kubeconfig.

    Args:
        context: the name of a context; the current one by default.

    Returns:
        The client's configuration, and the context's entry: cluster, user, perhaps a namespace;
        its name with it, as `name`.

    Raises:
        ClusterError: there is no kubeconfig, or it leads to no cluster.
    """
    configuration = Configuration()
    file = os.environ.get("KUBECONFIG") or None  # the client reads it at import time only
    try:
        with _logged_errors() as errors:
            load_kube_config(file, context, client_configuration=configuration)
        if errors:  # the client only logs that a log-in plugin failed, and goes on anonymously
            raise ClusterError(f"the kubeconfig's credentials: {errors[-1]}")
        active = _context(file, context)
        configuration.proxy = _proxy(file, str(active.get("cluster"))) or configuration.proxy
    except ConfigException as error:
        raise ClusterError(_no_kubeconfig(error, context)) from error
    except _BROKEN as error:
        reason = one_line(error) or type(error).__name__
        raise ClusterError(
            f"the kubeconfig {file or '~/.kube/config'} cannot be read: {reason}"
        ) from error
    return configuration, active


def _context(file: str | None, name: str | None) -> dict[str, Any]:
    """The entry of a context: its cluster, its user, perhaps a namespace."""
    if name is None:
        _, active = list_kube_config_contexts(file)
        return {**(active.get("context") or {}), "name": active.get("name")}
    # the client's own function needs a current context, even where another is asked for
    named = (each for each in _entries(file, "contexts") if each["name"] == name)
    return {**next(named)["context"], "name": name}


def _proxy(file: str | None, cluster: str) -> str | None:
    """The `proxy-url` of a cluster, which the client does not read."""
    for each in _entries(file, "clusters"):
        if each.get("name") == cluster:
            return (each.get("cluster") or {}).get("proxy-url")
    return None


def _entries(file: str | None, kind: str) -> Iterator[dict[str, Any]]:
    """The clusters or contexts in all files of a kubeconfig; of equal names the first counts."""
    for path in (file or str(Path("~/.kube/config").expanduser())).split(os.pathsep):
        if path and Path(path).is_file():
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig")) or {}
            yield from content.get(kind) or []


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect what is logged as an error meanwhile, instead of printing it."""
    errors: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(one_line(record.getMessage()))

    root, collector = logging.getLogger(), Collector(logging.ERROR)
    before = root.handlers[:]
    root.handlers[:] = [collector]
    try:
        yield errors
    finally:
        root.handlers[:] = before


def _no_kubeconfig(error: Exception, context: str | None) -> str:
    text = one_line(error)
    if context and context in text:
        return f"context {context!r} is not in the kubeconfig; see kubectl config get-contexts"
    return f"no kubeconfig ({text}); set KUBECONFIG to the file that names your cluster"
