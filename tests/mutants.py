"""``make test-mutants``: breaks a guarantee, one at a time, and sees whether a test turns red.

Each mutant is a line of the code as it is, and one that breaks what the README or a page of docs
promises. It is tried on a copy of the repository. A mutant whose line is gone is an error: change
it with the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
LIMIT = 1200  # seconds; a broken loop may have no end
LEFT_OUT = shutil.ignore_patterns(".*", "build", "site", "*.egg-info", "__pycache__")


@dataclass(frozen=True)
class Mutant:
    """A change that breaks a guarantee.

    Attributes:
        guarantee: the promise that is broken.
        file: below ``hpo_job/``.
        code: a piece of it that is there once.
        broken: what it is replaced by.
        tests: the arguments of pytest that run the tests which should turn red.
    """

    guarantee: str
    file: str
    code: str
    broken: str
    tests: str


MUTANTS = (
    Mutant(
        "the budget is exact: running trials hold a place",
        "study/admission.py",
        "ledger.evaluated + ledger.holding >= bound.trials",
        "ledger.evaluated >= bound.trials",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a promoted trial takes no second place in the budget",
        "study/ledger.py",
        "sum(not is_promotion(trial) for trial in running)",
        "len(list(running))",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "pods that have ended take no space on a node",
        "cluster/preflight/nodes.py",
        'used_by(pod for pod in pods if pod["status"].get("phase") != "Failed"), ""',
        'used_by(pods), ""',
        "tests/cluster/test_preflight.py",
    ),
    Mutant(
        "predict reads each file once",
        "artifacts/inference.py",
        "return list(dict.fromkeys(files))",
        "return files",
        "tests/artifacts/test_prediction_files.py",
    ),
    Mutant(
        "predict answers in the order of the files' names",
        "artifacts/inference.py",
        "else sorted(_readable(match, layout))",
        "else sorted(_readable(match, layout))[::-1]",
        "tests/artifacts/test_prediction_files.py",
    ),
    Mutant(
        "the budget is exact: one worker decides at a time",
        "study/admission.py",
        "storage.run_exclusively(study.study_name, lambda: _admit(study, spec, storage, ledger))",
        "_admit(study, spec, storage, ledger)",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "lost parameters run at most retries times",
        "study/recovery.py",
        "if _attempts(trial, trials) <= bound.retries:",
        "if _attempts(trial, trials) >= 0:",
        "tests/study tests/worker/test_loop.py",
    ),
    Mutant(
        "an interruption by Ctrl-C is free",
        "study/recovery.py",
        "count += attempt.user_attrs.get(attributes.REASON) != attributes.INTERRUPTED",
        "count += 1",
        "tests/study tests/worker/test_loop.py",
    ),
    Mutant(
        "a retry keeps its draw, so that a study repeats after an interruption",
        "study/admission.py",
        "drawn = retried(waiting, trials) or waiting",
        "drawn = waiting",
        "tests/study tests/worker/test_loop.py",
    ),
    Mutant(
        "a trial that breaks a constraint is never the best",
        "trial/counting.py",
        "        and keeps_constraints(trial)\n",
        "",
        "tests/trial tests/results",
    ),
    Mutant(
        "NaN is no value",
        "trial/counting.py",
        "        and not any(map(math.isnan, trial.values))\n",
        "",
        "tests/trial tests/results",
    ),
    Mutant(
        "a signal never interrupts what talks to a database",
        "worker/signals.py",
        "            return module != INTERRUPTIBLE\n",
        "            return False\n",
        "tests/worker/test_signals.py tests/worker/test_protected.py",
    ),
    Mutant(
        "a worker that waits for a server can be interrupted",
        "worker/signals.py",
        "            return module != INTERRUPTIBLE\n",
        "            return True\n",
        "tests/worker/test_signals.py tests/worker/test_protected.py",
    ),
    Mutant(
        "an objective that swallows the interruption is interrupted again",
        "worker/signals.py",
        "        signal.setitimer(signal.ITIMER_REAL, CLEANUP)\n",
        "",
        "tests/worker/test_signals.py",
    ),
    Mutant(
        "a trial that saves its state ends with the save, once it was asked to stop",
        "worker/signals.py",
        "        if self.requested and self._breaking:\n            self._raise()\n",
        "",
        "tests/worker/test_saving.py",
    ),
    Mutant(
        "an alarm that an objective has set does not stop it",
        "worker/signals.py",
        "if not self._breaking or not self.requested:",
        "if not self._breaking:",
        "tests/worker/test_signals.py",
    ),
    Mutant(
        "a study refuses another spec",
        "study/joining.py",
        "changed = difference(study.user_attrs[attributes.SPEC], spec.stored())",
        "changed: list[str] = []",
        "tests/study/test_joining.py",
    ),
    Mutant(
        "the last step is not pruned",
        "objectives/context.py",
        "self.pruned = not last and self.trial.should_prune()",
        "self.pruned = self.trial.should_prune()",
        "tests/worker/test_loop.py",
    ),
    Mutant(
        "a trial that goes on in mid-epoch goes on with its random numbers",
        "objectives/epochs.py",
        'self.batch, lambda: restore_random_numbers(self.learn, state["random"])',
        "self.batch, lambda: None",
        "tests/objectives/test_checkpoint.py",
    ),
    Mutant(
        "a trial that goes on keeps the order of its optimiser's memory",
        "objectives/checkpoint.py",
        "        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)"
        ".copy_(value)\n",
        "        return value\n",
        "tests/objectives/test_checkpoint.py",
    ),
    Mutant(
        "a trial that goes on keeps its optimiser's state",
        "objectives/checkpoint.py",
        """    learn.opt.load_state_dict({**optimiser, "hypers": L(optimiser["hypers"])})\n""",
        "",
        "tests/objectives/test_checkpoint.py",
    ),
    Mutant(
        "passwords are not shown: the query of a URL",
        "storage/urls.py",
        'value if key in _SAFE_QUERY_KEYS else "***"',
        "value",
        "tests/storage/test_urls.py",
    ),
    Mutant(
        "passwords are not shown: what drivers say",
        "storage/urls.py",
        '                text = text.replace(form, "***")\n',
        "                pass\n",
        "tests/storage/test_urls.py tests/storage/mysql/test_secrets.py",
    ),
    Mutant(
        "a deadlock of MySQL is tried again",
        "storage/mysql/faults.py",
        "        1213,  # deadlock\n",
        "",
        "tests/storage/mysql/test_faults.py",
    ),
    Mutant(
        "what was read under the lock is good for one more read only",
        "storage/mysql/reader.py",
        "(read, until), self._just_read = self._just_read, None",
        "read, until = self._just_read",
        "tests/storage/mysql/test_exclusive.py tests/storage/mysql/test_sharing.py "
        "tests/storage/mysql/test_view.py",
    ),
    Mutant(
        "what was read under the lock is good for that study only",
        "storage/mysql/reader.py",
        "return read == study_id and time.monotonic() < until",
        "return time.monotonic() < until",
        "tests/storage/mysql/test_exclusive.py",
    ),
    Mutant(
        "what others create without the lock is read",
        "storage/mysql/reader.py",
        "        if not (self.is_fresh(study_id) and self.view(study_id).add(trial)):\n"
        "            self.changed()\n",
        "        self.view(study_id).add(trial)\n",
        "tests/storage/mysql/test_exclusive.py",
    ),
    Mutant(
        "a study that is gone ends a worker with one line",
        "errors.py",
        "class GoneError(StorageError, KeyError):",
        "class GoneError(KeyError):",
        "tests/storage/test_deletion.py",
    ),
    Mutant(
        "a report escapes what studies contain",
        "report/page.py",
        "autoescape=True",
        "autoescape=False",
        "tests/report",
    ),
    Mutant(
        "exit code 1 where a later try may reach the database",
        "errors.py",
        'reach it."""\n\n    exit_code = 1',
        'reach it."""\n\n    exit_code = 2',
        "tests/storage/mysql/test_unknown_host.py",
    ),
    Mutant(
        "data behind a URL has the checksum that study.toml names",
        "data/fetch.py",
        "if digest != sha256:",
        "if not digest:",
        "tests/data/test_fetch.py",
    ),
    Mutant(
        "what is in an archive stays in its folder",
        "data/fetch.py",
        'archive.extractall(folder, filter="data")',
        'archive.extractall(folder, filter="fully_trusted")',
        "tests/data/test_fetch.py",
    ),
)


def main() -> int:
    """Try every mutant, or those whose guarantee contains the first argument."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    survivors = [mutant for mutant in MUTANTS if wanted in mutant.guarantee and survives(mutant)]
    for mutant in survivors:
        print(f"NOT NOTICED: {mutant.guarantee} ({mutant.file})")
    return 1 if survivors else 0


def survives(mutant: Mutant) -> bool:
    """Whether all tests pass although the guarantee is broken."""
    with tempfile.TemporaryDirectory(prefix="hpo-job-mutant-") as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        file = copy / "hpo_job" / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.code) != 1:
            raise SystemExit(f"{mutant.guarantee}: {mutant.file} no longer has its line once")
        file.write_text(text.replace(mutant.code, mutant.broken), encoding="utf-8")
        try:
            done = subprocess.run(
                [*PYTEST, *mutant.tests.split()],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(copy)},
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            print(f"ok  {mutant.guarantee}: no end within {LIMIT} s", flush=True)
            return False
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutant.guarantee}: pytest {done.returncode}\n{done.stdout[-2000:]}")
    red = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    print(f"{'ok ' if red else '-- '} {mutant.guarantee}: {red or 'all pass'}"[:160], flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
