"""However a session ends, nothing of it is left: every end, beside every state of a kernel, told in a table.

It takes too long for every run, so its name keeps it from being collected unless it is given:
``pytest tests/system/kill_matrix.py``. In each cell of the table stands how long pytest lived on after what
was done to it, and how long the last of its processes did; what is wrong makes the cell fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3  # noqa: TID253  to look into a history
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import (
    GONE_S,
    PATIENCE_S,
    PROMISED_S,
    STUBBORN_CHILD,
    Finished,
    Running,
    Tree,
    await_condition,
    printed,
    worker_of,
)

from pytest_nbgroups.leases.pool import LeasePool

if sys.platform == "win32":
    pytest.skip("sends POSIX signals", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist]

MARK = "NBGROUPS_MATRIX"
PROCESSES = ["-n0", "-n2"]
TINY = '[resources]\ncpus = 0.1\nram = "60MB"\n'
SLEEP = "import time\ntime.sleep(600)"
READY = "import os, pathlib\npathlib.Path('new').write_text(str(os.getpid()))\nos.rename('new', 'ready')"
BUSY_BESIDE = """
import hashlib, threading
def busy():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)
threading.Thread(target=busy, daemon=True).start()
"""
"""For a notebook that ends: a thread that never comes back from C."""
SHARED_MEMORY = """
from multiprocessing.shared_memory import SharedMemory
kept = [SharedMemory(create=True, size=20_000) for _ in range(20)]
with open("segments", "a") as file:
    file.writelines(f"{each.name}\\n" for each in kept)
