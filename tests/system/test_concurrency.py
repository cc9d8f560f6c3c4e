"""Which experiment runs when and beside what, with real kernels, workers and sessions."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from workbench import Finished, Tree

if sys.platform == "win32":
    pytest.skip("kills processes as POSIX does", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

EVENTS = """
import pathlib, time

FOLDER = pathlib.Path(__file__).parent / "happened"

def done(name):
    (FOLDER / name).touch()

def wait_for(*names):
    end = time.monotonic() + 60
    while missing := [name for name in names if not (FOLDER / name).exists()]:
        assert time.monotonic() < end, f"meanwhile not done: {missing}"
        time.sleep(0.01)
"""
"""What notebooks and tests tell one another: who waits in vain fails."""

SMALL = '[resources]\ncpus = 0.1\nram = "50MB"\n'
"""So that nothing but what a test is about keeps experiments apart."""

ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PLUGINS = ("-p", "nbgroups", "-p", "xdist")
"""Each process of these many runs starts in half the time without the others."""

GPU = "gpu uuid=GPU-a name=NVIDIA_A100 total=40960 used=0\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = make_tree(tmp_path / "one")
    yield tree
    tree.close()


def make_tree(root: Path) -> Tree:
    tree = Tree(root)
    (root / "happened").mkdir()
    (root / "events.py").write_text(EVENTS)
    return tree


def run(tree: Tree, *arguments: str) -> Finished:
    return tree.pytest(*PLUGINS, *arguments, env=ALONE)


def happened(tree: Tree, name: str) -> Path:
    return tree.root / "happened" / name


def experiment(tree: Tree, name: str, code: str = "", *, toml: str = SMALL) -> None:
    tree.notebook(name, "1-only.ipynb", f"from events import done, wait_for\n{code}")
    tree.toml(name, toml)


def ordinary(tree: Tree, name: str, code: str) -> None:
    tree.root.joinpath(f"test_{name}.py").write_text(
        f"from events import done, wait_for\n\ndef test_{name}():\n    {code}\n"
    )


def lease(finished: Finished, name: str) -> tuple[float, float]:
    """When an experiment's last lease was granted and released."""
    held = finished.experiment(name)["attempts"][-1]["lease"]
    return held["granted_at"], held["released_at"]


def overlapping(*leases: tuple[float, float]) -> int:
    """How many pairs of leases were held at one time."""
    pairs = itertools.combinations(leases, 2)
    return sum(a[0] < b[1] and b[0] < a[1] for a, b in pairs)


def test_nothing_is_queued_behind_a_long_experiment(tree: Tree) -> None:
    """One worker runs it, the other all the rest, which it waits for; the next run begins with it."""
    experiment(tree, "a", "done('a')")
    experiment(tree, "b-long", "import time\nwait_for('a', 'c')\ntime.sleep(1)")
    experiment(tree, "c", "done('c')")
    first = run(tree, "-n2", "--experiment-schedule", "collection")
    assert first.returncode == 0, first.text
    workers = {e["name"]: e["attempts"][0]["worker"] for e in first.session["experiments"]}
    assert workers["a"] == workers["c"] != workers["b-long"]
    second = run(tree, "-n1")
    names = [e["name"] for e in second.session["experiments"]]
    assert min(names, key=lambda name: lease(second, name)) == "b-long"


@pytest.mark.parametrize("workers", [1, 2])
def test_tests_do_not_wait_for_a_long_experiment(tree: Tree, workers: int) -> None:
    """One worker takes them first, and they need no lease: the experiment waits for all of them."""
    names = [str(number) for number in range(6)]
    experiment(
        tree, "A", f"wait_for(*{names})", toml='[resources]\nexclusive = true\nram = "50MB"\n'
    )
    for name in names:
        ordinary(tree, name, f"done('{name}')")
    finished = run(tree, f"-n{workers}")
    assert finished.returncode == 0, finished.text
    assert "7 passed" in finished.text


@pytest.mark.parametrize("what_fails", ["experiment", "test"])
def test_a_failure_cancels_what_runs(tree: Tree, what_fails: str) -> None:
    """Under -x: the running experiment is interrupted, the one that waits does not begin."""
    experiment(tree, "a-blocks", "done('blocks')\nwait_for('never')")
    if what_fails == "experiment":
        experiment(tree, "b-fails", "wait_for('blocks')\n1 / 0")
    else:
        ordinary(tree, "it", "wait_for('blocks'); assert False")
    experiment(tree, "c-waits", "done('waits')")
    finished = run(tree, "-n2", "-x")
    assert finished.returncode == 2, finished.text
    assert "stopping after 1 failures" in finished.text
    assert finished.experiment("a-blocks")["outcome"] == "interrupted"
    assert finished.outcomes("a-blocks") == ["interrupted"]
    assert not happened(tree, "waits").exists()


