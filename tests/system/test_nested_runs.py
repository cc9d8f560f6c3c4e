"""Experiments that run experiments: in the lease of the outer one, and never for ever."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import BLOCK, GONE_S, Tree, await_condition, printed, read, still_there

from pytest_nbgroups.leases.pool import LeasePool

if sys.platform == "win32":
    pytest.skip("ends runs as POSIX does", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)

ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PLUGINS = ("-p", "nbgroups", "-p", "xdist")

INSIDE = """
import os, subprocess, sys
from pathlib import Path
from pytest_nbgroups import run_experiment

def run(path, outcome="passed"):
    result = run_experiment(path)
    assert result.outcome == outcome, result
    return result.error.message if result.error else result.reason

def pytest(*arguments, **env):
    command = [sys.executable, "-m", "pytest", "--run-experiments", "-p", "nbgroups"]
    done = subprocess.run(
        [*command, *arguments], cwd="../..", env={**os.environ, **env}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr

def waiting():
    return [*Path("../../.pool").glob("waiting-*")]

def wait_for(condition):
    import time
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
"""

USE = """
import os
from pathlib import Path
busy = Path("../../busy")
busy.touch(exist_ok=False)
busy.unlink()
"""
"""Fails if another one does so at the same moment."""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def experiment(tree: Tree, name: str, *cells: str, toml: str = "") -> None:
    tree.notebook(name, "1-only.ipynb", *cells)
    tree.toml(name, toml)


def told(tree: Tree, name: str) -> str:
    """What the one notebook of an experiment has printed in its last cell."""
    path = tree.root / ".experiments" / "notebooks" / name / "1-only.ipynb"
    return printed(read(path).cells[-1])


def test_all_that_fits(tree: Tree) -> None:
    """Runs in a notebook take from its lease, three deep, with workers of their own, and end."""
    experiment(tree, "A", INSIDE, "run('../Plain')")
    experiment(tree, "B", INSIDE, "run('../Deep')")
    experiment(tree, "Plain", "")
    experiment(tree, "Deep", INSIDE, "run('../Deepest')")
    experiment(tree, "Deepest", "")
    experiment(
        tree,
        "All",
        INSIDE,
        "run('../Same')\nprint(*pytest('-p', 'xdist', '-n', '2', 'experiments/Use'))",
        toml="[resources]\ncpus = 2\nlocks = ['data']\nexclusive = true\n",
    )
    same = "[resources]\ncpus = 2\nlocks = ['data']\nexclusive = true\n"
    experiment(tree, "Same", "", toml=same)
    for name in ("Use/1", "Use/2"):
        experiment(tree, name, USE, toml="[resources]\nlocks = ['data']\ncpus = 0.5\n")
    finished = tree.start(
        *PLUGINS,
        *("-n", "2", "--experiment-cpus", "2"),
        *(f"experiments/{name}" for name in ("A", "B", "All")),
        env=ALONE,
    ).wait()
    assert finished.returncode == 0, finished.text
    assert "3 passed" in finished.text
    inner = told(tree, "All")
    assert inner.startswith("0 "), inner
    assert "experiments: 2 workers: 2 cpus" in inner
    assert "this session is inside All, and uses what its lease holds" in inner
    assert "2 passed" in inner


def test_what_can_never_fit(tree: Tree) -> None:
    """What the lease does not hold, and its own directory, fail at once and say why."""
    experiment(tree, "Two", "", toml="[resources]\ncpus = 2\n")
    experiment(
        tree,
        "Outer",
        INSIDE,
        "print(run('../Two', 'failed'))\n"
        "print(run('.', 'failed'))\n"
        "print(*pytest('-rA', 'experiments/Two'))\n"
        "print(*pytest('../Two', '--experiment-wait=0', NBGROUPS_LEASE='holding-1-1-a'))",
    )
    finished = tree.start(*PLUGINS, "--experiment-cpus", "2", "experiments/Outer", env=ALONE).wait()
    assert finished.returncode == 0, finished.text
    lines = told(tree, "Outer").splitlines()
    reason = (
        "needs 2 cpus; this run is inside Outer, whose lease holds 1 cpu. "
        "Declare cpus = 2 in Outer's experiment.toml"
    )
    assert lines[:2] == [
        reason,
        "it would wait for itself: its directory is in use by Outer, and this run is inside Outer",
    ]
    assert lines[2].startswith("1 ")
    assert f"E   {reason}" in lines


def test_an_item_of_the_session(tree: Tree) -> None:
    """An outer one does not wait for a run of the inner one that waits for the outer one's CPU."""
    start = (
        "command = [sys.executable, '-m', 'pytest', '--run-experiments', '-p', 'nbgroups']\n"
        "env = {name: text for name, text in os.environ.items() if name != 'NBGROUPS_LEASE'}\n"
        "command += ['--experiment-cpus', '1', 'experiments/In']\n"
        "other = subprocess.Popen(command, cwd='../..', env=env, stdout=subprocess.DEVNULL)\n"
        "wait_for(waiting)\n"
    )
    experiment(tree, "In", "")
    experiment(tree, "Outer", INSIDE, start, "run('../In')\nassert waiting()")
    finished = tree.start(*PLUGINS, *("-n", "2", "--experiment-cpus", "1"), env=ALONE).wait()
    assert finished.returncode == 0, finished.text
    assert "2 passed" in finished.text


def test_two_that_run_each_other(tree: Tree) -> None:
    """The one that closes the circle is refused, the other one waits for its end and passes."""
    both = "wait_for(lambda: len([*Path('../..').glob('here-*')]) == 2)\n"
    for name, other in (("A", "B"), ("B", "A")):
        cell = (
            "if 'NBGROUPS_OUTER' not in os.environ:\n"
            "    os.environ['NBGROUPS_OUTER'] = '1'\n"
            f"    Path('../../here-{name}').touch()\n"
            f"    {both}"
            f"    result = run_experiment('../{other}')\n"
            "    print(result.outcome, result.error and result.error.message)\n"
        )
        experiment(tree, name, INSIDE, cell)
    finished = tree.start(*PLUGINS, *("-n", "2", "--experiment-cpus", "2"), env=ALONE).wait()
    assert finished.returncode == 0, finished.text
    told_by = {name: told(tree, name).splitlines() for name in ("A", "B")}
    refused, waited = sorted("AB", key=lambda name: told_by[name][-1])
    assert told_by[refused] == [
        (
            f"failed it would wait for itself: its directory is in use by {waited}, which waits for "
            f"the end of {refused}, and this run is inside {refused}; let only one of them run the other"
        ),
    ]
    *lines, outcome = told_by[waited]
    assert outcome == "passed None"
    for line in lines:  # none if the wait was too short to be reported
        assert line.startswith(f"{refused} waits: needs its directory; held by {refused} (pid ")


def test_a_killed_outer_one(tree: Tree) -> None:
    """With a killed pytest all goes that ran inside its experiments, the leases too."""
    experiment(tree, "In", BLOCK)
    experiment(tree, "Outer", INSIDE, "run('../In')")
    running = tree.start(*PLUGINS, "experiments/Outer", env=ALONE)
    running.await_file(tree.directory("In") / "kernel.pid")
    pool = LeasePool(tree.root / ".pool")
    assert [holder.experiment for holder in pool.snapshot().holders] == ["Outer", "In"]
    running.look()
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    assert still_there(running.family.values(), GONE_S) == []
    assert await_condition(lambda: pool.snapshot().holders == (), GONE_S)
