"""What ``init`` proposes: a study.toml for a folder or table that hpo-job has looked at."""