def test_a_notebook_that_kills_its_worker(tree: Tree) -> None:
    """Its experiment is reported once, as failed; the tests beside it and all others run."""
    kill = """
import os, psutil, signal
(worker,) = [p for p in psutil.Process().parents() if "execnet" in " ".join(p.cmdline())][:1]
os.kill(worker.pid, signal.SIGKILL)
wait_for('never')
"""
    experiment(tree, "A", kill)
    tree.file("A", "test_beside.py", "def test_beside(): pass\n")
    experiment(tree, "B")
    finished = run(tree, "-n1", "-v")
    assert finished.returncode == 1, finished.text
    assert "1 failed, 2 passed" in finished.text
    assert finished.text.count("\nFAILED experiments/A::notebooks") == 1
    (attempt,) = finished.experiment("A")["attempts"]
    assert attempt["outcome"] == "failed"
    assert finished.experiment("B")["outcome"] == "passed"


def test_two_sessions_share_a_machine(
    tree: Tree, tmp_path: Path, fake_nvml: Callable[[Path], Mapping[str, str]]
) -> None:
    """What one holds the other waits for, and runs what it can; then all of its workers go on.

    `lock` and `gpu` wait for one another: they need both workers as soon as the other session ends.
    """
    (tmp_path / "gpus.txt").write_text(GPU)
    env = {**ALONE, **fake_nvml(tmp_path / "gpus.txt"), "NBGROUPS_POOL": str(tmp_path / "pool")}
    other = make_tree(tmp_path / "other")
    experiment(
        other, "holder", "done('held')\nwait_for('free')", toml=f"{SMALL}gpus = 1\nlocks = ['x']\n"
    )
    experiment(tree, "lock", "done('lock')\nwait_for('gpu')", toml=f"{SMALL}locks = ['x']\n")
    experiment(tree, "gpu", "done('gpu')\nwait_for('lock')", toml=f"{SMALL}gpus = 1\n")
    experiment(tree, "later", toml=f"{SMALL}gpus = 1\n")
    experiment(tree, "neither", "done('neither')")
    try:
        holding = other.start(*PLUGINS, "-n2", env=env)
        holding.await_file(happened(other, "held"))
        waiting = tree.start(*PLUGINS, "-n2", env=env)
        record = tree.root / ".experiments" / "session.json"  # has what is over
        waiting.await_file(record)
        assert '"neither"' in record.read_text()
        assert not happened(tree, "lock").exists()
        assert not happened(tree, "gpu").exists()
        happened(other, "free").touch()
        theirs, ours = holding.wait(), waiting.wait()
    finally:
        other.close()
    assert (theirs.returncode, ours.returncode) == (0, 0), theirs.text + ours.text
    held = lease(theirs, "holder")
    assert overlapping(held, lease(ours, "neither")) == 1
    assert overlapping(held, lease(ours, "lock")) == 0
    assert overlapping(held, lease(ours, "gpu"), lease(ours, "later")) == 0
    for name in ("gpu", "later"):
        assert ours.experiment(name)["attempts"][0]["lease"]["gpus"] == ["GPU-a"]


def test_one_experiment_at_a_time(tree: Tree) -> None:
    """--experiment-max-parallel 1: one by one, and tests in parallel beside them."""
    for name in "abc":
        experiment(tree, name, "wait_for('one', 'two')")
    ordinary(tree, "one", "done('one'); wait_for('two')")
    ordinary(tree, "two", "done('two'); wait_for('one')")
    finished = run(tree, "-n3", "--experiment-max-parallel", "1")
    assert finished.returncode == 0, finished.text
    assert overlapping(*(lease(finished, name) for name in "abc")) == 0
    stolen = run(tree, "-n3", "--experiment-max-parallel", "1", "--dist", "worksteal")
    assert stolen.returncode == 0, stolen.text
    assert overlapping(*(lease(stolen, name) for name in "abc")) == 0


def test_an_exclusive_experiment_runs_alone(tree: Tree) -> None:
    """Others wait for it, and it for others; those run together, since they wait for each other."""
    experiment(tree, "0-alone", toml=f"{SMALL}exclusive = true\n")
    experiment(tree, "a", "done('a')\nwait_for('b')")
    experiment(tree, "b", "done('b')\nwait_for('a')")
    experiment(tree, "z-alone", toml=f"{SMALL}exclusive = true\n")
    finished = run(tree, "-n3", "--experiment-schedule", "collection")
    assert finished.returncode == 0, finished.text
    first, a, b, last = (lease(finished, name) for name in ("0-alone", "a", "b", "z-alone"))
    assert overlapping(a, b) == 1
    assert overlapping(first, a, b, last) == 1
    assert first < a < last


def test_slow_start(tree: Tree) -> None:
    """Of experiments whose memory is unknown two run at first, and more when one has ended."""
    undeclared = "[resources]\ncpus = 0.1\n"
    experiment(tree, "a", "wait_for('b')", toml=undeclared)
    experiment(tree, "b", "done('b')\nwait_for('c', 'd')", toml=undeclared)
    experiment(tree, "c", "done('c')\nwait_for('d')", toml=undeclared)
    experiment(tree, "d", "done('d')\nwait_for('c')", toml=undeclared)
    finished = run(tree, "-n4", "-o", "experiment_default_ram=50MB")
    assert finished.returncode == 0, finished.text
    leases = {name: lease(finished, name) for name in "abcd"}
    assert min(leases["c"][0], leases["d"][0]) >= leases["a"][1]
    assert overlapping(leases["b"], leases["c"], leases["d"]) == 3
