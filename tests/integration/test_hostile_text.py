"""What files, their names and their declarations say reaches the reader as text alone."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

HOSTILE = r"\u001b]0;title\u0007\u001b[31mred\u001b[0m\u009b2J\u202e\r::error::evil ##[add-path]/x"
"""As TOML writes it: a title for the terminal, colours, a cleared screen, a line that reads backwards, commands."""


def lines(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """What a session prints, on both streams, with the lines of pytest's own left out."""
    result = pytester.runpytest_subprocess("--run-experiments", "--color=no", *arguments)
    return [*result.stdout.str().split("\n"), *result.stderr.str().split("\n")]


def assert_harmless(printed: list[str]) -> None:
    text = "\n".join(printed)
    assert "evil" in text
    controls = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}}
    assert controls <= {"\n", "\t"}
    assert not [line for line in printed if line.strip().startswith("::") or "##[" in line]


def test_reason_to_skip(skipped: Write, pytester: pytest.Pytester) -> None:
    """In pytest's short summary, in the table, and in the plan."""
    skipped("experiments/A", reason=HOSTILE)
    assert_harmless(lines(pytester, "-rs"))
    assert_harmless(lines(pytester, "--experiment-plan"))


def test_bad_declaration(experiment: Write, pytester: pytest.Pytester) -> None:
    """A value that is echoed, and a key that is unknown."""
    experiment("experiments/A", toml=f'[resources]\ngpus = "{HOSTILE}"\n"{HOSTILE}" = 1\n')
    assert_harmless(lines(pytester))
    assert_harmless(lines(pytester, "--experiment-plan"))


def test_bad_pyproject(skipped: Write, pytester: pytest.Pytester) -> None:
    """Which ends the session with an error of usage."""
    skipped("experiments/A")
    pytester.makepyprojecttoml(f'[tool.nbgroups.experiments."{HOSTILE}".run]\nskip = 3')
    assert_harmless(lines(pytester))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_names_of_files(skipped: Write, pytester: pytest.Pytester) -> None:
    """In the notes of the header, which name notebooks and experiments."""
    name = "\x1b[31m\u202eevil"
    skipped("experiments/A", f"{name}-a", f"{name}-b", reason="evil, not now")
    assert_harmless(lines(pytester))
