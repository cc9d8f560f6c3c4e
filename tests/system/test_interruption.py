"""Ctrl-C, SIGTERM and SIGKILL: the session ends, what ran is saved, and nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import (
    BLOCK,
    ENDED_S,
    PATIENCE_S,
    STUBBORN_CHILD,
    Finished,
    Running,
    Tree,
    await_condition,
    printed,
    still_there,
    worker_of,
)

if sys.platform == "win32":
    pytest.skip("sends POSIX signals", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
SERIAL, PARALLEL = "-n0", "-n2"
both = pytest.mark.parametrize("workers", [SERIAL, PARALLEL])


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Two experiments that block, the second heeding no interrupt, and one that never has its turn."""
    tree = Tree(tmp_path)
    tree.notebook("a", "1-first.ipynb", "print('first')")
    tree.notebook("a", "2-block.ipynb", "print('before')", STUBBORN_CHILD + BLOCK, "print('after')")
    tree.notebook("a", "3-never.ipynb", "open('ran', 'w')")
    tree.notebook("b", "1-block.ipynb", "print('before')", DEAF + STUBBORN_CHILD + BLOCK)
    tree.notebook("b", "2-never.ipynb", "open('ran', 'w')")
    tree.notebook("c", "1-never.ipynb", "open('ran', 'w')")
    yield tree
    tree.close()


def _await_blocked(tree: Tree, run: Running, workers: str) -> None:
    """Wait until everything that starts at once is in its blocking cell, and remember all processes."""
    names = ["a"] if workers == SERIAL else ["a", "b"]
    run.await_file(*(tree.root / "experiments" / name / "kernel.pid" for name in names))
    run.look()
    for name in names:
        for file in ("kernel.pid", "child.pid"):
            assert _pid(tree, name, file) in run.family


def _pid(tree: Tree, experiment: str, file: str = "kernel.pid") -> int:
    return int((tree.root / "experiments" / experiment / file).read_text())


def _ends_at_once(run: Running) -> Finished:
    """The run ends in time, and so does all that it has started."""
    started = time.monotonic()
    finished = run.wait(PATIENCE_S)
    assert time.monotonic() - started < ENDED_S, finished.text
    assert still_there(run.family.values()) == []
    return finished


def _assert_interrupted(finished: Finished, workers: str) -> None:
    assert finished.returncode == pytest.ExitCode.INTERRUPTED, finished.text
    assert "INTERNALERROR" not in finished.text
    assert "Traceback" not in finished.text
    assert finished.session["exit_status"] == 2
    outcomes = {e["name"]: e["outcome"] for e in finished.session["experiments"]}
    running = ["a"] if workers == SERIAL else ["a", "b"]
    assert outcomes == dict.fromkeys(running, "interrupted")
    assert finished.outcomes("a") == ["passed", "interrupted", "not_run"]
    before, blocked, after = finished.executed("a", "2-block.ipynb").cells
    assert printed(before) == "before\n"
    assert blocked.execution_count == 2
    assert after.execution_count is None
    if workers == PARALLEL:
        assert finished.outcomes("b") == ["interrupted", "not_run"]
        assert printed(finished.executed("b", "1-block.ipynb").cells[0]) == "before\n"
    assert not list((finished.root / "experiments").glob("*/ran"))