"""
"""What only the resource tracker of the kernel removes."""
SHARED_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  that is where it is


@dataclass(frozen=True, kw_only=True)
class State:
    """What a kernel does when the end comes."""

    prepare: str = ""
    """Before a notebook that ends by itself has ended."""
    hold: str = SLEEP
    """Instead of ending."""


STATES = {
    "idle": State(),
    "busy in C": State(prepare=BUSY_BESIDE, hold="import itertools\nmax(itertools.repeat(1))"),
    "grandchild": State(prepare=STUBBORN_CHILD, hold=STUBBORN_CHILD + SLEEP),
    "shared memory": State(prepare=SHARED_MEMORY, hold=SHARED_MEMORY + SLEEP),
}


@dataclass(kw_only=True)
class Cell:
    """One session of the matrix: its folder, what runs in it, and what became of it."""

    processes: str
    state: State
    root: Path
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[str, Any] = field(default_factory=dict)
    began: float = 0.0
    """When the end was brought about; seconds of the monotonic clock."""
    ended_s: float = 0.0
    """How long pytest lived on after that."""
    gone_s: float = 0.0
    """How long after that the last of its processes did."""

    def __post_init__(self) -> None:
        self.tree = Tree(self.root, ini="[pytest]\nfilterwarnings = error\n")
        for name in ("temporary", "runtime"):
            (self.root / name).mkdir(mode=0o700)

    @property
    def has_workers(self) -> bool:
        return self.processes != "-n0"

    @property
    def running(self) -> tuple[str, ...]:
        """The experiments that run when the end comes."""
        return ("a", "b") if self.has_workers else ("a",)

    def experiment(self, name: str, *last: str) -> None:
        """Two notebooks, the second of which is the one that matters, and one that never runs."""
        self.tree.notebook(name, "1-first.ipynb", "print('first')")
        self.tree.notebook(name, "2-second.ipynb", "print('before')", *last)
        self.tree.notebook(name, "3-third.ipynb", "open('ran', 'w')")
        self.tree.toml(name, TINY)

    def hold(self) -> None:
        """Have everything that runs at once stay in its second notebook."""
        for name in self.running:
            self.experiment(name, f"{READY}\n{self.state.hold}")

    def start(self) -> Running:
        run = self.tree.start(
            *("-p", "nbgroups", "-p", "xdist", self.processes, *self.arguments),
            env={
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                MARK: self.marker,
                "TMPDIR": str(self.root / "temporary"),
                "XDG_RUNTIME_DIR": str(self.root / "runtime"),
                **self.env,
            },
            **self.streams,
        )
        self.began = time.monotonic()
        return run

    def start_held(self) -> Running:
        """Start, and wait until each second notebook is where it stays and the first is recorded."""
        self.hold()
        run = self.start()
        run.await_file(*(self.root / "experiments" / name / "ready" for name in self.running))
        if self.state.hold.startswith(STUBBORN_CHILD):
            run.await_file(*(self.root / "experiments" / n / "child.pid" for n in self.running))
        saved = [self.executed(name, "2-second.ipynb") for name in self.running]
        assert await_condition(lambda: all(path.exists() for path in saved)), "not saved meanwhile"
        self.began = time.monotonic()
        return run

    def kernel(self, name: str = "a") -> psutil.Process:
        return psutil.Process(int((self.root / "experiments" / name / "ready").read_text()))

    def wait(self, run: Running) -> Finished:
        finished = run.wait(PATIENCE_S)
        ended = time.monotonic()
        self.ended_s = ended - self.began
        await_condition(lambda: not marked(self.marker), GONE_S)
        self.gone_s = time.monotonic() - ended
        return finished

    def executed(self, name: str, notebook: str) -> Path:
        return self.root / ".experiments/notebooks" / name / notebook

    # What must be true in the end

    def processes_left(self) -> list[str]:
        """All that carry the mark of this session in their environment."""
        return [f"{p.pid} {' '.join(p.cmdline())}" for p in marked(self.marker)]

    def left(self) -> list[str]:
        """What is left of it: processes, leases, temporary files, shared memory."""
        snapshot = LeasePool(self.root / ".pool").snapshot()
        files = [
            str(path.relative_to(self.root))
            for folder in ("temporary", "runtime", ".experiments")
            for path in (self.root / folder).rglob("*")
            if folder != ".experiments" or path.suffix in {".tmp", ".sqlite-wal", ".sqlite-shm"}
        ]
        return [
            *self.processes_left(),
            *(f"a lease of {claim.experiment}" for claim in snapshot.holders + snapshot.waiting),
            *files,
            *(name for name in self._segments() if (SHARED_MEMORY_FOLDER / name).exists()),
        ]

    def _segments(self) -> list[str]:
        files = self.root.glob("experiments/*/segments")
        return [name for file in files for name in file.read_text().split()]

    def notebooks_in_history(self, name: str) -> dict[str, str]:
        with contextlib.closing(sqlite3.connect(self.root / ".experiments/history.sqlite")) as file:
            return dict(
                file.execute(
                    "SELECT notebooks.name, notebooks.outcome FROM notebooks JOIN experiments"
                    " ON experiment_id = experiments.id WHERE experiments.name = ?",
                    (name,),
                ).fetchall()
            )

    def assert_kept(self, *names: str) -> None:
        """What had finished is in history and on the disk; the second notebook has what it printed."""
        disk = Finished(root=self.root, returncode=0, text="")
        for name in names:
            assert self.notebooks_in_history(name)["1-first.ipynb"] == "passed"
            assert printed(disk.executed(name, "1-first.ipynb").cells[0]) == "first\n"
            assert printed(disk.executed(name, "2-second.ipynb").cells[0]) == "before\n"
            assert not (self.root / "experiments" / name / "ran").exists()


def marked(marker: str) -> list[psutil.Process]:
    """The processes that carry a mark in their environment, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_ours = process.environ().get(MARK) == marker
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


# The ends


def passes(cell: Cell) -> None:
    """Everything passes."""
    for name in ("a", "b"):
        cell.experiment(name, cell.state.prepare or "pass")
    finished = cell.wait(cell.start())
    assert finished.returncode == pytest.ExitCode.OK, finished.text
    assert finished.outcomes("a") == finished.outcomes("b") == ["passed"] * 3


def fails(cell: Cell) -> None:
    """One experiment fails, the other passes."""
    cell.experiment("a", cell.state.prepare + "\n1 / 0")
    cell.experiment("b", "pass")
    finished = cell.wait(cell.start())
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]
    assert finished.outcomes("b") == ["passed"] * 3
    cell.assert_kept("a")


