"""``run_experiment`` from Python, without pytest."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import (
    BLOCK,
    PATIENCE_S,
    STUBBORN_CHILD,
    Tree,
    await_condition,
    printed,
    read,
    still_there,
)

from pytest_nbgroups import (
    CellStarted,
    DeclarationError,
    Event,
    ExperimentFinished,
    ExperimentOutcome,
    ExperimentResult,
    ExperimentStarted,
    ExperimentWaiting,
    FailureKind,
    NotebookFinished,
    NotebookOutcome,
    NotebookStarted,
    SelectionError,
    run_experiment,
)
from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.scheduling.admission import Grant

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    monkeypatch.setenv("NBGROUPS_POOL", str(tmp_path / ".pool"))
    tree = Tree(tmp_path)
    yield tree
    tree.close()


def _told(event: Event) -> tuple[object, ...]:
    match event:
        case NotebookStarted() | CellStarted():
            return type(event), event.notebook, event.number, event.count
        case NotebookFinished():
            return type(event), event.result.name, event.number, event.count
        case ExperimentWaiting():
            return type(event), event.reason
        case ExperimentStarted():
            return type(event), event.notebooks
        case ExperimentFinished():
            return type(event), event.result.outcome


def test_events_in_order(tree: Tree) -> None:
    """Each fact once, as it happens, with times that do not run backwards; then the result."""
    tree.notebook("fit", "1-load.ipynb", "1", "", "2")
    tree.notebook("fit", "2-fit.ipynb", "print('x')", "1 / 0", "3")
    tree.notebook("fit", "10-eval.ipynb", "4")
    events: list[Event] = []
    result = run_experiment("experiments/fit", rootdir=tree.root, on_event=events.append)
    names = ("1-load.ipynb", "2-fit.ipynb", "10-eval.ipynb")
    assert [_told(event) for event in events] == [
        (ExperimentStarted, names),
        (NotebookStarted, "1-load.ipynb", 1, 3),
        (CellStarted, "1-load.ipynb", 1, 3),
        (CellStarted, "1-load.ipynb", 3, 3),
        (NotebookFinished, "1-load.ipynb", 1, 3),
        (NotebookStarted, "2-fit.ipynb", 2, 3),
        (CellStarted, "2-fit.ipynb", 1, 3),
        (CellStarted, "2-fit.ipynb", 2, 3),
        (NotebookFinished, "2-fit.ipynb", 2, 3),
        (ExperimentFinished, ExperimentOutcome.FAILED),
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert {event.experiment for event in events} == {"fit"}
    last = events[-1]
    assert isinstance(last, ExperimentFinished)
    assert last.result == result
    assert [notebook.outcome for notebook in result.notebooks] == [
        NotebookOutcome.PASSED,
        NotebookOutcome.FAILED,
        NotebookOutcome.NOT_RUN,
    ]
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CELL
    (first, second, third) = result.notebooks
    assert (first.cells_total, first.cells_executed) == (3, 2)
    assert second.executed_path is not None
    assert printed(read(second.executed_path).cells[0]) == "x\n"
    assert third.executed_path is None


def test_inside_of_a_running_loop(tree: Tree) -> None:
    """As in a notebook, whose kernel has one."""
    tree.notebook("one", "1-a.ipynb", "import os\nprint(os.environ['GIVEN'])")

    async def main() -> ExperimentResult:
        return run_experiment("experiments/one", rootdir=tree.root, env={"GIVEN": "value"})

    result = asyncio.run(main())
    assert result.outcome is ExperimentOutcome.PASSED
    (notebook,) = result.notebooks
    assert notebook.executed_path is not None
    assert printed(read(notebook.executed_path).cells[0]) == "value\n"


def test_two_threads_at_once(tree: Tree) -> None:
    """Each has kernels of its own: neither could end without the other."""
    meet = """
import time
from pathlib import Path
Path("../{mine}.here").touch()
end = time.monotonic() + 60
while not Path("../{other}.here").exists() and time.monotonic() < end:
    time.sleep(0.02)
