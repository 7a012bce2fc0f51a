"""Writes the pages of docs/reference/ from the code, so that they cannot say anything else.

`make docs` runs it before it builds the site; a test compares what it returns with the files.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import hpo_job
from hpo_job import errors
from hpo_job.cli import main
from hpo_job.objectives import SHIPPED
from hpo_job.spec.metrics import METRICS, MULTILABEL
from hpo_job.spec.search_space import KINDS
from hpo_job.spec.study_toml import UNWRITTEN, StudySpec
from hpo_job.trial import attributes

FOLDER = Path(__file__).parent / "reference"
PACKAGE = Path(str(hpo_job.__file__)).parent
NOTE = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->"
# What TOML calls the types of Python
TYPES = (
    (r"pathlib\.\w+|NoneType", ""),
    (r"\bstr\b", "string"),
    (r"\bint\b", "integer"),
    (r"\bfloat\b", "number"),
    (r"\bbool\b", "true or false"),
)


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    written = {
        "study-toml.md": study_toml(),
        "parameters.md": objective_parameters(),
        "metrics.md": metrics(),
        "command-line.md": command_line(),
        "environment.md": environment(),
        "attributes.md": trial_attributes(),
        "errors.md": error_lines(),
    }
    return {name: f"{NOTE}\n\n{text.strip()}\n" for name, text in written.items()}


def study_toml() -> str:
    """Every key of study.toml, from the models that it is checked with."""
    top = [name for name in StudySpec.model_fields if name not in UNWRITTEN]
    parts = [
        "# study.toml",
        "Keys outside of a table stand first in the file.",
        _keys(StudySpec, top),
    ]
    for name in top:
        table = _table(StudySpec.model_fields[name])
        if table is not None and list(table.model_fields) != ["name"]:
            parts += [f"## [{name}]", _summary(table), _keys(table, list(table.model_fields))]
    parts += [
        "## [search_space]",
        "A plain value is the same in every trial; a table is searched:",
    ]
    for name, kind in KINDS.items():
        parts += [f"### type = {name!r}".replace("'", '"'), _keys(kind, list(kind.model_fields))]
    return "\n\n".join(parts)


def objective_parameters() -> str:
    """What each shipped objective can search."""
    parts = ["# Parameters of the shipped objectives"]
    for name, model in SHIPPED.items():
        fields = model.model_fields
        rows = (
            (f"`{key}`", f"`{_toml(field.default)}`", _bounds(field), str(field.description))
            for key, field in sorted(fields.items())
        )
        parts += [f"## {name}", _rows(("parameter", "default", "values", "what it is"), rows)]
    return "\n\n".join(parts)


def metrics() -> str:
    """The metrics that a study can name."""
    rows = (
        (
            f"`{metric.name}`",
            metric.task,
            "higher" if metric.direction == "maximize" else "lower",
            metric.answer,
        )
        for metric in [*METRICS.values(), *MULTILABEL.values()]
    )
    return (
        "# Metrics\n\nThe baseline is the score of a model that always gives the same answer: the "
        "most frequent class, the classes' shares, the labels that score best, the mean or the "
        "median of the training part."
        "\n\n" + _rows(("metric", "of", "better", "baseline"), rows)
    )


def command_line() -> str:
    """The help of every command, as a terminal of 80 columns shows it."""
    parts = ["# The command line"]
    for path, command in _commands(main, "hpo-job"):
        # click keeps a command's help option with the names of its first context
        context = click.Context(
            command,
            info_name=path,
            terminal_width=80,
            max_content_width=80,
            help_option_names=["-h", "--help"],
        )
        parts += [f"## {path}", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(parts)


def environment() -> str:
    """The environment variables, from the options that they stand for."""
    uses: dict[str, tuple[click.Option, list[str]]] = {}
    for path, command in _commands(main, "hpo-job"):
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                uses.setdefault(option.envvar, (option, []))[1].append(path.split()[-1])
    rows = (
        (f"`{variable}`", f"`{option.opts[0]}`", _first_sentence(option.help), ", ".join(commands))
        for variable, (option, commands) in sorted(uses.items())
    )
    return (
        "# Environment variables\n\nOptions that say where and how; an option that is typed comes "
        "before its variable.\n\n" + _rows(("variable", "option", "what it says", "commands"), rows)
    )


def trial_attributes() -> str:
    """The user attributes of studies and trials, with the comments of their names."""
    lines = inspect.getsource(attributes).splitlines()
    parts, table = ["# Attributes", _rest(attributes)], []
    for line in [*lines, "# "]:
        if match := re.fullmatch(r'[A-Z_]+ = "(\w+)"(?:  # (.*))?', line):
            table.append((f"`{match[1]}`", _sentence(match[2] or match[1].replace("_", " "))))
        elif heading := re.fullmatch(r"# (.*)", line):
            if table:
                parts.append(_rows(("attribute", "what it is"), table))
                table = []
            parts.append(f"## {heading[1]}")
    return "\n\n".join(part for part in parts[:-1] if part)


def error_lines() -> str:
    """The errors that a user can fix: their exit codes, and the lines that raise them."""
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.HpoJobError)
    }
    lines: dict[str, set[str]] = {name: set() for name in kinds}
    files = [file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(ast.parse(file))]
    of = _kinds_of(nodes, kinds)
    for node in nodes:
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
            if name in of:
                lines[of[name]].update(_templates(node.exc.args[0]))
    parts = [
        "# Errors and exit codes",
        "An error that you can fix is one line: where, what is wrong, how to fix it. "
        "What stands in braces is filled in.",
        _rows(
            ("exit code", "meaning"),
            (
                ("0", "The budget is used up, or the command did what it says."),
                ("1", "A later try may succeed."),
                ("2", "No retry can fix it: change what the line says."),
                ("130", "Ctrl-C."),
                ("143", "SIGTERM."),
            ),
        ),
    ]
    for name, kind in kinds.items():
        if kind is errors.HpoJobError:
            continue
        parts += [f"## {name} (exit code {kind.exit_code})", _summary(kind)]
        if lines[name]:
            parts.append("```text\n" + "\n".join(sorted(lines[name])) + "\n```")
    return "\n\n".join(parts)


def _kinds_of(nodes: list[ast.AST], kinds: Iterable[str]) -> dict[str, str]:
    """Which of some kinds of errors each class of errors is, by the names of both."""
    bases = {
        node.name: node.bases[0].id
        for node in nodes
        if isinstance(node, ast.ClassDef) and node.bases and isinstance(node.bases[0], ast.Name)
    }
    of = {kind: kind for kind in kinds}
    for name in bases:
        kind = name
        while kind not in of and kind in bases:
            kind = bases[kind]
        if kind in of:
            of[name] = of[kind]
    return of


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _keys(model: type[BaseModel], names: list[str]) -> str:
    """The keys of a table: what they may be, their defaults, and what the docstring says."""
    meanings = _attributes(model)
    rows = []
    for name in names:
        if name not in meanings:
            raise KeyError(f"{model.__name__}.{name}: no line in its docstring's Attributes")
        field = model.model_fields[name]
        default = "required" if field.is_required() else _default(field)
        rows.append((f"`{name}`", _bounds(field), default, _sentence(meanings[name])))
    return _rows(("key", "values", "default", "what it is"), rows)


def _attributes(model: type) -> dict[str, str]:
    """What the section ``Attributes`` of a docstring, and of its bases', says of each."""
    comments: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        section = str(inspect.cleandoc(kind.__doc__ or "")).partition("Attributes:\n")[2]
        for match in re.finditer(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
            comments[match[1]] = " ".join(match[2].split())
    return comments


def _table(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a table of study.toml."""
    for kind in _flat(field.annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _bounds(field: FieldInfo) -> str:
    """What a value may be, in TOML's words."""
    if _table(field) is not None:
        return "table"
    words = [word for kind in _flat(field.annotation) if (word := _word(kind))]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in signs.items()
        if getattr(each, name, None) is not None
    ]
    return ", ".join([" or ".join(dict.fromkeys(words)), *limits])


def _flat(annotation: object) -> list[object]:
    """The members of a union, at any depth, without None."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _flat(typing.get_args(annotation)[0])
    if origin is typing.Literal or not typing.get_args(annotation):
        return [] if annotation is type(None) else [annotation]
    if origin in (tuple, dict):
        return [annotation]
    return [each for kind in typing.get_args(annotation) for each in _flat(kind)]


def _word(kind: object) -> str:
    if typing.get_origin(kind) is tuple:
        return "list"
    if typing.get_origin(kind) is dict:
        return "table"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{_toml(value)}`" for value in typing.get_args(kind))
    name = str(getattr(kind, "__name__", ""))
    for pattern, word in TYPES:
        name = re.sub(pattern, word, name)
    return name if re.fullmatch(r"[a-z ]+", name) else ""


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default in (None, {}, (), ""):
        return ""
    if isinstance(default, BaseModel):
        name = getattr(default, "name", None)
        return f"`{name}`" if name else ""
    return f"`{_toml(default)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if text.strip() else f'"{text}"'


def _templates(node: ast.expr) -> list[str]:
    """A message as it is written, with what is filled in between braces; one for each case.

    Empty for a message that another function, or an earlier line, has put together.

    Raises:
        TypeError: the message is written in a way that this function cannot read.
    """
    if isinstance(node, ast.IfExp):
        return [*_templates(node.body), *_templates(node.orelse)]
    if isinstance(node, ast.Name | ast.Attribute | ast.Call):
        return []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        ends = [_templates(side) or ["{…}"] for side in (node.left, node.right)]
        return ["".join(parts) for parts in itertools.product(*ends)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if not isinstance(node, ast.JoinedStr):
        raise TypeError(
            f"line {node.lineno}: {ast.unparse(node)}: write the message as an f-string"
        )
    return [
        "".join(
            part.value
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
            else "{" + re.sub(r"^.*\.", "", _name(part)) + "}"
            for part in node.values
        )
    ]


def _name(part: ast.expr) -> str:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    text = ast.unparse(value)
    return text if re.fullmatch(r"[\w.]+", text) else "…"


def _rest(module: ModuleType) -> str:
    return str(inspect.getdoc(module)).partition("\n\n")[2].replace("``", "`")


def _summary(kind: type) -> str:
    return (
        inspect.cleandoc(kind.__doc__ or "")
        .partition("\n\n")[0]
        .replace("\n", " ")
        .replace("``", "`")
    )


def _sentence(text: str) -> str:
    text = text.replace("``", "`").replace("None", "none")
    return text[0].upper() + text[1:].rstrip(".") + "."


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=\.)\s", text or "")[0]


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = tuple(head)
    return "\n".join([line(head), line("---" for _ in head), *map(line, rows)])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