def fails_with_x(cell: Cell) -> None:
    """The first failure ends the session; what runs beside it is interrupted."""
    cell.arguments = ("-x",)
    meet = "import pathlib, time\nwhile not pathlib.Path('../b/ready').exists():\n    time.sleep(0.01)\n"
    held = f"{READY}\n{cell.state.hold}"
    cell.experiment("a", cell.state.prepare + (meet if cell.has_workers else "") + "\n1 / 0")
    cell.experiment("b", held)
    finished = cell.wait(cell.start())
    expected = pytest.ExitCode.INTERRUPTED if cell.has_workers else pytest.ExitCode.TESTS_FAILED
    assert finished.returncode == expected, finished.text
    assert finished.outcomes("a") == ["passed", "failed", "not_run"]
    cell.assert_kept(*cell.running)
    if cell.has_workers:
        assert finished.outcomes("b") == ["passed", "interrupted", "not_run"]
    else:
        assert [e["name"] for e in finished.session["experiments"]] == ["a"]


def _interrupted(cell: Cell, run: Running) -> None:
    finished = cell.wait(run)
    assert finished.returncode == pytest.ExitCode.INTERRUPTED, finished.text
    assert cell.ended_s < PROMISED_S
    assert "INTERNALERROR" not in finished.text
    for name in cell.running:
        assert finished.outcomes(name) == ["passed", "interrupted", "not_run"]
    cell.assert_kept(*cell.running)


def ctrl_c(cell: Cell) -> None:
    """At the terminal, which sends it to the whole foreground group."""
    master, slave = os.openpty()
    cell.streams = {
        "stdin": slave,
        "stdout": slave,
        "stderr": slave,
        "start_new_session": False,
        "preexec": lambda: os.login_tty(slave),
    }

    def drain() -> None:
        with contextlib.suppress(OSError):  # EIO once the last process has gone
            while os.read(master, 65536):
                pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        run = cell.start_held()
        os.close(slave)
        os.write(master, b"\x03")
        _interrupted(cell, run)
    finally:
        reader.join(PATIENCE_S)
        os.close(master)


def sigint(cell: Cell) -> None:
    """To the controller alone."""
    run = cell.start_held()
    run.process.send_signal(signal.SIGINT)
    _interrupted(cell, run)


def sigterm(cell: Cell) -> None:
    """To the controller alone."""
    run = cell.start_held()
    run.process.terminate()
    _interrupted(cell, run)


def kill_controller(cell: Cell) -> None:
    """SIGKILL to pytest, or to the controller of its workers."""
    run = cell.start_held()
    run.process.kill()
    finished = cell.wait(run)
    assert finished.returncode == -signal.SIGKILL
    cell.assert_kept(*cell.running)


def kill_worker(cell: Cell) -> None:
    """SIGKILL to the worker of an experiment; the other one's kernel then ends too."""
    if not cell.has_workers:
        pytest.skip("there is no worker")
    run = cell.start_held()
    worker = worker_of(cell.kernel())
    other = cell.kernel("b")
    worker.kill()
    killed = time.monotonic()
    gone = await_condition(lambda: not cell_processes_of(cell, worker.pid), GONE_S)
    assert gone, f"after {time.monotonic() - killed:.1f} s"
    other.kill()
    cell.began = time.monotonic()
    finished = cell.wait(run)
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
    assert finished.outcomes("a") == ["passed", "interrupted", "not_run"]
    assert finished.outcomes("b") == ["passed", "failed", "not_run"]
    assert len(finished.session["experiments"]) == len(cell.running)
    cell.assert_kept(*cell.running)


def cell_processes_of(cell: Cell, worker: int) -> list[int]:
    """Processes of the cell in the worker's experiment, by their working directory."""
    found = []
    for process in marked(cell.marker):
        with contextlib.suppress(psutil.Error):
            if process.pid == worker or process.cwd().endswith("/experiments/a"):
                found.append(process.pid)
    return found


def kill_kernel(cell: Cell) -> None:
    """SIGKILL to each kernel that runs."""
    run = cell.start_held()
    for name in cell.running:
        cell.kernel(name).kill()
    finished = cell.wait(run)
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.text
    for name in cell.running:
        assert finished.outcomes(name) == ["passed", "failed", "not_run"]
        assert "SIGKILL" in finished.failure(name)["message"]
    cell.assert_kept(*cell.running)


