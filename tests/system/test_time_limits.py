"""Limits on cells, notebooks and experiments, and kernels that die: the wait ends, with its reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import GONE_S, STUBBORN_CHILD, Finished, Tree, code, printed

if sys.platform == "win32":
    pytest.skip("sends POSIX signals", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

GRACE_S = 5.0
"""What a cell has after its interrupt."""
START_S = 15.0
"""Limits of notebooks and experiments include the start of a kernel, which a busy machine delays."""

DEAF = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
IN_C = "sum(range(10**13))"
DIE = "import os, signal, time\nopen('died_at', 'w').write(str(time.time()))\n"
DEATHS = {
    "exit-code": (
        DIE + "os._exit(3)",
        "exit code 3, os._exit() in a cell or exit() in compiled code?",
    ),
    "crash": (
        DIE + "os.kill(os.getpid(), signal.SIGSEGV)\ntime.sleep(600)",
        "SIGSEGV, a crash in compiled code",
    ),
    "killed": (
        DIE + "os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(600)",
        "SIGKILL, sent from outside or by the notebook itself",
    ),
}
CELL_REMEDY = "raise it with cell_timeout in experiment.toml or --experiment-cell-timeout"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("deadlines"))
    before = "print('before')"
    cell_limit = "[run]\ncell_timeout = 1\n"

    def experiment(name: str, cell: str, toml: str = "", kernel: str = "python3") -> None:
        tree.notebook(name, "1-run.ipynb", before, cell, "print('after')", kernel=kernel)
        tree.notebook(name, "2-next.ipynb", "open('ran', 'w')")
        if toml:
            tree.toml(name, toml)

    experiment("cell", "import time\nprint('within', flush=True)\ntime.sleep(600)", cell_limit)
    experiment("notebook", "import time\ntime.sleep(600)", f"[run]\nnotebook_timeout = {START_S}\n")
    experiment("whole", "import time\ntime.sleep(600)", f"[run]\ntimeout = {START_S}\n")
    experiment("deaf", f"{DEAF}print('within', flush=True)\ntime.sleep(600)", cell_limit)
    experiment("child", f"{STUBBORN_CHILD}time.sleep(600)", cell_limit)
    experiment("in-c", IN_C, cell_limit)
    experiment("prompt", "!cat", "[run]\ncell_timeout = 5\n")
    experiment("stopped", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", cell_limit)
    for name, (source, _) in DEATHS.items():
        experiment(name, source)
    ran = "open('ran-after', 'w')"  # ipykernel ends a tenth of a second after exit()
    tree.notebook("exit", "1-run.ipynb", "print('before')", "print('bye')\nexit()", ran, ran)
    tree.notebook("exit", "2-next.ipynb", "open('ran', 'w')")
    restart = "get_ipython().kernel.do_shutdown(True)"
    tree.notebook("restart", "1-run.ipynb", "'do_shutdown'", restart, ran)
    keep = "exit(keep_kernel=True)"
    tree.notebook("exits", "1-run.ipynb", "exit()", code("1", "skip-execution"), "")
    tree.notebook("exits", "2-next.ipynb", keep, "get_ipython().ask_exit()")
    mute = "[run]\nnotebook_timeout = 2\n"
    experiment("mute", "1", mute, kernel="mute")
    tree.kernelspec("mute", [sys.executable, "-c", "import time; time.sleep(600)"])
    tree.notebook("in-time", "1-run.ipynb", "import time\ntime.sleep(0.2)")
    tree.toml("in-time", "[run]\ncell_timeout = 60\nnotebook_timeout = 120\ntimeout = 180\n")
    yield tree
    tree.close()


@pytest.fixture(scope="module")
def run(tree: Tree) -> Finished:
    """One run of all of them; most of them sleep, so many workers do no harm."""
    return tree.pytest("-n", "4")


def _assert_saved(run: Finished, name: str) -> None:
    """What ran before the end is on disk, what was to come has not run."""
    first, _, last = run.executed(name, "1-run.ipynb").cells
    assert printed(first) == "before\n"
    assert last.execution_count is None
    assert run.outcomes(name) == ["failed", "not_run"]
    assert not (run.root / "experiments" / name / "ran").exists()


def test_every_one_is_told(run: Finished) -> None:
    """Of all experiments two pass, and none is lost."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    outcomes = {e["name"]: e["outcome"] for e in run.session["experiments"]}
    assert len(outcomes) == 16
    passed = {name for name, outcome in outcomes.items() if outcome == "passed"}
    assert passed == {"exits", "in-time"}


def test_a_cell_runs_into_its_limit(run: Finished) -> None:
    """It is interrupted, and what it printed is told."""
    failure = run.failure("cell")
    assert failure["kind"] == "deadline"
    assert failure["message"] == (
        "cell 2 of 3 ran into the cell's limit of 1.00s; it was interrupted"
    )
    assert failure["remedy"] == CELL_REMEDY
    assert failure["output"] == "within"
    _assert_saved(run, "cell")
    assert printed(run.executed("cell", "1-run.ipynb").cells[1]) == "within\n"


