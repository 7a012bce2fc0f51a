"""This machine: its processor, CPUs, folders and files, and pauses of the garbage collector."""

from __future__ import annotations

import codecs
import gc
import os
import platform
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

# Where workers keep files, unless an option says otherwise; `in_hpo` says in which folder
HPO = ".hpo"
CACHE = Path(".hpo/cache")
WEIGHTS = Path(".hpo/weights")
ARTIFACTS = ".hpo/artifacts"  # a folder, or a bucket's URL
CACHE_SIZE = 16.0  # GiB of the cache that decoded images may take
# numpy's linear algebra starts threads when it is imported, unless this is set
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
CPUINFO = Path("/proc/cpuinfo")
VISIBLE = "CUDA_VISIBLE_DEVICES"  # which GPUs CUDA shows a process: numbers, UUIDs or MIG names
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # AVX-512 BF16, AMX, or Arm's


def in_hpo(path: Path) -> Path:
    """A path such as ``.hpo/cache``, in the nearest folder from here upwards that has ``.hpo``.

    So a command finds the studies of its repository from any folder in it. The search ends at the
    root of a git repository, and leaves out a ``.hpo`` that belongs to another user, as git does.

    Returns:
        The path, relative to the working folder; as it is where no folder above has ``.hpo``.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if _is_own(folder / HPO):
            return Path(os.path.relpath(folder / path, here))
        if (folder / ".git").exists():
            break
    return path


def repository_root() -> Path | None:
    """The nearest folder from here upwards that is a git repository's; None outside of any."""
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if (each / ".git").exists()), None)


def _is_own(folder: Path) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_uid == os.getuid()
    except OSError:  # it may not be looked into
        return False


def visible_gpus() -> list[str] | None:
    """The GPUs that the variable `VISIBLE` shows this process; None where it is not set."""
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return None
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [] if names[:1] in ([], ["-1"], ["NoDevFiles"]) else names


def cpu_name() -> str:
    """The processor's name, which Python does not know on Linux."""
    name = next(_cpuinfo("model name"), None)  # Arm's kernels have none
    return name or platform.processor() or platform.machine()


def has_bf16() -> bool:
    """Whether it has instructions for bf16; False where that is not known: outside of Linux."""
    lines = (line for key in ("flags", "Features") for line in _cpuinfo(key))
    flags = {flag for line in lines for flag in line.split()}
    return not flags.isdisjoint(BF16)


def _cpuinfo(key: str) -> Iterator[str]:
    """The values of ``key`` that the system has, one for each core."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            yield value.strip()


def cpus() -> int:
    """The CPUs this process may use, at least 1.

    The least of the machine's, of those it is bound to, and of its cgroup's CPU limit rounded up
    (versions 1 and 2), as a Kubernetes pod has one; torch and ``os.cpu_count`` see the machine's.
    """
    import joblib  # slow to import, and `--help` asks for the folders only

    return int(joblib.cpu_count())


@contextmanager
def collector_spared() -> Iterator[None]:
    """Let Python's garbage collector pass over all objects that there are now.

    A process that has imported fastai has a million of them, and a full collection after each
    trial would visit them all: that takes a third of a second. So would one in here, before the
    first trial.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which would visit the same objects again and again.

    That takes half of the time of reading ten thousand trials, and a quarter of importing fastai.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def sigterm_held() -> Iterator[None]:
    """Let a SIGTERM wait in here until `worker.signals.Stop` listens to it.

    The first process of a container would lose one for which it has no handler yet.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_threads() -> Iterator[dict[str, str | None]]:
    """Import numpy inside without the threads of its linear algebra: what has any cannot be forked.

    Yields:
        The variables as they were, for `restore` in a process that is started inside.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield before
    finally:
        restore(before)


def restore(environment: Mapping[str, str | None]) -> None:
    """Give these variables of this process their values again; None removes one."""
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def used_bytes(folder: Path) -> int:
    """What the files in a folder take of its disk; some that come or go meanwhile may be missed.

    Blocks of the disk are counted, as `du` does it, and what links lead to is not.

    Returns:
        Bytes; 0 where there is no such folder.
    """
    total = 0
    with suppress(OSError):
        for _, _, names, opened in os.fwalk(folder):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(name, dir_fd=opened).st_blocks * 512
    return total


def read_text(file: Path) -> str:
    """The content of a text file: UTF-8, with or without a byte order mark, any line ends.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is something else than UTF-8; the message says how to fix it.
    """
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("encoded as UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from error
    if "\0" in text:
        line = text.partition("\0")[0].count("\n") + 1
        raise ValueError(f"line {line} has a null byte, which no text has; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