EXIT = """
import pathlib, pytest, threading

def pytest_experiment_event(config, event):
    if type(event).__name__ == "CellStarted" and (event.experiment, event.number) == {last!r}:
        while not pathlib.Path("go").exists():
            threading.Event().wait(0.01)
        pytest.exit("enough", returncode=5)
"""


def exit_in_a_hook(cell: Cell) -> None:
    """``pytest.exit`` in a hook, here of an event that comes while all notebooks run.

    Without workers that is just before the cell in which the notebook would stay: the kernel has its
    state from the one before.
    """
    go = cell.root / "go"
    if cell.has_workers:
        last = (cell.running[-1], 2)
    else:
        last = ("a", 3)
        go.touch()
    cell.tree.root.joinpath("conftest.py").write_text(EXIT.format(last=last))
    if cell.has_workers:
        run = cell.start_held()
        go.touch()
    else:
        cell.experiment("a", cell.state.prepare or "pass", SLEEP)
        run = cell.start()
    finished = cell.wait(run)
    assert finished.returncode == 5, finished.text
    assert "enough" in finished.text
    for name in cell.running:
        assert finished.outcomes(name) == ["passed", "interrupted", "not_run"]
    cell.assert_kept(*cell.running)


def full_disk(cell: Cell) -> None:
    """The disk with the artifacts fills up: warnings, and the results stand."""
    folder = cell.root / ".experiments"
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        for name in ("a", "b"):
            cell.experiment(name, cell.state.prepare or "pass", "print('x' * 400_000)")
        finished = cell.wait(cell.start())
        assert finished.returncode == pytest.ExitCode.OK, finished.text
        assert "2 passed" in finished.text
        assert "No space left on device" in finished.text
        assert "INTERNALERROR" not in finished.text
        assert "Traceback" not in finished.text
    finally:
        subprocess.run(["/bin/umount", str(folder)], check=True)


ENDS: Mapping[str, Callable[[Cell], None]] = {
    "pass": passes,
    "fail": fails,
    "-x": fails_with_x,
    "Ctrl-C": ctrl_c,
    "SIGINT to pytest": sigint,
    "SIGTERM to pytest": sigterm,
    "SIGKILL to pytest": kill_controller,
    "SIGKILL to a worker": kill_worker,
    "SIGKILL to kernels": kill_kernel,
    "pytest.exit in a hook": exit_in_a_hook,
    "disk full": full_disk,
}


class Table:
    """The results, a row for each end and a column for each state."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, str, str], str] = {}

    def lines(self) -> Iterator[str]:
        columns = [(processes, state) for processes in PROCESSES for state in STATES]
        yield f"{'':<22}" + "".join(f"{f'{p} {s}':>18}" for p, s in columns)
        for end in ENDS:
            cells = (self.results.get((end, *column), "") for column in columns)
            yield f"{end:<22}" + "".join(f"{text:>18}" for text in cells)
        yield (
            "seconds until pytest had ended + until its last process had; left over in all: "
            + str(sum(text.startswith("left") for text in self.results.values()))
        )


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    table = Table()
    yield table
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *table.lines(), sep="\n")  # noqa: T201  that is what it is for


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets have room for little more than a hundred bytes."""
    path = Path(tempfile.mkdtemp(prefix="nbm-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("end", ENDS)
def test_end(end: str, processes: str, state: str, folder: Path, table: Table) -> None:
    """It ends as pytest documents, what had run is kept, and within ten seconds nothing is left."""
    key = end, processes, state
    cell = Cell(processes=processes, state=STATES[state], root=folder / "r")
    table.results[key] = "FAILED"
    try:
        ENDS[end](cell)
        left = cell.left()
        table.results[key] = (
            f"left: {len(left)}" if left else f"{cell.ended_s:.1f} + {cell.gone_s:.1f}"
        )
        assert left == []
    except pytest.skip.Exception:
        table.results[key] = "-"
        raise
    finally:
        cell.tree.close()
        for process in marked(cell.marker):
            process.kill()
