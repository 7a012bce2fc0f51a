"""No command shows a part of a password, however its URL is written and wherever it is named."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

DRIVERS = ("mysql", "mysql+pymysql", "postgresql+psycopg", "mysql+nothing", "mysql:/", "oracle")
LETTERS = string.ascii_letters + string.digits + "@/:#?%&=+!$ ;,'\"\\[]{}|<>~`^*()-_.é"
COMMANDS = [
    ["check", "JOB"],
    ["create", "JOB"],
    ["run", "JOB", "-q"],
    ["worker", "JOB"],
    ["status", "quadratic"],
    ["status", "quadratic", "--format", "json"],
    ["results", "quadratic"],
    ["best", "quadratic"],
    ["importance", "quadratic"],
    ["compare", "quadratic", "other"],
    ["report", "quadratic"],
    ["plot", "quadratic", "history"],
    ["enqueue", "quadratic", "x=1.0"],
    ["export", "quadratic", "-o", "out"],
    ["dashboard", "quadratic"],
]
PARTS = 4  # characters of a password that may not be seen together


def parts(text: str) -> set[str]:
    return {text[at : at + PARTS] for at in range(len(text) - PARTS + 1)}


def test_no_command_shows_a_part_of_a_password(
    job: Callable[..., Path], cli: Callable[..., Result], tmp_path: Path
) -> None:
    """300 commands on URLs that cannot be read, or whose password is not encoded."""
    draw, folder = random.Random(17), str(job())
    secret_file = tmp_path / "url"
    usual: dict[str, set[str]] = {}

    def output(command: list[str], url: str, way: str) -> str:
        words = [folder if word == "JOB" else word for word in command]
        secret_file.write_text(url, encoding="utf-8")
        options = {
            "option": (["--storage", url], {}),
            "variable": ([], {"HPO_JOB_STORAGE": url}),
            "file": (["--storage-file", str(secret_file)], {}),
        }
        more, env = options[way]
        result = cli(*words, *more, **env)
        assert result.exit_code in (1, 2), result.output
        return result.output

    for number in range(300):
        command = COMMANDS[number % len(COMMANDS)]
        driver, way = draw.choice(DRIVERS), draw.choice(["option", "variable", "file"])
        password = "".join(draw.choices(LETTERS, k=draw.randint(8, 24)))
        # an unescaped one, so that no driver is asked to reach a server
        password = f"{password[:4]}{draw.choice('@/#')}{password[4:]}"
        name = " ".join(command) + driver + way
        if name not in usual:
            usual[name] = parts(output(command, f"{driver}://me:@/@127.0.0.1:1/hpo", way))
        said = output(command, f"{driver}://me:{password}@127.0.0.1:1/hpo", way)
        assert not (parts(password) - usual[name]) & parts(said), said
