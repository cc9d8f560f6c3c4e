"""Folders and notebooks whose names pytest, a terminal or execnet cannot take."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")

BROKEN = '[run]\norder = ["9-none.ipynb"]\n'
PLACES = ["A [x]", "b[1]/c", "col::on", "new\nline", "back\\slash", "not", "quo'te $HOME"]


def test_the_command_that_reruns(experiment: Write, pytester: pytest.Pytester) -> None:
    """What is printed selects the item that failed and no other, whatever its name."""
    for place in PLACES:
        experiment(f"experiments/{place}")
    experiment("experiments/names", "1 [a]")
    experiment("experiments/half", "1 [a]", "2-b")
    experiment("experiments/apart", "1 [a]", "2-b", toml="[run]\nindependent = true")
    pytester.makeconftest("def pytest_experiment_env():\n    raise ValueError")
    whole = [f"{place}::notebooks" for place in (*PLACES, "names", "half")]
    items = [*whole, "apart::1 [a]", "apart::2-b"]
    first = pytester.runpytest_inprocess("--run-experiments")
    first.assert_outcomes(failed=len(items))
    commands = [line[7:] for line in first.outlines if line.startswith("rerun: ")]
    selected = [collected(pytester, *shlex.split(command)[1:]) for command in commands]
    assert sorted(selected) == sorted("experiments/" + item.replace("\\", "/") for item in items)


def collected(pytester: pytest.Pytester, *arguments: str) -> str:
    """The node ids, as one text: one of them has a line end."""
    result = pytester.runpytest_inprocess(*arguments, "--co", "-q")
    return result.stdout.str().partition("\n\n")[0]


def test_a_folder_above_the_rootdir(
    experiment: Write, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pytest refuses a path with ``[``, so ours are relative to where it was called."""
    experiment("p[1]/experiments/A")
    monkeypatch.chdir(pytester.path / "p[1]")
    (pytester.path / "p[1]" / "pytest.ini").write_text("[pytest]\ntestpaths = tests")
    (pytester.path / "p[1]" / "tests").mkdir()
    for arguments in [(), ("experiments/A::notebooks",)]:
        result = pytester.runpytest_inprocess("--run-experiments", "--co", "-q", *arguments)
        assert [line for line in result.outlines if "::" in line] == ["experiments/A::notebooks"]


@pytest.mark.skipif(sys.platform == "darwin", reason="its filesystems refuse such names")
@pytest.mark.xdist
def test_names_that_are_not_utf8(
    experiment: Write, skipped: Write, pytester: pytest.Pytester
) -> None:
    """Xdist cannot carry them: they are shown escaped, and the session goes on."""
    name = os.fsdecode(b"\xff")
    experiment(f"experiments/A{name}", name, toml=BROKEN)
    experiment(f"experiments/{name}/B", toml=BROKEN)
    skipped(f"experiments/C{name}", f"1-{name}", reason="later", toml="independent = true\n")
    result = pytester.runpytest_inprocess("--run-experiments", "-n1", "-rs", "-v")
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            r"*FAILED* experiments/A\udcff::notebooks*",
            r"*FAILED* experiments/\udcff/B::notebooks*",
            r"*SKIPPED* experiments/C\udcff::1-\udcff*",
            r"rerun: pytest --run-experiments experiments -k 'A and udcff'",
        ]
    )
