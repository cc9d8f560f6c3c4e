"""What a history costs and what it survives: ``python benchmarks/history.py``. Needs Linux or macOS.

Three parts. First, sessions that write at once, half of them killed (SIGKILL) at random moments: the
rows of results that had been reported and are missing afterwards. Beside ours the file of a peer:
one JSON file that a session reads when it starts and rewrites when it ends, as pytest-split keeps its
durations. The same killings for both, in the same run. Second, the time of one write alone. Third, the
time of the estimates in a large history, and its size.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import operator
import os
import random
import signal
import sqlite3  # noqa: TID253  to look into what is left
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pytest_nbgroups.core.model import (
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.history import database, statements
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.store import History, Session, StoredAttempt, open_history

MACHINE = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)
FORK = multiprocessing.get_context("fork")

Row = tuple[str, int]
"""Session, and number of the notebook in it."""
Writer = Callable[[Path, str, float], None]
"""Writes below a folder, as a session, until a time on the monotonic clock."""


def session(name: str) -> Session:
    return Session(
        id=name,
        started_at=time.time(),
        machine=MACHINE,
        plugin_version="1",
        python_version="3",
    )


def record(history: History, name: str, number: int) -> None:
    attempt = StoredAttempt(name=f"{name}/{number % 7}", started_at=float(number))
    notebook = NotebookResult(
        name="1-load.ipynb",
        outcome=NotebookOutcome.PASSED,
        duration_s=1.0,
        usage=Usage(peak_bytes=number, cpu_s=1.0),
    )
    history.record_notebook(attempt, 1, notebook, at=number + 1.0)


class Log:
    """What was reported, on the disk as far as a killed process is concerned."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = os.open(folder / f"{name}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def report(self, number: int, seconds: float) -> None:
        os.write(self._file, f"{number} {seconds}\n".encode())


def write_history(folder: Path, name: str, end: float) -> None:
    log, number = Log(folder, name), 0
    with open_history(folder, session(name)) as history:
        while time.monotonic() < end:
            number += 1
            start = time.perf_counter()
            record(history, name, number)
            if history.warnings:
                sys.exit(history.warnings[0])
            log.report(number, time.perf_counter() - start)


def write_json(folder: Path, name: str, end: float) -> None:
    """As a plugin that keeps what it measured until the session ends."""
    path, log, number = folder / "history.json", Log(folder, name), 0
    known = json.loads(path.read_text()) if path.exists() else {}
    while time.monotonic() < end:
        number += 1
        known[f"{name} {number}"] = 1.0
        log.report(number, 0.0)
        time.sleep(0.01)
    path.write_text(json.dumps(known))


def stored_in_history(folder: Path) -> set[Row]:
    with closing(sqlite3.connect(folder / "history.sqlite")) as connection:
        rows = connection.execute("SELECT session_id, started_at FROM experiments")
        return {(name, int(number)) for name, number in rows}


def stored_in_json(folder: Path) -> set[Row]:
    try:
        known = json.loads((folder / "history.json").read_text())
    except (OSError, ValueError):
        return set()
    return {(name, int(number)) for name, number in map(str.split, known)}


def reported_in(folder: Path) -> Iterator[tuple[Row, float]]:
    for log in folder.glob("*.log"):
        for line in log.read_text().splitlines():
            number, seconds = line.split()
            yield (log.stem, int(number)), float(seconds)


def torment(write: Writer, folder: Path, *, writers: int, seconds: float) -> int:
    """Start the writers; at random moments one of two ends, the other is killed. Give the kills."""
    chance, now = random.Random(1), time.monotonic()  # noqa: S311  no secret
    ends = [now + chance.uniform(seconds / 2, seconds) for _ in range(writers)]
    processes = [
        FORK.Process(target=write, args=(folder, f"session-{number}", end))
        for number, end in enumerate(ends)
    ]
    for process in processes:
        process.start()
    # One that is killed would have gone on for a while.
    killed = list(zip(ends, processes, strict=True))[::2]
    for end, process in sorted(killed, key=operator.itemgetter(0)):
        time.sleep(max(0.0, end - seconds / 10 - time.monotonic()))
        process.kill()
    for process in processes:
        process.join()
    return sum(process.exitcode == -signal.SIGKILL for process in processes)


