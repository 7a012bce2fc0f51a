"""The imports between the modules of the package form no circle, those for type checkers included.

That packages import one way is a contract in pyproject.toml, which `make lint` checks.
"""

from __future__ import annotations

import graphlib

import grimp
import pytest


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("hpo_job", exclude_type_checking_imports=False, cache_dir=None)
    assert "hpo_job.data.from_spec" in graph.find_modules_directly_imported_by(
        "hpo_job.data.findings"  # for type checkers only
    )
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    imports["hpo_job"].remove("hpo_job.notebook")  # when `hpo_job.load` is called
    assert len(imports) > 200
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
