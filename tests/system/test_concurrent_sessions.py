"""Several sessions in one checkout: each directory is used by one at a time, and no record suffers."""

from __future__ import annotations

import json
import sqlite3  # noqa: TID253  to look into a history
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from workbench import INI, Finished, Running, Tree, await_condition, printed

if sys.platform == "win32":
    pytest.skip("ends runs as POSIX does", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)

SMALL = '[resources]\ncpus = 0.1\nram = "50MB"\n'
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PLUGINS = ("-p", "nbgroups")
MEET = """
import os, pathlib, time
def begun():
    return pathlib.Path("uses").read_text().count("begin")
with open("uses", "a") as file:
    print("begin", os.getppid(), file=file)
end = time.monotonic() + 60
while begun() == 1 and not list(pathlib.Path("../../.pool").glob("waiting-*")):
    assert time.monotonic() < end
    time.sleep(0.01)
with open("uses", "a") as file:
    print("end", os.getppid(), file=file)
"""
"""Uses the directory until another one begins to, or waits for it."""

USE = """
import os, pathlib, time
with open("uses", "a") as file:
    print("begin", os.getppid(), file=file)
end = time.monotonic() + 60
while not pathlib.Path("go").exists():
    assert time.monotonic() < end
    time.sleep(0.01)
with open("uses", "a") as file:
    print("end", os.getppid(), file=file)
print("used")
"""
"""Uses the directory until there is a file ``go``; notes whose kernel begins and ends."""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def use(tree: Tree, name: str = "A", code: str = USE) -> Path:
    tree.notebook(name, "1-use.ipynb", code)
    tree.toml(name, SMALL)
    return tree.directory(name)


def start(tree: Tree, *arguments: str) -> Running:
    return tree.start(*PLUGINS, *arguments, env=ALONE)


def record(tree: Tree, run: Running) -> Any:
    """The record of one of several sessions, found by the junit file that it was asked for."""
    number = str(tree.runs.index(run))
    for path in (tree.root / ".experiments" / "sessions").glob("*.json"):
        content = json.loads(path.read_text())
        if f"--junitxml={number}.xml" in content["argv"]:
            return content
    raise AssertionError(f"no record of run {number}")


def uses(directory: Path) -> list[list[str]]:
    return [line.split() for line in (directory / "uses").read_text().splitlines()]


def begun(directory: Path) -> bool:
    return (directory / "uses").exists()


def assert_in_turn(directory: Path, times: int) -> None:
    """No one begins before another has ended."""
    noted = uses(directory)
    assert [what for what, _ in noted] == ["begin", "end"] * times
    assert all(noted[i][1] == noted[i + 1][1] for i in range(0, len(noted), 2))


def test_the_second_waits(tree: Tree) -> None:
    """For an experiment that another session runs; a line names who does. Both are recorded whole."""
    directory = use(tree)
    first = start(tree, "--junitxml=0.xml")
    first.await_file(directory / "uses")
    second = start(tree, "--junitxml=1.xml", "--run-experiments")
    line = f"A waits: needs its directory; held by A (pid {first.process.pid}, "
    assert await_condition(lambda: line in second.text()), second.text()
    (directory / "go").touch()
    for run in (first, second):
        finished = run.wait()
        assert finished.returncode == 0, finished.text
        (experiment,) = record(tree, run)["experiments"]
        assert experiment["outcome"] == "passed"
    assert_in_turn(directory, 2)
    waited = record(tree, second)["experiments"][0]["attempts"][0]["lease"]
    assert waited["waited_for"].startswith("needs its directory; held by A")
    newest = json.loads((tree.root / ".experiments/session.json").read_text())
    assert newest["id"] == record(tree, second)["id"]
    with closing(sqlite3.connect(tree.root / ".experiments/history.sqlite")) as history:
        assert history.execute("SELECT outcome FROM experiments").fetchall() == [("passed",)] * 2
    executed = Finished(root=tree.root, returncode=0, text="").executed("A", "1-use.ipynb")
    assert printed(executed.cells[0]) == "used\n"


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.xdist)])
def test_the_second_is_refused(tmp_path: Path, workers: str) -> None:
    """Where the ini file says so, and the first is named; what is free runs."""
    tree = Tree(tmp_path, ini=f"{INI}experiment_busy = fail\n")
    directory, other = use(tree), use(tree, "B")
    (other / "go").touch()
    plugins = () if workers == "-n0" else ("-p", "xdist", workers)
    first = start(tree, "experiments/A")
    try:
        first.await_file(directory / "uses")
        finished = start(tree, *plugins).wait()
        assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
        message = f"needs its directory; held by A (pid {first.process.pid}, "
        failure = finished.failure("A")
        assert failure["message"].startswith(message)
        assert failure["message"].endswith("; run it after that, or set experiment_busy = wait")
        assert failure["kind"] == "lease"
        assert finished.experiment("B")["outcome"] == "passed"
        (directory / "go").touch()
        assert first.wait().returncode == 0
    finally:
        tree.close()
    assert_in_turn(directory, 1)


@pytest.mark.xdist
def test_tests_of_one_directory(tree: Tree) -> None:
    """Two tests that run one directory do so one after the other, also on two workers."""
    directory = use(tree, code=MEET)
    for name in ("one", "two"):
        tree.root.joinpath(f"test_{name}.py").write_text(
            f"def test_{name}(run_experiment):\n    run_experiment('A')\n"
        )
    run = start(tree, "-p", "xdist", "-n2", "test_one.py", "test_two.py")
    finished = run.wait()
    assert finished.returncode == 0, finished.text
    assert_in_turn(directory, 2)


@pytest.mark.xdist
def test_many_at_once(tree: Tree) -> None:
    """Three parallel sessions over the same experiments: each reports all, and every file is whole."""
    names = ["A", "B", "C"]
    directories = [use(tree, name) for name in names]
    for directory in directories:
        (directory / "go").touch()
    runs = [start(tree, "-p", "xdist", "-n2", f"--junitxml={n}.xml") for n in range(3)]
    for run in runs:
        finished = run.wait()
        assert finished.returncode == 0, finished.text
        assert "warning" not in finished.text
        experiments = record(tree, run)["experiments"]
        assert sorted(e["name"] for e in experiments) == names
    for directory in directories:
        assert_in_turn(directory, 3)
    with closing(sqlite3.connect(tree.root / ".experiments/history.sqlite")) as history:
        assert history.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counted = history.execute("SELECT count(*) FROM experiments WHERE outcome = 'passed'")
        assert counted.fetchone() == (9,)
