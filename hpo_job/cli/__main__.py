"""``python -m hpo_job.cli``: the ``hpo-job`` command, as ``python -m hpo_job`` is."""

from hpo_job.cli import main

if __name__ == "__main__":  # a spawned worker process imports this file under another name
    main(prog_name="hpo-job")
