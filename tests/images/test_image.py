"""The workers' image, built for real where a builder is installed, without torch.

The base is debootstrap's, or what HPO_JOB_TEST_BASE_IMAGE names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from hpo_job import __version__
from hpo_job.objectives.downloads import BAKED_VARIABLE
from tests import ROOT
from tests.needs import find_program

DOCKERFILE = (ROOT / "images/Dockerfile").read_text()
TAG = "localhost/hpo-job:test"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # as Debian and Ubuntu have them


def test_what_the_dockerfile_promises() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    default = re.search(r"^ARG BASE_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert default and re.search(r"cuda:\d+\.\d+\.\d+-", default[1])  # pinned
    assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["/usr/bin/tini", "--", "hpo-job"]' in DOCKERFILE
    assert "--constraint constraints.txt" in DOCKERFILE


def test_the_image_has_what_jobs_may_name() -> None:
    """Data behind URLs, and buckets for the models."""
    default = re.search(r"^ARG EXTRAS=(\S+)", DOCKERFILE, re.MULTILINE)
    assert default
    assert {"fastai", "mysql", "remote", "s3", "gcs"} <= set(default[1].split(","))


def test_only_what_is_named_reaches_the_builder() -> None:
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    named = {name.split("/")[0] for names in copied for name in names.split()}
    assert named <= {line[1:] for line in lines if line.startswith("!")}


def test_what_is_locked_installs_on_the_oldest_python_of_a_base() -> None:
    """Debian 12 has 3.11.2: a package that wants 3.11.5 would end the build there."""
    locked = set((ROOT / "constraints.txt").read_text().lower().replace("_", "-").split())
    too_new = [
        f"{package.name} {package.version}: {wanted}"
        for package in distributions()
        if f"{package.name}=={package.version}".lower().replace("_", "-") in locked
        and "Requires-Python" in package.metadata
        and (wanted := package.metadata["Requires-Python"])
        and not SpecifierSet(wanted).contains("3.11.0")
    ]
    assert too_new == []


@pytest.mark.parametrize(
    ("variant", "extras"),
    [
        ("cuda", "fastai,demo,mysql,remote,s3,gcs,dashboard"),
        ("cpu", "fastai,demo,mysql,remote,s3,gcs,dashboard"),
        ("none", "mysql,remote,s3,gcs,dashboard"),
        ("gpu", None),
    ],
)
def test_variants_of_the_image(variant: str, extras: str | None) -> None:
    """What the build asks pip for: the Dockerfile's own command, with an echo for pip."""
    match = re.search(r"^RUN (case .*?)^COPY", DOCKERFILE, re.MULTILINE | re.DOTALL)
    default = re.search(r"^ARG EXTRAS=(\S+)", DOCKERFILE, re.MULTILINE)
    assert match and default
    script = f'pip() {{ echo "$PIP_EXTRA_INDEX_URL $*"; }}\n{match[1]}'
    environment = {"VARIANT": variant, "EXTRAS": default[1], "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    if extras is None:
        assert done.returncode == 2
        assert "VARIANT: cuda, cpu or none, found gpu" in done.stdout
    else:
        assert done.stdout.strip().endswith(f"install --constraint constraints.txt .[{extras}]")
        assert ("whl/cpu" in done.stdout) == (variant == "cpu")
        hashed = "--require-hashes --requirement requirements/image.txt"
        assert (hashed in done.stdout) == (variant == "cuda")


def test_weights_are_looked_for_where_the_build_puts_them() -> None:
    into = re.search(r"hpo-job weights \$\{WEIGHTS\} --weights (\S+?);", DOCKERFILE)
    assert into
    assert f"{BAKED_VARIABLE}={into[1]}" in DOCKERFILE


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    if named := os.environ.get("HPO_JOB_TEST_BASE_IMAGE"):
        return named
    root = tmp_path_factory.mktemp("base")
    run(str(find_program("debootstrap")), "--variant=minbase", "bookworm", str(root / "root"))
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", "--quiet", container, str(root / "root"), "/")
    run("buildah", "commit", "--rm", container, "localhost/hpo-job-base:test")
    shutil.rmtree(root)
    return "localhost/hpo-job-base:test"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A clone that only its owner may read, as under ``umask 077``."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (
        "Makefile",
        ".dockerignore",
        "images",
        "hpo_job",
        "jobs",
        "constraints.txt",
        "requirements",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):
        run("cp", "-r", str(ROOT / name), str(clone))
    run("chmod", "-R", "go=", str(clone))
    return clone


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.needs("image-build", "base-image")
def test_the_image_runs(base: str, private: Path, tmp_path: Path) -> None:
    # What this machine trusts, for pip alone: /etc/ssl/certs is the package ca-certificates' to
    # write, and a folder mounted over it would fail dpkg
    (tmp_path / "pip.conf").write_text("[global]\ncert = /run/trusted.crt\n")
    mounted = {tmp_path / "pip.conf": "/etc/pip.conf", CERTIFICATES: "/run/trusted.crt"}
    volumes = (f"--volume {here}:{there}:ro" for here, there in mounted.items())
    trust = " ".join(volumes) if CERTIFICATES.exists() else ""
    arguments = f"--pull-never --network host --isolation chroot {trust}"
    run(
        "make",
        "image",
        "BUILDER=buildah",
        f"BASE_IMAGE={base}",
        f"IMAGE={TAG}",
        "VARIANT=none",
        f"IMAGE_ARGS={arguments} --build-arg EXTRAS=mysql",
        cwd=private,
    )
    config = json.loads(run("buildah", "inspect", "--type", "image", TAG))["OCIv1"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "hpo-job"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    container = run("buildah", "from", "--pull-never", TAG).strip()
    try:
        # By exit codes: buildah's chroot may lose what a short process prints
        inside = ("buildah", "run", "--isolation", "chroot", container, "--", "sh", "-c")
        run(*inside, f"/usr/bin/tini -- hpo-job --version | grep -F {__version__}")
        run(*inside, "python3 -c 'import MySQLdb'")
        run(*inside, 'test "$(id -u):$(id -g)" = 10001:10001')
        run(*inside, "cat /opt/hpo-job/jobs/people-vs-animals/data/*/* > /dev/null")
    finally:
        run("buildah", "rm", container)