assert Path("../{other}.here").exists()
"""
    tree.notebook("a", "1-meet.ipynb", meet.format(mine="a", other="b"))
    tree.notebook("b", "1-meet.ipynb", meet.format(mine="b", other="a"))
    with ThreadPoolExecutor(2) as pool:
        paths = ["experiments/a", "experiments/b"]
        results = list(pool.map(lambda path: run_experiment(path, rootdir=tree.root), paths))
    assert [result.name for result in results] == ["a", "b"]
    assert {result.outcome for result in results} == {ExperimentOutcome.PASSED}


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c(tree: Tree) -> None:
    """KeyboardInterrupt comes once nothing is left, and what ran is saved."""
    tree.notebook("a", "1-block.ipynb", "print('before')", STUBBORN_CHILD + BLOCK)
    directory = tree.directory("a")
    kernel: list[psutil.Process] = []

    def interrupt() -> None:
        await_condition((directory / "kernel.pid").exists)
        pids = [int((directory / name).read_text()) for name in ("kernel.pid", "child.pid")]
        kernel.extend(map(psutil.Process, pids))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        run_experiment("experiments/a", rootdir=tree.root, on_event=events.append)
    thread.join(PATIENCE_S)
    assert len(kernel) == 2
    assert still_there(kernel, within_s=0) == []
    last = events[-1]
    assert isinstance(last, ExperimentFinished)
    assert last.result.outcome is ExperimentOutcome.INTERRUPTED
    (notebook,) = last.result.notebooks
    assert notebook.executed_path is not None
    assert printed(read(notebook.executed_path).cells[0]) == "before\n"


def test_deadlines(tree: Tree) -> None:
    """Arguments win over what the directory declares."""
    tree.notebook("a", "1-sleep.ipynb", "import time\ntime.sleep(600)")
    tree.toml("a", "[run]\ncell_timeout = 500\n")
    result = run_experiment("experiments/a", rootdir=tree.root, cell_timeout="0.5s")
    assert result.failure is not None
    assert result.failure.message == (
        "cell 1 of 1 ran into the cell's limit of 0.50s; it was interrupted"
    )


@pytest.mark.parametrize("value", [0, -1, "soon", ""])
def test_a_bad_timeout(tree: Tree, value: float | str) -> None:
    """It is refused before anything starts, with what is accepted."""
    tree.notebook("a", "1-a.ipynb", "open('ran', 'w')")
    with pytest.raises(ValueError, match="expected"):
        run_experiment("experiments/a", rootdir=tree.root, timeout=value)
    assert not (tree.directory("a") / "ran").exists()


def test_independent_notebooks(tree: Tree) -> None:
    """Which one is to run has to be said."""
    tree.notebook("docs", "a.ipynb", "1")
    tree.notebook("docs", "b.ipynb", "2")
    tree.toml("docs", "[run]\nindependent = true\n")
    with pytest.raises(SelectionError, match="its notebooks are independent; name one of them"):
        run_experiment("experiments/docs", rootdir=tree.root)
    result = run_experiment("experiments/docs/b.ipynb", rootdir=tree.root)
    assert (result.name, [n.name for n in result.notebooks]) == ("docs/b", ["b.ipynb"])
    assert result.outcome is ExperimentOutcome.PASSED


def test_nothing_to_run(tree: Tree) -> None:
    """A directory without notebooks is an error, not a success."""
    tree.directory("none")
    with pytest.raises(SelectionError, match="no notebook to run"):
        run_experiment("experiments/none", rootdir=tree.root)


def test_a_bad_pyproject(tree: Tree) -> None:
    """It is named."""
    tree.notebook("a", "1-a.ipynb", "1")
    (tree.root / "pyproject.toml").write_text('[tool.nbgroups.experiments."*".run]\nwhat = 1\n')
    with pytest.raises(DeclarationError, match="what"):
        run_experiment("experiments/a", rootdir=tree.root)


def test_a_bad_declaration_is_a_result(tree: Tree) -> None:
    """As under pytest: the experiment has failed, with its reason."""
    tree.notebook("a", "1-a.ipynb", "1")
    tree.toml("a", "[resources]\ngpus = 1.5\n")
    result = run_experiment("experiments/a", rootdir=tree.root)
    assert result.outcome is ExperimentOutcome.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.DECLARATION
    assert "1.5" in result.failure.message


def test_without_pytest(tree: Tree) -> None:
    """Neither pytest nor xdist is imported."""
    tree.notebook("a", "1-a.ipynb", "1")
    program = (
        "import sys\n"
        "from pytest_nbgroups import run_experiment\n"
        "result = run_experiment('experiments/a')\n"
        "print(result.outcome, sorted({'pytest', '_pytest', 'xdist', 'execnet'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree.root,
        env=tree.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("passed []\n", "")


def test_what_a_listener_raises_is_a_warning(tree: Tree) -> None:
    """The run goes on, and the result tells of it."""
    tree.notebook("fit", "1-load.ipynb", "1")

    def listen(event: Event) -> None:
        raise LookupError(type(event).__name__)

    result = run_experiment("experiments/fit", rootdir=tree.root, on_event=listen)
    assert result.outcome is ExperimentOutcome.PASSED
    assert "on_event raised LookupError: NotebookStarted" in result.warnings


def test_nothing_old_stays_beside_what_is_new(tree: Tree) -> None:
    """Of an earlier run neither executed notebooks nor logs are left; other experiments keep theirs."""
    tree.notebook("fit", "1-load.ipynb", "import os; os.write(2, b'noise')")
    tree.notebook("fit", "2-fit.ipynb", "1")
    tree.notebook("fit/inner", "1-own.ipynb", "1")
    for name in ("fit/inner", "fit"):
        run_experiment(f"experiments/{name}", rootdir=tree.root)
    executed = tree.root / ".experiments/notebooks/fit"
    logs = tree.root / ".experiments/logs/fit"
    assert sorted(p.name for p in executed.glob("*.ipynb")) == ["1-load.ipynb", "2-fit.ipynb"]
    assert (logs / "1-load.log").read_bytes() == b"noise"
    (tree.root / "experiments/fit/1-load.ipynb").write_text("{")
    result = run_experiment("experiments/fit", rootdir=tree.root)
    assert result.outcome is ExperimentOutcome.FAILED
    assert result.notebooks[0].log_path is None
    assert list(executed.glob("*.ipynb")) == []
    assert list(logs.glob("*.log")) == []
    assert (executed / "inner" / "1-own.ipynb").exists()


def test_the_last_words_of_a_kernel_are_told(tree: Tree) -> None:
    """What compiled code wrote before it went down is in the log, and so in the failure."""
    waits = (
        "import os\nfrom pathlib import Path\nlog = Path('../../.experiments/logs/fit/1-abort.log')\n"
        "while b'fatal' not in log.read_bytes():\n    pass\nos.abort()"
    )
    tree.notebook("fit", "1-abort.ipynb", "import os; os.write(2, b'libfoo: fatal\\n')", waits)
    result = run_experiment("experiments/fit", rootdir=tree.root)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.KERNEL_DIED
    assert result.failure.traceback == "libfoo: fatal"


def test_a_long_line(tree: Tree) -> None:
    """Megabytes without a line end, in many pieces, are one output and cost no time to speak of."""
    tree.notebook("fit", "1-print.ipynb", "for _ in range(4): print('x' * 1_000_000, end='')")
    result = run_experiment("experiments/fit", rootdir=tree.root, cell_timeout="1min")
    assert result.outcome is ExperimentOutcome.PASSED, result.failure
    executed = result.notebooks[0].executed_path
    assert executed is not None
    (output,) = read(executed).cells[0].outputs
    assert len(output.text) == 4_000_000


def test_a_group_of_exceptions(tree: Tree) -> None:
    """IPython prints its traceback; the failure has it once, and nothing of nbclient's wording."""
    tree.notebook(
        "fit", "1-group.ipynb", "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])"
    )
    result = run_experiment("experiments/fit", rootdir=tree.root)
    assert result.failure is not None
    assert result.failure.message.startswith("ExceptionGroup: g")
    assert "An error occurred while executing" not in result.failure.traceback
    assert "ValueError: 1" in result.failure.traceback + result.failure.output


