"""The command that these tests run: ``python -m contrib``."""

import click
import pytest

from contrib.__main__ import main


@pytest.fixture
def program() -> click.Command:
    return main
