"""``make test-mutants``: breaks a guarantee, one at a time, and sees whether a test turns red.

Each mutant is a line of the code as it is, and one that breaks what the README or a page of docs
promises. It is tried on a copy of the repository. A mutant whose line is gone is an error, which
tests/test_mutants.py finds: change it with the code.
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

    def apply(self, text: str) -> str:
        """The text of its file with the guarantee broken.

        Raises:
            LookupError: the piece is not there once; it has changed with the code.
        """
        if text.count(self.code) != 1:
            raise LookupError(f"{self.guarantee}: {self.file} no longer has its line once")
        return text.replace(self.code, self.broken)


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
        'pod["status"].get("phase") != "Failed" and ',
        "",
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
        "return _attempts(trial, trials) <= retries",
        "return True",
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
        "        if (self.requested or self.fault) and self._breaking:\n"
        "            self._raise()\n",
        "",
        "tests/worker/test_saving.py",
    ),
    Mutant(
        "an alarm that an objective has set does not stop it",
        "worker/signals.py",
        "if not self._breaking or not (self.requested or self.fault):",
        "if not self._breaking:",
        "tests/worker/test_signals.py",
    ),
    Mutant(
        "a study refuses another spec",
        "study/sameness.py",
        "changed = difference(attrs[attributes.SPEC], spec.stored())",
        "changed: list[str] = []",
        "tests/study/test_joining.py",
    ),
    Mutant(
        "the last step is not pruned",
        "objectives/context.py",
        "stops = not last and self.trial.should_prune()",
        "stops = self.trial.should_prune()",
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
        "tables that were left half created are completed",
        "storage/optuna_private.py",
        "            index.create(connection, checkfirst=True)\n",
        "            pass\n",
        "tests/storage/test_creation.py",
    ),
    Mutant(
        "PostgreSQL's lock is held by the transaction that creates the tables",
        "storage/opening.py",
        'lambda: lock.transaction("schema")',
        "engine.begin",
        "tests/storage/test_creation.py",
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
    Mutant(
        "a study that promotes trials is not over while one runs",
        "study/admission.py",
        "return Refusal.FULL if promotes and ledger.running else Refusal.USED_UP",
        "return Refusal.USED_UP",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a quota keeps only further pods from running",
        "cluster/preflight/limits.py",
        "for quota in quotas if more > 0 else []:",
        "for quota in quotas:",
        "tests/cluster/test_preflight.py",
    ),
    Mutant(
        "a pruned trial uses up a place in the budget",
        "trial/counting.py",
        "EVALUATED = (TrialState.COMPLETE, TrialState.PRUNED)",
        "EVALUATED = (TrialState.COMPLETE,)",
        "tests/study/test_admission.py tests/trial",
    ),
    Mutant(
        "the trial of a worker that died on this machine is run again at once",
        "study/recovery.py",
        "if not (number in stale or is_gone(worker)):",
        "if number not in stale:",
        "tests/study/test_admission.py tests/study/test_successor.py",
    ),
    Mutant(
        "a trial without a heartbeat is run again after the grace",
        "study/recovery.py",
        "if not (number in stale or is_gone(worker)):",
        "if not is_gone(worker):",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a worker sends heartbeats",
        "worker/loop.py",
        "                storage.optuna.record_heartbeat(number)\n",
        "",
        "tests/worker/test_heartbeat.py",
    ),
    Mutant(
        "a worker that runs looks for lost trials",
        "worker/loop.py",
        "                    recover(study, storage, ledger, trial.number)\n",
        "",
        "tests/worker/test_loop.py",
    ),
    Mutant(
        "a process of another machine is not taken for a dead one of this machine",
        "study/workers.py",
        '    elif worker.get("host") != mine["host"]:\n        return False\n',
        "",
        "tests/study/test_successor.py",
    ),
    Mutant(
        "a study refuses other data",
        "study/sameness.py",
        'if attrs[attributes.PROVENANCE]["data_listing"] == data_listing(spec, data):',
        "if True:",
        "tests/study/test_joining.py",
    ),
    Mutant(
        "a study refuses another function",
        "study/sameness.py",
        "    if not files:\n        return\n",
        "    return\n",
        "tests/study/test_joining.py",
    ),
    Mutant(
        "a function is another one if only a module next to it has changed",
        "study/source_files.py",
        'yield from (here / name for name in names if name.endswith(".py"))',
        "yield from ()",
        "tests/study/test_joining.py",
    ),
    Mutant(
        "the budget may change while a study goes on",
        "study/sameness.py",
        '("budget.", "artifacts.", "checkpoint.", "cluster.")',
        '("artifacts.", "checkpoint.", "cluster.")',
        "tests/study/test_joining.py tests/study/test_admission.py",
    ),
    Mutant(
        "no two trials share a sampler's seed",
        "study/admission.py",
        "study.sampler = make_sampler(spec, draw)",
        "study.sampler = make_sampler(spec, 0)",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a study ends after as many trials without an improvement as its patience",
        "study/admission.py",
        "return ledger.improvements.since(bound.min_delta) >= bound.patience",
        "return ledger.improvements.since(bound.min_delta) > bound.patience",
        "tests/study/test_improvements.py",
    ),
    Mutant(
        "a lost trial does not count as working time",
        "study/ledger.py",
        "        if trial.datetime_start and trial.datetime_complete and not lost:\n",
        "        if trial.datetime_start and trial.datetime_complete:\n",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a damaged state is skipped",
        "artifacts/checkpoints.py",
        "            if digest != checkpoint.sha256:\n"
        '                raise DamagedError("its contents are not what was saved")\n',
        "",
        "tests/worker/test_saving.py",
    ),
    Mutant(
        "the state before a damaged one is kept",
        "study/attempts.py",
        "KEPT = 2 ",
        "KEPT = 1 ",
        "tests/worker/test_saving.py",
    ),
    Mutant(
        "a state of other parameters is skipped",
        "artifacts/checkpoints.py",
        "            if record[key] != value:\n",
        "            if False:\n",
        "tests/worker/test_saving.py",
    ),
    Mutant(
        "nothing in a saved state is executed",
        "trial/checkpoint_file.py",
        "np.lib.format.read_array(member, allow_pickle=False)",
        "np.lib.format.read_array(member, allow_pickle=True)",
        "tests/trial/test_checkpoint_file.py",
    ),
    Mutant(
        "repeating what killed a worker is no progress",
        "study/attempts.py",
        "    if saved_work(trial) == 0.0 and any(map(checkpoints, before)):\n"
        "        return False\n",
        "",
        "tests/study/test_attempts.py",
    ),
    Mutant(
        "work that an attempt has lost is counted once",
        "study/attempts.py",
        "        if attributes.LOST_SECONDS in attempt.user_attrs:\n"
        "            break  # what was lost before it is counted there\n",
        "",
        "tests/study/test_attempts.py",
    ),
    Mutant(
        "of a paused trial only the newest state is continued",
        "study/attempts.py",
        "states += own[:1] if is_paused(attempt) else own",
        "states += own",
        "tests/study/test_attempts.py",
    ),
    Mutant(
        "a study ends with the trials or the time of its budget, whichever is used up first",
        "results/forecast.py",
        "return Forecast(rate, min(remaining), later(now, min(remaining)))",
        "return Forecast(rate, max(remaining), later(now, max(remaining)))",
        "tests/results/test_forecast.py",
    ),
    Mutant(
        "the overhead counts a statement once",
        "results/overhead.py",
        "max(storage - lock - sampling, 0.0) + recording",
        "storage + recording",
        "tests/results/test_overhead.py",
    ),
    Mutant(
        "the log of a pod that has ended is read to its end, also after a cut",
        "cluster/logs.py",
        "goes_on = writes or isinstance(error, NoAnswerError)",
        "goes_on = writes",
        "tests/cluster/test_logs.py",
    ),
    Mutant(
        "connections to another server do not become free for a replacement",
        "cluster/preflight/database.py",
        "            ended = replace(ended, workers=0)\n",
        "            pass\n",
        "tests/cluster/test_freed.py",
    ),
    Mutant(
        "an API server that is away does not end the wait for a deleted Job",
        "cluster/existing.py",
        "    except ClusterError as error:\n        return str(error)\n",
        "    except ClusterError:\n        raise\n",
        "tests/cluster/test_half_done.py",
    ),
    Mutant(
        "submitting warns of more workers than the database has connections for",
        "cluster/preflight/database.py",
        "    if capacity < more:",
        "    if capacity < 0:",
        "tests/cluster/test_findings.py",
    ),
    Mutant(
        "submitting warns of an image that may differ between nodes",
        "cluster/preflight/image.py",
        'if moving and policy != "Always":',
        'if moving and policy == "Always":',
        "tests/cluster/test_findings.py",
    ),
    Mutant(
        "a worker does not take its own trial for lost",
        "study/recovery.py",
        "trial.state != TrialState.RUNNING or trial.number == running",
        "trial.state != TrialState.RUNNING",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a promotion that is broken off keeps its rung",
        "study/recovery.py",
        "user_attrs={attributes.RETRY_OF: trial.number, **rung}",
        "user_attrs={attributes.RETRY_OF: trial.number}",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "no trial is promoted for want of others while one runs",
        "study/admission.py",
        "last = over and not ledger.running",
        "last = over",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "who starts what plain Optuna has enqueued is known",
        "study/admission.py",
        "    if attributes.WORKER not in trial.user_attrs:\n",
        "    if False:\n",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "an enqueued trial that was broken off keeps its parameters",
        "study/recovery.py",
        "parameters = {**fixed_params(trial), **trial.params}",
        "parameters = dict(trial.params)",
        "tests/study/test_admission.py",
    ),
    Mutant(
        "a worker gives up after so many failures in a row",
        "worker/loop.py",
        "len(failures) >= budget(study).failures",
        "len(failures) > budget(study).failures",
        "tests/worker/test_loop.py",
    ),
    Mutant(
        "one trial that succeeds ends a row of failures",
        "worker/failures.py",
        "return failures if outcome.state == TrialState.FAIL else []",
        "return failures",
        "tests/worker/test_loop.py",
    ),
    Mutant(
        "Ctrl-C is told apart from SIGTERM",
        "worker/signals.py",
        "signal.SIGTERM: attributes.PREEMPTED",
        "signal.SIGTERM: attributes.INTERRUPTED",
        "tests/worker/test_signals.py tests/worker/test_loop.py",
    ),
    Mutant(
        "exit codes 130 and 143 after a signal",
        "worker/signals.py",
        "return 128 + self.requested if self.requested else 0",
        "return 0",
        "tests/worker/test_signals.py tests/worker/test_loop.py",
    ),
    Mutant(
        "an objective that made a result of its interruption is run again",
        "worker/loop.py",
        "        if self._stop.broke_off:  # whatever the objective made of Stopped: "
        "a result, an error\n            outcome = self._broken_off()\n",
        "",
        "tests/worker/test_signals.py tests/worker/test_loop.py",
    ),
    Mutant(
        "only the models of the best trials are kept",
        "artifacts/models.py",
        "return self._ranked(trials)[: self.keep]",
        "return self._ranked(trials)",
        "tests/artifacts/test_models.py",
    ),
    Mutant(
        "with repeats the model of the best one is kept",
        "worker/repeats.py",
        "(self.values[-1] > _numbers(self.kept)) == maximize",
        "(self.values[-1] > _numbers(self.kept)) != maximize",
        "tests/worker/test_repeats.py",
    ),
    Mutant(
        "each repeat has a seed of its own",
        "worker/repeats.py",
        "seed=(context.seed + number) % 2**32",
        "seed=context.seed",
        "tests/worker/test_repeats.py",
    ),
    Mutant(
        "of trials that are nearly as good, best names the fastest",
        "results/ranking.py",
        "fastest = min(near, key=lambda trial: measure(trial, near)[0])",
        "fastest = near[0]",
        "tests/results",
    ),
    Mutant(
        "a Pareto front has no trial that another beats",
        "results/pareto.py",
        "(values <= one).all(axis=1) & (values < one).any(axis=1)",
        "(values < one).all(axis=1)",
        "tests/results",
    ),
    Mutant(
        "nearly as good is a share of the gain over the baseline",
        "results/gain.py",
        "    return best - share * (best - start)\n",
        "    return best - share * best\n",
        "tests/results",
    ),
    Mutant(
        "a study is not deleted while its trials run",
        "artifacts/tidying.py",
        "    if running:\n",
        "    if False:\n",
        "tests/storage/test_tidying.py",
    ),
    Mutant(
        "a paused trial is promoted if it is among the best of its rung",
        "study/promotion.py",
        "for trial in reached[: len(reached) // self.reduction_factor]:",
        "for trial in reached:",
        "tests/worker/test_promotion.py",
    ),
    Mutant(
        "a trial is compared only within its phase",
        "study/phase_pruner.py",
        'if all(other[key] == phase[key] for key in ("name", "metric", "direction")):',
        "if True:",
        "tests/study/test_phase_pruner.py",
    ),
    Mutant(
        "measurements that were copied into a trial are not its own",
        "worker/loop.py",
        "            _forget_measurements(trial)\n",
        "",
        "tests/worker/test_repeats.py",
    ),
    Mutant(
        "a worker of the same pod is not taken for gone",
        "study/workers.py",
        'if "pod" not in mine or worker.get("pod") != mine["pod"]:',
        "if True:",
        "tests/study/test_successor.py",
    ),
    Mutant(
        "a signal before a worker listens is not lost",
        "machine.py",
        "before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        "before = signal.pthread_sigmask(signal.SIG_BLOCK, [])",
        "tests/worker/test_pod.py",
    ),
    Mutant(
        "the workers of a GPU share its memory",
        "worker/fork_server.py",
        "self._assigned.count(gpu) if gpu else 1",
        "1",
        "tests/worker/test_pod.py",
    ),
    Mutant(
        "the address of a port-forward is not shown",
        "storage/mysql/faults.py",
        'reason = in_users_words(" ".join(str(detail).split()))',
        'reason = " ".join(str(detail).split())',
        "tests/storage/mysql/test_cluster_words.py",
    ),
    Mutant(
        "what is needed of an API server is asked at once",
        "cluster/database.py",
        "ahead if at_once else ()",
        "()",
        "tests/storage/mysql/test_through_a_cluster.py",
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
        file.write_text(mutant.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
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
