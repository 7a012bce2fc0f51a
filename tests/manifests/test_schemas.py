"""Every object that k8s/ can render is valid for the API, and has no field that it does not know.

The OpenAPI schemas of each Kubernetes version come with the package kubernetes-validate. Kueue's
labels and annotations are free text for them, and so are the names of devices.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from hpo_job.cluster.render import render
from tests import ROOT
from tests.manifests.renders import FOLDERS, with_components, with_examples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the validator's own imports
    import kubernetes_validate

Object = dict[str, Any]
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
COMPONENTS = sorted(folder.name for folder in (ROOT / "k8s/components").iterdir())


def switched_in(file: str) -> list[str]:
    """The components that a kustomization.yaml lists, switched on or not."""
    text = (ROOT / "k8s" / file / "kustomization.yaml").read_text()
    return [name for name in COMPONENTS if f"- ../components/{name} " in text.replace("\n", " \n")]


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    """What each folder renders; with each component by itself; with all examples switched on."""
    folder = tmp_path_factory.mktemp("each")
    found = {name: render(path) for name, path in FOLDERS.items()}
    for name in switched_in("settings"):
        clone = with_components(folder / name, (name,), ())
        found[name] = render(clone / "jobs/digits")
    for name in switched_in("cluster"):
        clone = with_components(folder / name, (), (name,))
        found[name] = render(clone / "k8s/cluster")
    clone = with_examples(with_components(folder / "examples", ("gpu", "kueue"), ()))
    found["examples"] = [
        thing for place in ("jobs/digits", "k8s/mysql") for thing in render(clone / place)
    ]
    return found


def test_every_component_can_be_switched_on() -> None:
    assert sorted(switched_in("settings") + switched_in("cluster")) == COMPONENTS


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(objects: dict[str, list[Object]], version: str) -> None:
    assert {*COMPONENTS, "mysql", "cluster", "examples"} <= objects.keys()
    for things in objects.values():
        assert things
        for thing in things:
            kubernetes_validate.validate(thing, version, strict=True)


def test_a_misspelt_key_of_any_kind_is_found(objects: dict[str, list[Object]]) -> None:
    """At any depth: wherever there is a table whose keys the API names."""
    kinds = {thing["kind"]: thing for things in objects.values() for thing in things}
    assert {"Job", "CronJob", "StatefulSet", "ResourceClaimTemplate", "RoleBinding"} <= kinds.keys()
    for thing in kinds.values():
        for wrong in misspelt(thing):
            with pytest.raises(kubernetes_validate.ValidationError, match="misspelt"):
                kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def misspelt(thing: Object) -> Iterator[Object]:
    """Copies of an object with one more key: in itself, and in its spec and its pod's."""
    for path in (
        (),
        ("spec",),
        ("spec", "template", "spec"),
        ("spec", "template", "spec", "containers"),
    ):
        wrong = copy.deepcopy(thing)
        place: Any = wrong
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        table = place[0] if isinstance(place, list) and place else place
        if isinstance(table, dict):
            table["misspelt"] = 1
            yield wrong


def test_the_examples_of_the_settings_are_in_the_pods(objects: dict[str, list[Object]]) -> None:
    (job,) = [thing for thing in objects["examples"] if thing["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    assert (pod["runtimeClassName"], pod["priorityClassName"]) == ("nvidia", "low")
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "-mmin +120" in pod["containers"][0]["livenessProbe"]["exec"]["command"][-1]


def test_a_gpu_component_asks_for_one_device(objects: dict[str, list[Object]]) -> None:
    """And tolerates the taint of its vendor's nodes."""
    devices = {}
    for name in (each for each in COMPONENTS if each.startswith("gpu") and each != "gpu-dra-claim"):
        (job,) = [thing for thing in objects[name] if thing["kind"] == "Job"]
        pod = job["spec"]["template"]["spec"]
        (worker,) = pod["containers"]
        limits = worker["resources"]["limits"]
        asked = [key for key in limits if "/" in key] + worker["resources"].get("claims", [])
        assert len(asked) == 1, name
        devices[name] = asked[0] if isinstance(asked[0], str) else "claim"
        vendor = devices[name].partition("/")[0] if "/" in devices[name] else "nvidia.com"
        assert [each for each in pod["tolerations"] if each["key"].startswith(vendor)], name
    assert devices == {
        "gpu": "nvidia.com/gpu",
        "gpu-amd": "amd.com/gpu",
        "gpu-dra": "claim",
        "gpu-intel": "gpu.intel.com/xe",
        "gpu-mig": "nvidia.com/mig-1g.10gb",
        "gpu-shared": "nvidia.com/gpu.shared",
    }
