"""Compare this tool with others at the same work, all in one run, and write the tables.

    python benchmarks/bench.py                       # every table: about half an hour
    python benchmarks/bench.py sleeping --quick      # to try it
    python benchmarks/bench.py search --seeds 5

Tables: ``sleeping`` (trials that only wait: what starting, sharing and ending cost), ``images``
(people-vs-animals with a fixed list of trials), ``search`` (the same with search and pruning),
``startup`` (of workers, and their memory) and ``growth`` (of workers and trials). They are written
to build/bench as Markdown and JSON. Close everything else on the machine first: the load before the
run is noted with them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import sleeping
import training
from measuring import write

TABLES = ("sleeping", "images", "search", "startup", "growth")


def main() -> None:
    options = _options()
    for name in options.tables or TABLES:
        print(f"\n{name}", flush=True)
        if name == "sleeping":
            write(name, sleeping.tables(options.quick, options.repeats), options.repeats)
        elif name == "images":
            write(name, training.fixed(options.quick, options.repeats), options.repeats)
        elif name == "search":
            write(name, training.search(options.quick, options.seeds), options.seeds)
        else:
            script = Path(__file__).with_name(f"{name}.py")
            if script.exists():
                subprocess.run([sys.executable, script, *["--quick"] * options.quick], check=True)
            else:
                print(f"{script} is missing: no such table")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help=f"{', '.join(TABLES)}; all of them")
    parser.add_argument("--quick", action="store_true", help="less of each, to try it")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side  [default: 1]")
    parser.add_argument("--seeds", type=int, default=5, help="of the search  [default: 5]")
    options = parser.parse_args()
    if unknown := {*options.tables} - {*TABLES}:
        parser.error(f"no such table: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
