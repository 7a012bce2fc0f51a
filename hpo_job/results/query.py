"""``--where``, ``--sort`` and ``--columns`` over a frame of trials.

An expression is Python's syntax for comparisons, evaluated by pandas; what it may hold is a short
list, so that nobody's expression calls anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import pandas as pd

from hpo_job.errors import QueryError, unknown

_ALLOWED = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.Invert,
    ast.USub,
    ast.UAdd,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Mod,
    ast.BitAnd,
    ast.BitOr,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.List,
    ast.Tuple,
)
_QUOTED = re.compile(r"`([^`]+)`")
_PREFIXES = ("", "params_", "user_attrs_", "values_", "system_attrs_")
LONGEST = 1000  # characters of an expression


def select(
    table: pd.DataFrame,
    *,
    where: str | None = None,
    sort: str | None = None,
    columns: Sequence[str] = (),
    limit: int | None = None,
    known: dict[str, str] | None = None,
) -> pd.DataFrame:
    """The rows and columns of ``table`` that were asked for.

    A column may go by its whole name, ``user_attrs_execute_time``, or without the prefix, as
    long as there is no other of that name.

    Args:
        table: trials, a row each.
        where: an expression such as ``"value >= 0.94 and model in ['resnet18', 'resnet34']"``.
        sort: a column; ``-value`` sorts downwards. Rows without a value come last.
        columns: only these; all where empty.
        limit: how many rows at most, from the top.
        known: more names of columns, such as the metric's for ``value``.

    Raises:
        QueryError: something is not understood; one line, which lists the columns.
    """
    names = known or {}
    if where is not None:
        table = _where(table, where, names)
    if sort is not None:
        table = _sorted(table, sort, names)
    if limit is not None:
        table = table.head(limit)
    if columns:
        table = table[[column(table, name, names, "--columns") for name in columns]]
    return table


def column(table: pd.DataFrame, name: str, known: dict[str, str], option: str) -> str:
    """The whole name of a column.

    Args:
        table: has the columns.
        name: of one of them, or what is left of it without its prefix.
        known: further names, such as those of metrics, and the columns that they stand for.
        option: begins the message of an error.

    Raises:
        QueryError: there is no such column, or there are several.
    """
    if name in table.columns:
        return name
    if name in known and known[name] in table.columns:
        return known[name]
    names = [prefix + name for prefix in _PREFIXES if prefix + name in table.columns]
    if len(names) == 1:
        return names[0]
    if names:
        raise QueryError(f"{option}: {name!r} may be {' or '.join(names)}; write which")
    raise QueryError(f"{option}: {unknown('column', name, _column_names(table))}")


def _where(table: pd.DataFrame, where: str, known: dict[str, str]) -> pd.DataFrame:
    if len(where) > LONGEST:
        raise QueryError(f"--where: longer than {LONGEST} characters")
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        return quoted.setdefault(match[1], f"_quoted_{len(quoted)}")

    text = _QUOTED.sub(plain, where).strip()
    originals = {alias: name for name, alias in quoted.items()}
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = getattr(error, "msg", None) or str(error)
        raise _refused(table, where, problem) from None
    used: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            what = type(node).__name__.lower()
            raise _refused(table, where, f"{what} is not allowed; compare columns with values")
        if isinstance(node, ast.Name):
            used[node.id] = column(table, originals.get(node.id, node.id), known, "--where")
    if not used:
        raise _refused(table, where, "it names no column")
    # each column under the name it has here; object columns of numbers and None as numbers
    frame = pd.DataFrame({name: _comparable(table[whole]) for name, whole in used.items()})
    try:
        chosen = frame.eval(text, engine="python", parser="pandas")
    except Exception as error:  # pandas raises of many kinds for what does not compare
        raise _refused(table, where, " ".join(str(error).split())) from None
    if not isinstance(chosen, pd.Series) or chosen.dtype != bool:
        raise _refused(table, where, "it is no comparison")
    return table[chosen]


def _comparable(values: pd.Series) -> pd.Series:
    """A column of numbers and None as numbers: only those compare with a number."""
    if values.dtype != object:
        return values
    held = values.dropna()
    if len(held) and held.map(lambda cell: isinstance(cell, int | float)).all():
        if held.map(lambda cell: isinstance(cell, bool)).all():
            return values
        return pd.to_numeric(values)
    return values


def _sorted(table: pd.DataFrame, sort: str, known: dict[str, str]) -> pd.DataFrame:
    down = sort.startswith("-")
    name = column(table, sort[1:] if down else sort, known, "--sort")
    values = _comparable(table[name])
    try:
        order = values.sort_values(ascending=not down, kind="stable", na_position="last").index
    except TypeError:  # strings and numbers in one column
        order = values.astype(str).sort_values(ascending=not down, kind="stable").index
    return table.loc[order]


def _column_names(table: pd.DataFrame) -> list[str]:
    """The columns that an error names: those of Optuna's own bookkeeping are seldom meant."""
    return [str(name) for name in table.columns if not str(name).startswith("system_attrs_")]


def _refused(table: pd.DataFrame, where: str, problem: str) -> QueryError:
    columns = ", ".join(_column_names(table))
    return QueryError(f"--where {where!r}: {problem}; columns: {columns}")
