"""What a collection looks at: each directory a few times, the notebooks never."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

Write: TypeAlias = Callable[..., Path]
Look: TypeAlias = Callable[..., dict[str, dict[str, int]]]

# Audit hooks hear of listings and of files that are opened, and not of os.stat.
COUNT = """
import collections, json, os, sys
from pathlib import Path

HERE = Path(__file__).parent
counts = collections.Counter()

def count(what, path):
    if isinstance(path, (str, os.PathLike)) and "experiments" in os.fspath(path):
        counts[what] += 1

def hear(event, arguments):
    if event in {"os.scandir", "os.listdir"}:
        count("listings", arguments[0])
    elif event == "open" and str(arguments[0]).endswith(".ipynb"):
        count("opened", arguments[0])

def counting(function):
    def counted(path, *arguments, **more):
        count("stats", path)
        return function(path, *arguments, **more)
    return counted

sys.addaudithook(hear)
os.stat, os.lstat = counting(os.stat), counting(os.lstat)

def pytest_unconfigure(config):
    name = getattr(config, "workerinput", {}).get("workerid", "main")
    (HERE / f"{name}.counts").write_text(json.dumps(counts))
"""


@pytest.fixture
def look(skipped: Write, pytester: pytest.Pytester) -> Look:
    """Make so many experiments of so many notebooks; tell what each process of a run looked at."""

    def counts(directories: int, notebooks: int, *arguments: str) -> dict[str, dict[str, int]]:
        for number in range(directories):
            skipped(f"experiments/E{number}", *(f"{step}-step" for step in range(notebooks)))
        pytester.makeconftest(COUNT)
        pytester.runpytest_subprocess("--run-experiments", *arguments)
        found = pytester.path.glob("*.counts")
        return {path.stem: json.loads(path.read_text()) for path in found}

    return counts


def test_a_directory_is_listed_a_few_times(look: Look) -> None:
    """To see whether it is an experiment, by pytest for what else is there, and to read it."""
    assert look(7, 3, "--collect-only", "-q")["main"]["listings"] <= 3 * 7 + 2


def test_twice_as_many_directories_take_twice_as_many_looks(look: Look) -> None:
    """Nothing is looked at again for the sake of another directory."""
    few, some, more = (look(count, 3, "--collect-only", "-q")["main"] for count in (2, 4, 8))
    assert some["stats"] > few["stats"]
    for what in ("listings", "stats"):
        assert more[what] - some[what] == 2 * (some[what] - few[what]), what


def test_twice_as_many_notebooks_take_twice_as_many_looks(look: Look) -> None:
    """Each is asked for once whether it is ignored."""
    few, some, more = (look(1, count, "--collect-only", "-q")["main"] for count in (2, 4, 8))
    assert more["stats"] - some["stats"] == 2 * (some["stats"] - few["stats"])
    assert more["listings"] == some["listings"] == few["listings"]


@pytest.mark.parametrize("arguments", [("--collect-only",), ("--collect-only", "-q"), ()])
def test_notebooks_are_not_opened(look: Look, arguments: tuple[str, ...]) -> None:
    """Neither by collection, nor for the header; a skipped experiment's never are."""
    assert "opened" not in look(2, 2, *arguments)["main"]


@pytest.mark.xdist
def test_workers_do_not_look_ahead(look: Look) -> None:
    """The controller finds out what there is; a worker collects it, and looks at what it runs."""
    found = look(7, 3, "-n", "2")
    assert 0 < found["main"]["listings"] <= 2 * 7 + 2
    workers = found["gw0"]["listings"] + found["gw1"]["listings"]
    assert workers <= 2 * (3 * 7 + 2) + 7
    assert not any("opened" in counts for counts in found.values())


def test_a_plan_opens_each_notebook_once(experiment: Write, look: Look) -> None:
    """For hints on what to declare. So what opens notebooks is heard."""
    experiment("experiments/A", "1-load", "2-fit", "3-report")
    assert look(2, 2, "--experiment-plan")["main"]["opened"] == 3


HEAR = """
asked, offered = [], []

def pytest_ignore_collect(collection_path):
    asked.append(collection_path.name)

def pytest_collect_file(file_path):
    offered.append(file_path.name)

def pytest_unconfigure():
    print("asked:", *sorted(asked), file=__import__("sys").stderr)
    print("offered:", *sorted(offered), file=__import__("sys").stderr)
"""


def test_a_notebook_is_asked_for_once(experiment: Write, pytester: pytest.Pytester) -> None:
    """Whether it is ignored decides for pytest and for us; no other plugin is offered it."""
    folder = experiment("experiments/A", "1-load", "2-fit", toml="[run]\n")
    (folder / "test_a.py").write_text("def test_ordinary(): pass\n")
    pytester.makeconftest(HEAR)
    result = pytester.runpytest_subprocess("--run-experiments", "--co", "-q", "experiments")
    asked, offered = (line.split()[1:] for line in result.errlines)
    assert [name for name in asked if name.endswith(".ipynb")] == ["1-load.ipynb", "2-fit.ipynb"]
    assert {"experiment.toml", "test_a.py"} <= set(offered)
    assert not [name for name in offered if name.endswith(".ipynb")]
