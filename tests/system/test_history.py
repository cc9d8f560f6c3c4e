"""Sessions that write one history at once and are killed while they do."""

from __future__ import annotations

import random
import signal
import sqlite3  # noqa: TID253  to look into what is left
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.store import Session, open_history

WRITER = """
import itertools, os, sys, time
from pathlib import Path
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.store import StoredAttempt, Session, open_history
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, NotebookOutcome, NotebookResult
from pytest_nbgroups.core.resources import Usage

folder, name = Path(sys.argv[1]), sys.argv[2]
log = os.open(f"{name}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
machine = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)
session = Session(
    id=name, started_at=time.time(), machine=machine, plugin_version="1", python_version="3"
)

def acknowledge(*words):
    if history.warnings:
        sys.exit(history.warnings[0])
    os.write(log, (" ".join(map(str, words)) + "\\n").encode())

with open_history(folder, session) as history:
    for number in itertools.count(1):
        attempt = StoredAttempt(name=f"Experiment-{number % 7}", started_at=float(number))
        notebooks = []
        for position in (1, 2, 3):
            notebooks.append(
                NotebookResult(
                    name=f"{position}.ipynb",
                    outcome=NotebookOutcome.PASSED,
                    usage=Usage(peak_bytes=number),
                )
            )
            history.record_notebook(attempt, position, notebooks[-1], at=number + position)
            acknowledge("notebook", number, position)
        history.record_experiment(
            ExperimentResult(
                name=attempt.name,
                directory=folder,
                outcome=ExperimentOutcome.PASSED,
                notebooks=tuple(notebooks),
                started_at=attempt.started_at,
                duration_s=1.0,
            ),
            nodeid=attempt.name,
        )
        acknowledge("experiment", number, 3)
        if number == 1:
            print("writing", flush=True)
"""

WRITERS = 6
ROUNDS = 2
LONGEST_S = 1.0
"""How long the last writer of a round lives on after all have begun to write."""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_nothing_acknowledged_is_lost(tmp_path: Path, chance: random.Random) -> None:
    """Killed at any moment, sessions leave a sound file with every row whose write had returned."""
    folder = tmp_path / ".experiments"
    for number in range(ROUNDS):
        with ExitStack() as stack:
            names = [f"session-{number}-{writer}" for writer in range(WRITERS)]
            writers = [stack.enter_context(writing(tmp_path, folder, name)) for name in names]
            for writer in writers:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "writing\n"
            kill_at_random(writers, chance)
    acknowledged = set(read_logs(tmp_path))
    assert len({session for session, *_ in acknowledged}) == ROUNDS * WRITERS
    with closing(sqlite3.connect(folder / "history.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert acknowledged <= set(stored(connection))
    assert_usable(folder)


def writing(place: Path, folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name],
        cwd=place,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_at_random(writers: list[subprocess.Popen[str]], chance: random.Random) -> None:
    """One after the other, so that others write when one is killed."""
    began = time.monotonic()
    ends = sorted(chance.uniform(0, LONGEST_S) for _ in writers)
    for writer, end in zip(writers, ends, strict=True):
        time.sleep(max(0.0, began + end - time.monotonic()))
        writer.kill()
        assert writer.wait() == -signal.SIGKILL


def read_logs(place: Path) -> Iterator[tuple[str, str, float, int]]:
    """What the writers were told is on the disk: session, what it is, number, position."""
    for log in place.glob("*.log"):
        for line in log.read_text().splitlines():
            what, number, position = line.split()
            yield log.stem, what, float(number), int(position)


def stored(connection: sqlite3.Connection) -> Iterator[tuple[str, str, float, int]]:
    yield from connection.execute(
        "SELECT session_id, 'notebook', started_at, position "
        "FROM experiments e JOIN notebooks n ON n.experiment_id = e.id"
    )
    yield from connection.execute(
        "SELECT session_id, 'experiment', started_at, count(*) FROM experiments e "
        "JOIN notebooks n ON n.experiment_id = e.id WHERE e.outcome = 'passed' GROUP BY e.id"
    )


def assert_usable(folder: Path) -> None:
    """The next session finds what to expect, and leaves one file."""
    machine = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)
    session = Session(
        id="next", started_at=time.time(), machine=machine, plugin_version="1", python_version="3"
    )
    with open_history(folder, session) as history:
        known = history.estimates(machine.kind)
    assert history.warnings == ()
    assert known["Experiment-1"].runs
    assert {path.name for path in folder.iterdir()} == {".gitignore", "history.sqlite"}
