"""Whether all nodes would run the same image, and can get it."""

from __future__ import annotations

from hpo_job.cluster.client import Object
from hpo_job.cluster.preflight.findings import Findings


def check_image(pod: Object, findings: Findings) -> None:
    """Look at the images' tags and pull policies."""
    for container in pod["containers"]:
        image, policy = str(container["image"]), container.get("imagePullPolicy")
        findings.checked.append(f"image {image}, pull policy {policy or 'by its tag'}")
        name = image.rsplit("/", 1)[-1]
        moving = "@" not in name and name.partition(":")[2] in ("", "latest")
        if moving and policy != "Always":
            findings.warnings.append(
                f"image {image} has no fixed tag, and pull policy {policy}: nodes may run "
                "different ones; give it a tag in k8s/settings"
            )
        if policy == "Never":
            findings.warnings.append(f"pull policy Never: {image} must be on every node already")