def compare(writers: int, seconds: float) -> int:
    """Print what each lost; give how many rows ours lost."""
    print(
        f"{writers} sessions at once, {seconds:g} s\n"
        f"{'':<16}{'kills':>6}{'reported':>10}{'missing':>9}{'integrity':>11}"
        f"{'a write, median':>17}{'99 %':>9}"
    )
    lost = []
    for label, write, stored in (
        ("ours", write_history, stored_in_history),
        ("one JSON file", write_json, stored_in_json),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            kills = torment(write, folder, writers=writers, seconds=seconds)
            reported = dict(reported_in(folder))
            lost.append(len(reported.keys() - stored(folder)))
            print(
                f"{label:<16}{kills:>6}{len(reported):>10,}{lost[-1]:>9,}{sound(folder):>11}"
                f"{milliseconds(list(reported.values()))}"
            )
    return lost[0]


def sound(folder: Path) -> str:
    """What SQLite says of the file, or whether JSON can be read."""
    if (folder / "history.sqlite").exists():
        with closing(sqlite3.connect(folder / "history.sqlite")) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    return "ok" if stored_in_json(folder) else "unreadable"


def milliseconds(times: list[float]) -> str:
    if not any(times):
        return f"{'at its end':>17}"
    percentiles = statistics.quantiles(times, n=100)
    return f"{percentiles[49] * 1000:>14.2f} ms{percentiles[98] * 1000:>6.0f} ms"


def time_writes(count: int) -> None:
    with tempfile.TemporaryDirectory() as scratch, open_history(Path(scratch), session("a")) as h:
        times = []
        for number in range(count):
            start = time.perf_counter()
            record(h, "a", number)
            times.append(time.perf_counter() - start)
        assert not h.warnings, h.warnings  # noqa: S101
        probe = Path(scratch) / "probe"
        print(
            f"\none session alone, {count:,} writes, each on the disk when it returns\n"
            f"{'':<16}{'median':>11}{'99 %':>9}\n{'ours':<16}{milliseconds(times)[6:]}\n"
            f"{'append + fsync':<16}{milliseconds(fsync_times(probe, count))[6:]}"
        )


def fsync_times(path: Path, count: int) -> list[float]:
    """What the disk takes at least."""
    times = []
    with path.open("ab", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return times


def fill(path: Path, experiments: int, sessions: int, notebooks: int) -> None:
    """Write a history as sessions would have left it, in one transaction instead of one for each row."""
    chance = random.Random(1)  # noqa: S311  no secret
    with (
        closing(database.open_for_writing(path, timeout_s=1.0, wal=True)) as connection,
        database.transaction(connection),
    ):
        for at in range(sessions):
            of = replace(session(f"2025-01-31T12-30-{at:02}Z-1a2b3c"), started_at=float(at))
            for number in range(experiments):
                result = random_result(f"Experiment-{number:04}", at, notebooks, chance)
                attempt = StoredAttempt(
                    name=result.name,
                    started_at=result.started_at,
                    nodeid=f"experiments/{result.name}::notebooks",
                    worker="gw1",
                )
                statements.write_experiment(connection, of, attempt, result)


def random_result(name: str, at: float, notebooks: int, chance: random.Random) -> ExperimentResult:
    """Nineteen of twenty have passed."""
    return ExperimentResult(
        name=name,
        directory=Path(name),
        outcome=chance.choices(list(ExperimentOutcome)[:2], weights=(19, 1))[0],
        notebooks=tuple(
            NotebookResult(
                name=f"{number}-step.ipynb",
                outcome=NotebookOutcome.PASSED,
                duration_s=chance.uniform(1, 900),
                usage=Usage(
                    peak_bytes=chance.randrange(2**34), cpu_s=chance.uniform(1, 900), gpu_bytes=0
                ),
            )
            for number in range(1, notebooks + 1)
        ),
        started_at=at,
        duration_s=chance.uniform(1, 900),
    )


def time_estimates(experiments: int, sessions: int, notebooks: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder / "history.sqlite", experiments, sessions, notebooks)
        times = []
        for _ in range(7):
            with open_history(folder, session("reader")) as history:
                start = time.perf_counter()
                found = history.estimates(MACHINE.kind)
                times.append(time.perf_counter() - start)
        size = (folder / "history.sqlite").stat().st_size
        start = time.perf_counter()
        with open_history(folder, session("last")) as history:
            record(history, "a", 1)
        session_s = time.perf_counter() - start
        print(
            f"{experiments:>7,} experiments x {sessions} sessions x {notebooks} notebooks: "
            f"{len(found):,} estimates in {statistics.median(times) * 1000:.1f} ms "
            f"(least {min(times) * 1000:.1f}), {size / 1e6:.1f} MB; "
            f"opened, one write, closed in {session_s * 1000:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--writes", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"in {tempfile.gettempdir()}, {os.cpu_count()} CPUs, SQLite {sqlite3.sqlite_version}")
    lost = compare(arguments.writers, arguments.seconds)
    time_writes(arguments.writes)
    print("\nestimates, with the opening of the file")
    for size in ((20, 50, 5), (200, 50, 5), (2000, 50, 5)):
        time_estimates(*size)
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
