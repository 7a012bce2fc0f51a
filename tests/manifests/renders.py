"""What Kustomize renders, kept as golden files: ``python -m tests.manifests.renders`` renews them.

What a job's files say is left out, and with it the hash in the ConfigMap's name, so that a
changed study.toml changes no golden file.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from hpo_job.cluster.render import render
from tests import ROOT

GOLDEN = Path(__file__).parent / "golden"
JOBS = sorted(file.parent for file in ROOT.glob("jobs/*/kustomization.yaml"))
FOLDERS = {
    **{f"job-{folder.name}": folder for folder in JOBS},
    "cluster": ROOT / "k8s/cluster",
    "mysql": ROOT / "k8s/mysql",
}
# Everything that may be switched on, in a copy of k8s/
WORKER_COMPONENTS = ("gpu", "spot", "pack", "arch", "cache", "kueue")
CLUSTER_COMPONENTS = (
    "network-policy",
    "cache-volume",
    "dashboard",
    "gpu-dra-claim",
    "backup",
    "keep-workers",
    "roles",
)
Object = dict[str, Any]


def with_components(folder: Path, worker: tuple[str, ...], cluster: tuple[str, ...]) -> Path:
    """A copy of k8s/ and jobs/digits under ``folder`` with these components switched on."""
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    shutil.copytree(ROOT / "jobs/digits", folder / "jobs/digits")
    settings = folder / "k8s/settings/kustomization.yaml"
    text = settings.read_text()
    for name in worker:
        assert f"\n#  - ../components/{name} " in text
        text = text.replace(f"#  - ../components/{name} ", f"  - ../components/{name} ")
    settings.write_text(text)
    shared = folder / "k8s/cluster/kustomization.yaml"
    before, _, _ = shared.read_text().partition("components:")
    listed = "".join(f"  - ../components/{name}\n" for name in cluster)
    shared.write_text(f"{before}components:\n{listed}  - ../settings\n")
    return folder


def with_examples(folder: Path) -> Path:
    """The same clone, with all patches of its settings that are only shown switched on."""
    settings = folder / "k8s/settings/kustomization.yaml"
    before, mark, after = settings.read_text().partition("  # With components/gpu: how many GPUs\n")
    assert mark
    after = after.replace("  # - target", "  - target").replace("  #   ", "    ")
    settings.write_text(before + mark + after)
    return folder


def text_of(objects: list[Object]) -> str:
    """Objects as a golden file keeps them."""
    for thing in objects:
        if thing["kind"] == "ConfigMap":
            thing["data"] = dict.fromkeys(thing.get("data") or {}, "(its content)")
    text = yaml.safe_dump_all(objects, sort_keys=True, width=100)
    return re.sub(r"-study-[a-z0-9]{10}\b", "-study-HASH", text)


def rendered(tmp: Path) -> dict[str, str]:
    """The text of every golden file as it should be now."""
    texts = {name: text_of(render(folder)) for name, folder in FOLDERS.items()}
    every = with_components(tmp, WORKER_COMPONENTS, CLUSTER_COMPONENTS)
    texts["components-job"] = text_of(render(every / "jobs/digits"))
    texts["components-cluster"] = text_of(render(every / "k8s/cluster"))
    return texts


def main() -> None:
    """Write the golden files anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as tmp:
        texts = rendered(Path(tmp) / "all")
    for file in GOLDEN.glob("*.yaml"):
        file.unlink()
    for name, text in texts.items():
        (GOLDEN / f"{name}.yaml").write_text(text)
        print(f"{GOLDEN / name}.yaml")


if __name__ == "__main__":
    main()