@both
@pytest.mark.parametrize(
    ("signum", "to_group"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["SIGINT", "SIGTERM", "SIGTERM to the group"],
)
def test_a_signal(tree: Tree, workers: str, signum: signal.Signals, *, to_group: bool) -> None:
    """To pytest alone, as from a service manager, or to its whole group, as from a batch system."""
    run = tree.start(workers)
    _await_blocked(tree, run, workers)
    (os.killpg if to_group else os.kill)(run.process.pid, signum)
    _assert_interrupted(_ends_at_once(run), workers)


@both
def test_ctrl_c_at_a_terminal(tree: Tree, workers: str) -> None:
    """The terminal sends it to every process of the foreground group: pytest and its workers."""
    master, slave = os.openpty()
    transcript = tree.root / "terminal.txt"

    def copy() -> None:
        with transcript.open("wb") as file, suppress(OSError):  # EIO once the last process has gone
            while data := os.read(master, 65536):
                file.write(data)

    reader = threading.Thread(target=copy)
    streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
    run = tree.start(
        workers, preexec=lambda: os.login_tty(slave), start_new_session=False, **streams
    )
    os.close(slave)
    reader.start()
    try:
        _await_blocked(tree, run, workers)
        os.write(master, b"\x03")
        finished = _ends_at_once(run)
    finally:
        run.kill()
        reader.join(PATIENCE_S)
        os.close(master)
    text = transcript.read_text("utf-8", errors="replace")
    _assert_interrupted(
        Finished(root=tree.root, returncode=finished.returncode, text=text), workers
    )
    assert "interrupted in 2-block.ipynb" in text


def test_ctrl_c_twice(tree: Tree) -> None:
    """Impatience may cut pytest's own end short, but leaves nothing behind."""
    run = tree.start(SERIAL)
    _await_blocked(tree, run, SERIAL)
    for _ in range(2):
        os.kill(run.process.pid, signal.SIGINT)
        await_condition(lambda: run.process.poll() is not None, 0.3)
    finished = _ends_at_once(run)
    # The second may hit anything that pytest does at its end, which then ends with an exit code of its own.
    assert finished.returncode != pytest.ExitCode.OK


@both
def test_pytest_is_killed(tree: Tree, workers: str) -> None:
    """SIGKILL of pytest, or of the controller: kernels, their children and the workers end."""
    run = tree.start(workers)
    _await_blocked(tree, run, workers)
    run.process.kill()
    run.process.wait()
    assert still_there(run.family.values()) == []
    assert not list((tree.root / "experiments").glob("*/ran"))


def test_what_ran_before_the_controller_was_killed_is_saved(tree: Tree) -> None:
    """The workers have the time to write what their notebooks had so far."""
    run = tree.start(PARALLEL)
    _await_blocked(tree, run, PARALLEL)
    run.process.kill()
    run.process.wait()
    assert still_there(run.family.values()) == []
    folder = tree.root / ".experiments/notebooks"
    finished = Finished(root=tree.root, returncode=-9, text="")
    assert printed(finished.executed("a", "1-first.ipynb").cells[0]) == "first\n"
    assert (folder / "a/2-block.ipynb").exists()
    assert printed(finished.executed("a", "2-block.ipynb").cells[0]) == "before\n"


@pytest.mark.parametrize("mode", ["load", "loadgroup", "worksteal"])
def test_a_worker_is_killed(tree: Tree, mode: str) -> None:
    """Its experiment is reported once, as failed; its kernel is gone; the others run to their end."""
    summary = tree.root / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    run = tree.start(PARALLEL, "--dist", mode, "-v", "--junitxml=junit.xml", env=github)
    _await_blocked(tree, run, PARALLEL)
    kernel = psutil.Process(_pid(tree, "a"))
    below = [kernel, psutil.Process(_pid(tree, "a", "child.pid"))]
    host = kernel.parent()
    assert host is not None
    worker = worker_of(kernel)
    assert worker.ppid() == run.process.pid
    worker.kill()
    assert still_there([worker, host, *below]) == []
    psutil.Process(_pid(tree, "b")).kill()  # so that its experiment, which blocks, has an end
    finished = run.wait()
    assert still_there(run.family.values()) == []
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    outcomes = {e["name"]: e["outcome"] for e in finished.session["experiments"]}
    assert outcomes == {"a": "failed", "b": "failed", "c": "passed"}
    assert finished.outcomes("a") == ["passed", "interrupted", "not_run"]
    assert "crashed while running" in finished.failure("a")["message"]
    rerun = "rerun: pytest --run-experiments --experiment-resume experiments/a::notebooks"
    assert rerun in summary.read_text()
    assert rerun in finished.text
    assert "interrupted: 2-block.ipynb\nnot run: 3" in finished.text
    names = sorted(case.attrib["classname"] for case in finished.junit.iter("testcase"))
    assert len(names) == 3, names
    table = finished.section("experiments").splitlines()
    assert len([line for line in table if line.startswith("a ")]) == 1


ONCE = """
from pathlib import Path
if not Path("again").exists():
    Path("again").touch()
""" + "\n".join(f"    {line}" for line in BLOCK.splitlines())
"""Blocks the first time."""


def test_a_lost_experiment_is_run_again(tree: Tree) -> None:
    """Where that is asked for, once: from its first notebook, with both attempts on record."""
    tree.notebook("a", "2-block.ipynb", "print('before')", ONCE)
    for name in ("b", "c"):
        tree.notebook(name, "1-block.ipynb" if name == "b" else "1-never.ipynb", "pass")
    run = tree.start(PARALLEL, "--experiment-lost=retry", "-rA")
    run.await_file(tree.root / "experiments/a/kernel.pid")
    run.look()
    worker = worker_of(psutil.Process(_pid(tree, "a")))
    worker.kill()
    finished = run.wait()
    assert still_there(run.family.values()) == []
    assert finished.returncode == pytest.ExitCode.OK, finished.text
    assert "3 passed, 1 rerun in" in finished.text
    attempts = finished.experiment("a")["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "passed"]
    assert [n["outcome"] for n in attempts[0]["notebooks"]] == ["passed", "interrupted", "not_run"]
    assert finished.outcomes("a") == ["passed"] * 3


def test_a_kernel_host_is_killed(tree: Tree) -> None:
    """The experiment fails with that reason, and neither a kernel nor a child of it is left."""
    run = tree.start(SERIAL, "experiments/a", "experiments/c")
    _await_blocked(tree, run, SERIAL)
    kernel = psutil.Process(_pid(tree, "a"))
    host = kernel.parent()
    assert host is not None
    host.kill()
    finished = run.wait()
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    outcomes = {e["name"]: e["outcome"] for e in finished.session["experiments"]}
    assert outcomes == {"a": "failed", "c": "passed"}
    assert kernel.pid in run.family
    assert still_there([kernel]) == []


def test_x_ends_what_runs(tree: Tree) -> None:
    """With -x the failure of one experiment interrupts the other; what it ran is saved."""
    fails = (
        "import time\nfrom pathlib import Path\n"
        "while not Path('../a/kernel.pid').exists():\n    time.sleep(0.05)\n"
        "Path('failing').touch()\n1 / 0"
    )
    tree.notebook("b", "1-block.ipynb", fails)
    run = tree.start(PARALLEL, "-x")
    run.await_file(tree.root / "experiments/a/kernel.pid")
    run.look()
    run.await_file(tree.root / "experiments/b/failing")
    finished = run.wait(PATIENCE_S)
    assert still_there(run.family.values()) == []
    outcomes = {e["name"]: e["outcome"] for e in finished.session["experiments"]}
    assert outcomes == {"a": "interrupted", "b": "failed"}
    assert finished.outcomes("a") == ["passed", "interrupted", "not_run"]
    assert printed(finished.executed("a", "2-block.ipynb").cells[0]) == "before\n"
    assert not list((finished.root / "experiments").glob("*/ran"))
