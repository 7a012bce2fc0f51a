"""The warnings that the code can print, as docs/operations.md has to list them.

A warning is the first argument of a logger's ``warning``, of ``warn`` or ``_warn_once``, or of
``append`` to a list named ``warnings``. Where that is no literal, `WORDED_IN` says which functions
word it: a place that is not listed there is an error, so that no warning is overlooked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests import ROOT
from tests.sources import parsed

PACKAGE = ROOT / "hpo_job"
FILLED_IN = "…"
# By file and expression: the functions that word the line, as file:function,function, or all
# functions of a file. Empty where it is not ours to word.
WORDED_IN: dict[tuple[str, str], tuple[str, ...]] = {
    ("artifacts/checkpoints.py", "error"): (),  # an error of a store: docs/reference/errors.md
    ("artifacts/stores.py", "line"): ("artifacts/stores.py:writable_store",),
    ("cli/__init__.py", "str(error)"): (),  # an error: docs/reference/errors.md
    ("cli/kubernetes.py", "line"): (),  # the preflight's, which are found where they are appended
    ("cli/kubernetes.py", "warning"): ("cluster/submit.py:folder_differs",),
    ("cli/opening.py", "line"): ("storage/mysql/url.py:plain_text_warning",),
    ("cli/results.py", "line"): (
        "results/comparison_text.py:differences",
        "results/gain.py:shortfalls",
        "results/importance.py:importance,_few,_evaluated",
    ),
    ("cluster/connection.py", "text"): (),  # the API server's own
    ("notebook.py", "sentence"): ("results/gain.py:shortfalls",),
    ("objectives/images/cache.py", "line"): (),  # of _warn_once, whose calls are found
    ("objectives/processes.py", "line"): ("objectives/processes.py:loader_processes",),
    ("study/joining.py", "caution"): (
        "data/image_findings.py",
        "data/folder.py:suspicious",
        "data/image_table.py:_cautions",
        "data/images.py:_cautions,_same_below",
        "data/kinds.py:_of_numbers,_of_text",
        "data/labels.py:caution",
        "data/leaks.py:cautions",
        "data/table_findings.py:of_columns,_of_parts,_of_texts,_duplicates",
        "spec/baselines.py:caution,left_out",
        "spec/label_baselines.py:caution",
        "study/checking.py:_check_objective",
        "study/suitability.py:cautions,of_language",
    ),
    ("worker/job.py", "error"): (),  # an error of a storage: docs/reference/errors.md
    ("worker/output.py", "text"): (),  # warnings of libraries and of the user's own file
}


def texts() -> dict[str, str]:
    """Every warning as `template` writes it, with the file that words it.

    Raises:
        LookupError: a warning is passed on as a variable, and `WORDED_IN` does not know of whom.
    """
    worded: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        place = str(file.relative_to(PACKAGE))
        for call in ast.walk(parsed(file)):
            if not (isinstance(call, ast.Call) and call.args and _is_warning(call)):
                continue
            text = template(call.args)
            if _words(text):
                worded[text] = place
                continue
            variable = ast.unparse(call.args[0 if len(call.args) == 1 else 1])
            if ast.unparse(call.func) == "warnings.warn":
                variable = ast.unparse(call.args[0])
            if (place, variable) not in WORDED_IN:
                raise LookupError(f"{place}: who words {variable!r}? Add it to WORDED_IN")
    for source in {name for names in WORDED_IN.values() for name in names}:
        worded |= dict.fromkeys(_of_functions(source), source)
    return worded


def template(args: list[ast.expr]) -> str:
    """A message with `…` for what is filled in."""
    text = _literal(args[0])
    if len(args) > 1:
        text = re.sub(r"%[.\d]*[sdgfr]", FILLED_IN, text).replace("%%", "%")
    return " ".join(text.split())


def _is_warning(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in ("warn", "_warn_once")
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr == "append":
        return ast.unparse(function.value).endswith("warnings")
    return function.attr in ("warning", "warn") and ast.unparse(function) != "mysql.warning"


def _words(text: str) -> int:
    return len(re.findall(r"[A-Za-z]{2,}", text))


def _of_functions(source: str) -> Iterator[str]:
    """The texts that functions yield, return, or assign."""
    file, _, names = source.partition(":")
    tree = parsed(PACKAGE / file)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for name in names.split(",") if names else functions:
        for node in ast.walk(functions[name]):
            value = getattr(node, "value", None)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("append", "add"):
                value = node.args[0]
            elif not isinstance(node, ast.Yield | ast.Return | ast.Assign):
                continue
            for each in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
                fewest = 3 if isinstance(node, ast.Assign) else 2
                if isinstance(each, ast.expr) and _words(text := template([each])) >= fewest:
                    yield text


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_literal, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _literal(node.left) + _literal(node.right)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "plural":
        return f"{FILLED_IN} {_literal(node.args[1])}"
    if isinstance(node, ast.FormattedValue):
        return _literal(node.value)
    return FILLED_IN