@pytest.mark.parametrize(
    ("name", "of", "key", "option"),
    [
        (
            "notebook",
            "notebook",
            "notebook_timeout or the notebook's own timeout",
            "--experiment-notebook-timeout",
        ),
        ("whole", "experiment", "timeout", "--experiment-timeout"),
    ],
)
def test_a_longer_limit(run: Finished, name: str, of: str, key: str, option: str) -> None:
    """The limit of a notebook and that of an experiment end a cell too."""
    failure = run.failure(name)
    assert failure["message"] == (
        f"cell 2 of 3 ran into the {of}'s limit of 15.0s; it was interrupted"
    )
    assert failure["remedy"] == f"raise it with {key} in experiment.toml or {option}"
    (attempt,) = run.experiment(name)["attempts"]
    assert START_S <= attempt["duration_s"] < START_S + 2 * GRACE_S
    _assert_saved(run, name)


@pytest.mark.parametrize("name", ["deaf", "in-c"])
def test_a_cell_that_does_not_heed_its_interrupt(run: Finished, name: str) -> None:
    """Whether it ignores the signal or never leaves C: after the grace it is killed."""
    assert run.failure(name)["message"] == (
        "cell 2 of 3 ran into the cell's limit of 1.00s; "
        "it did not answer the interrupt within 5s and was killed"
    )
    _assert_saved(run, name)
    (attempt,) = run.experiment(name)["attempts"]
    assert attempt["duration_s"] < 1 + GRACE_S + START_S


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows it")
@pytest.mark.parametrize(
    ("name", "why", "remedy"),
    [
        ("prompt", r"; cat \(pid \d+\) waits for input on a terminal", "--yes"),
        (
            "stopped",
            "; the kernel was stopped by a signal, such as SIGSTOP; the cell did",
            "who sent",
        ),
    ],
)
def test_a_cell_that_cannot_go_on(run: Finished, name: str, why: str, remedy: str) -> None:
    """The message names the process that waits or is stopped, and no limit is to be raised."""
    failure = run.failure(name)
    assert failure["kind"] == "deadline"
    assert re.search(why, failure["message"])
    assert remedy in failure["remedy"]
    _assert_saved(run, name)


def test_what_a_deaf_cell_printed_is_saved(run: Finished) -> None:
    """The kill takes nothing of what had arrived."""
    assert printed(run.executed("deaf", "1-run.ipynb").cells[1]) == "within\n"
    assert run.failure("deaf")["output"] == "within"


def test_the_child_of_a_cell_ends_with_it(run: Finished) -> None:
    """Though it heeds no signal and has a session of its own."""
    _assert_saved(run, "child")
    pid = int((run.root / "experiments/child/child.pid").read_text())
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("name", DEATHS)
def test_a_kernel_dies(run: Finished, name: str) -> None:
    """The wait ends long before the cell would, and tells how."""
    failure = run.failure(name)
    assert failure["kind"] == "kernel_died"
    assert failure["message"] == f"the kernel died in cell 2 of 3: {DEATHS[name][1]}"
    _assert_saved(run, name)
    died_at = float((run.root / "experiments" / name / "died_at").read_text())
    (attempt,) = run.experiment(name)["attempts"]
    assert attempt["finished_at"] - died_at < GONE_S


def test_a_cell_that_calls_exit(run: Finished) -> None:
    """It fails there: what its kernel still does is neither left to chance nor taken for passed."""
    failure = run.failure("exit")
    assert failure["kind"] == "cell"
    assert failure["message"] == (
        "it ended its kernel, as exit() and quit() do, so the 2 cells after it did not run"
    )
    assert failure["cell"]["number"] == 2
    assert failure["output"] == "bye"
    assert run.outcomes("exit") == ["failed", "not_run"]
    assert not (run.root / "experiments/exit/ran-after").exists()


def test_a_cell_that_restarts_its_kernel(run: Finished) -> None:
    """The reply does not say that the kernel ends; to name the function ends nothing."""
    failure = run.failure("restart")
    assert failure["message"] == (
        "it ended its kernel, as exit() and quit() do, so the cell after it did not run"
    )
    assert failure["cell"]["number"] == 2
    assert not (run.root / "experiments/restart/ran-after").exists()


def test_a_last_cell_that_calls_exit(run: Finished) -> None:
    """It passes: nothing was to come after it but what is not run. Nor does a kernel end that is to be kept."""
    assert run.outcomes("exits") == ["passed", "passed"]


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else counts what it kills")
def test_a_kernel_that_is_killed_from_outside(run: Finished) -> None:
    """The operating system's counts say that memory was not the reason."""
    first, *others = run.failure("killed")["evidence"]
    assert first.startswith("the OOM killer of the operating system ended no process of ")
    assert any(line.startswith("its processes: last sample ") for line in others)


def test_a_kernel_never_answers(run: Finished) -> None:
    """The notebook's limit holds for the start of its kernel too."""
    failure = run.failure("mute")
    assert failure["kind"] == "deadline"
    assert failure["message"] == (
        "the kernel was not ready within the notebook's limit of 2.00s; it was killed"
    )
    (attempt,) = run.experiment("mute")["attempts"]
    assert attempt["duration_s"] < 2 + GRACE_S + GONE_S
    assert run.outcomes("mute") == ["failed", "not_run"]
