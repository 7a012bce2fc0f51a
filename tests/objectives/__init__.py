import os

# Loader processes of trials in the tests' own process: commands read the same variable
_forced = os.environ.get("HPO_JOB_LOADER_WORKERS")
LOADER_WORKERS = int(_forced) if _forced else None
