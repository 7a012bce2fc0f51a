"""The manifests of k8s/ in a user's own repository, as the package brings them along."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hpo_job.errors import ClusterError

SHIPPED = Path(__file__).parent / "k8s"  # in a clone a link to k8s/; a folder where installed
FOLDER = "k8s"


@dataclass(frozen=True)
class Laid:
    """What `lay_manifests` did, as paths below the repository.

    Attributes:
        written: files that are new.
        kept: files that were there already, and differ from the shipped ones.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def lay_manifests(repository: Path) -> Laid:
    """Copy k8s/ into a repository; a file that is there already is never changed.

    The manifests name each other by relative paths, and nothing of this machine, so every clone
    of the repository renders the same objects.

    Raises:
        ClusterError: a file cannot be written.
    """
    shipped = sorted(SHIPPED.rglob("*.yaml"))
    if not shipped:
        raise ClusterError(
            f"{SHIPPED}: this installation comes without manifests, as the workers' image does; "
            "pip install 'hpo-job[kubernetes]' on your own machine"
        )
    laid = Laid()
    for source in shipped:
        file = Path(FOLDER) / source.relative_to(SHIPPED)
        content = source.read_bytes()
        try:
            if (repository / file).exists():
                if (repository / file).read_bytes() != content:
                    laid.kept.append(file)
                continue
            (repository / file).parent.mkdir(parents=True, exist_ok=True)
            (repository / file).write_bytes(content)
        except OSError as error:
            raise ClusterError(f"{repository / file}: {error.strerror}") from error
        laid.written.append(file)
    return laid


def manifests_above(folder: Path, name: str) -> Path | None:
    """The nearest ``k8s/NAME`` in a folder or above it; None if there is none."""
    here = folder.resolve()
    places = (place / FOLDER / name for place in (here, *here.parents))
    return next((place for place in places if place.is_dir()), None)