def test_arguments_are_named(tree: Tree) -> None:
    """The argument and its value are in the message."""
    tree.notebook("fit", "1-load.ipynb", "1")
    with pytest.raises(ValueError, match=r"cell_timeout = -1: expected more than zero"):
        run_experiment("experiments/fit", rootdir=tree.root, cell_timeout=-1)
    with pytest.raises(SelectionError, match="no such directory"):
        run_experiment("experiments/nowhere", rootdir=tree.root)
    result = run_experiment("experiments/fit", rootdir=tree.root, env={"A": 1})  # type: ignore[dict-item]
    assert result.failure is not None
    assert result.failure.message == "environment variable 'A' = 1: expected a name and a text"


def test_a_wait_is_reported(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a listener one line on stderr reports for whom it waits; without a wait there is none."""
    tree.notebook("fit", "1.ipynb", "")
    run_experiment("experiments/fit", rootdir=tree.root)
    assert capsys.readouterr().err == ""
    need = Need(cpus=1, ram_bytes=0, ram_source="declared", exclusive=True)
    claim = Claim(need=need, experiment="Lung", session="another", user="anna")
    seen: list[str] = []

    def has_reported() -> bool:
        seen.append(capsys.readouterr().err)
        return any(seen)

    pool = LeasePool(tree.root / ".pool")
    with ThreadPoolExecutor() as threads:
        with pool.lease(claim, admission=lambda *_: Grant()):
            running = threads.submit(run_experiment, "experiments/fit", rootdir=tree.root)
            assert await_condition(has_reported)
        assert running.result().outcome is ExperimentOutcome.PASSED
    (line,) = "".join([*seen, capsys.readouterr().err]).splitlines()
    assert line.startswith("fit waits: cannot run beside an exclusive one; waits for Lung (pid ")
