"""hpo-job as it is where it was not installed, but only put on Python's path: no record of it."""

from importlib import metadata

find = metadata.Distribution.from_name


def find_others(name: str) -> metadata.Distribution:
    if name.replace("_", "-") == "hpo-job":
        raise metadata.PackageNotFoundError(name)
    return find(name)


metadata.Distribution.from_name = find_others  # type: ignore[method-assign]
