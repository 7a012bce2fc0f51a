"""The few modules of the `kubernetes` client that are used here, without all the others.

Its packages import 850 modules of generated classes, as many as all else that `hpo-job submit`
imports. So the packages themselves are left empty while their modules are imported, and are removed
again: whoever imports the client afterwards gets all of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = "kubernetes"
PACKAGES = (ROOT, f"{ROOT}.client", f"{ROOT}.stream", f"{ROOT}.utils")


def _parts() -> dict[str, Any]:
    """What is used, by the names that this module gives to it."""
    configuration = importlib.import_module(f"{ROOT}.client.configuration").Configuration
    client: Any = sys.modules[f"{ROOT}.client"]
    # kubernetes.config imports both from the package; the second is for functions not used here
    client.Configuration = configuration
    client.ApiClient = getattr(client, "ApiClient", None)
    names = {
        "client.rest": ["RESTClientObject"],
        "stream.ws_client": ["create_websocket", "get_websocket_url"],
        "utils.quantity": ["format_quantity", "parse_quantity"],
        "config": ["load_kube_config", "list_kube_config_contexts"],
        "config.config_exception": ["ConfigException"],
    }
    parts = {"Configuration": configuration}
    for module, attributes in names.items():
        imported = importlib.import_module(f"{ROOT}.{module}")
        parts |= {name: getattr(imported, name) for name in attributes}
    return parts


@contextmanager
def _empty_packages() -> Iterator[None]:
    """Let the packages of `PACKAGES` be empty while in here, unless they are imported already."""
    found = importlib.util.find_spec(ROOT)
    if ROOT in sys.modules or found is None or not found.submodule_search_locations:
        yield
        return
    folder = Path(next(iter(found.submodule_search_locations)))
    for name in PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in PACKAGES:
            del sys.modules[name]


def _load() -> dict[str, Any]:
    try:
        with _empty_packages():
            return _parts()
    except (ImportError, AttributeError):  # another release may need its packages
        importlib.import_module(ROOT)
        return _parts()


_loaded = _load()
Configuration = _loaded["Configuration"]
ConfigException: type[Exception] = _loaded["ConfigException"]
RESTClientObject = _loaded["RESTClientObject"]
create_websocket = _loaded["create_websocket"]
get_websocket_url = _loaded["get_websocket_url"]
format_quantity = _loaded["format_quantity"]
parse_quantity = _loaded["parse_quantity"]
load_kube_config = _loaded["load_kube_config"]
list_kube_config_contexts = _loaded["list_kube_config_contexts"]
