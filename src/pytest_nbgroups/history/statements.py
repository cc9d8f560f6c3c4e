"""Statements that write to an open history and read from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeAlias

from pytest_nbgroups.core.codec import Bounds, rebuild
from pytest_nbgroups.core.errors import DataError
from pytest_nbgroups.core.model import ExperimentResult, NotebookResult
from pytest_nbgroups.core.text import encodable
from pytest_nbgroups.history import rows
from pytest_nbgroups.history.database import Connection
from pytest_nbgroups.history.rows import Session, StoredAttempt
from pytest_nbgroups.history.tables import EXPERIMENTS, MACHINES, NOTEBOOKS, SESSIONS, inserting
from pytest_nbgroups.scheduling.estimates import WINDOW, PastRun

SESSIONS_KEPT = 50
"""Number of newest runs kept of each experiment."""

# CROSS JOIN fixes the order of the loops: each part finds its newest runs through the index.
# https://www.sqlite.org/optoverview.html
_NEWEST_RUNS = """
    WITH parts AS (
        SELECT DISTINCT machine_id, name, is_complete FROM experiments
        WHERE machine_id = (SELECT id FROM machines WHERE kind = ?)
    )
    SELECT e.name, e.started_at, e.is_complete, e.duration_s, e.peak_bytes, e.cpu_s, e.gpu_bytes
    FROM parts CROSS JOIN experiments AS e ON e.id IN (
        SELECT r.id FROM experiments AS r
        WHERE machine_id = parts.machine_id AND name = parts.name AND is_complete = parts.is_complete
            AND (is_complete OR EXISTS (
                SELECT 1 FROM notebooks AS n
                WHERE experiment_id = r.id AND n.outcome IN ('passed', 'failed', 'interrupted')
            ))
        ORDER BY started_at DESC LIMIT ?
    )
"""
_BOUNDS = Bounds(least=0, below=2**62)
_Amount: TypeAlias = Annotated[float, _BOUNDS]
_Count: TypeAlias = Annotated[int, _BOUNDS]
_ROW: type[tuple[Any, ...]] = tuple[
    str, _Amount, _Count, _Amount | None, _Count | None, _Amount | None, _Count | None
]
"""The name and the values of a `PastRun`, as `_NEWEST_RUNS` gives them."""
_TOTALS_SO_FAR = """
    UPDATE experiments SET
        duration_s = :duration_s,
        (peak_bytes, is_upper_bound, cpu_s, gpu_bytes) = (
            SELECT max(peak_bytes), max(is_upper_bound), sum(cpu_s), max(gpu_bytes)
            FROM notebooks WHERE experiment_id = :id
        )
    WHERE id = :id
"""
_ALL_OF_THE_ATTEMPT = "UPDATE experiments SET {} WHERE id = :id".format(  # noqa: S608  our names
    ", ".join(
        f"{name} = :{name}"
        for name in EXPERIMENTS.column_names
        if name not in {"id", "session_id", "machine_id"}
    )
)
_OLD_ATTEMPTS = """
    DELETE FROM experiments WHERE id IN (
        SELECT id FROM (
            SELECT e.id, dense_rank() OVER (
                PARTITION BY e.name ORDER BY s.started_at DESC, s.id
            ) AS age
            FROM experiments AS e JOIN sessions AS s ON s.id = e.session_id
            WHERE :session IS NULL
                OR e.name IN (SELECT name FROM experiments WHERE session_id = :session)
        ) WHERE age > :kept
    )
"""


def write_notebook(
    connection: Connection,
    session: Session,
    attempt: StoredAttempt,
    notebook: tuple[int, NotebookResult],
    duration_s: float,
) -> None:
    """Write a notebook with its position, and the usage of its attempt so far."""
    number = _attempt_number(connection, session, attempt)
    connection.execute(
        inserting(NOTEBOOKS, otherwise="REPLACE"), rows.notebook_row(number, *notebook)
    )
    connection.execute(_TOTALS_SO_FAR, {"id": number, "duration_s": duration_s})


def write_experiment(
    connection: Connection, session: Session, attempt: StoredAttempt, result: ExperimentResult
) -> None:
    """Write an attempt that has ended, with all its notebooks."""
    number = _attempt_number(connection, session, attempt)
    connection.execute(_ALL_OF_THE_ATTEMPT, {**rows.result_row(attempt, result), "id": number})
    connection.executemany(
        inserting(NOTEBOOKS, otherwise="REPLACE"),
        [rows.notebook_row(number, *each) for each in enumerate(result.notebooks, 1)],
    )


def finish_session(connection: Connection, session: Session, at: float) -> None:
    connection.execute(
        "UPDATE sessions SET finished_at = ? WHERE id = ?", (at, encodable(session.id))
    )


def forget_old(
    connection: Connection, *, session_id: str | None = None, kept: int = SESSIONS_KEPT
) -> None:
    """Delete the attempts that are older than the newest sessions of each experiment.

    Covers the experiments that the session ran, or all.
    """
    connection.execute(_OLD_ATTEMPTS, {"session": session_id, "kept": kept})
    connection.execute("DELETE FROM sessions WHERE id NOT IN (SELECT session_id FROM experiments)")


def read_runs(connection: Connection, kind: str) -> Mapping[str, Sequence[PastRun]]:
    """Return the newest runs of each experiment on machines of that kind: complete ones, and others.

    An attempt without a notebook that ran is no run: its declaration was faulty, or all notebooks
    were reused. SQLite accepts any type in any column of a damaged file; a faulty row is skipped.
    """
    runs: defaultdict[str, list[PastRun]] = defaultdict(list)
    for row in connection.execute(_NEWEST_RUNS, (encodable(kind), WINDOW)):
        with suppress(DataError):
            name, *values = rebuild(_ROW, list(row))
            runs[name].append(PastRun._make(values))
    return runs


def machine_number(connection: Connection, kind: str) -> int:
    """Return the id of a kind in the table."""
    (number,) = connection.execute("SELECT id FROM machines WHERE kind = ?", (kind,)).fetchone()
    return int(number)


def _attempt_number(connection: Connection, session: Session, attempt: StoredAttempt) -> int:
    """Return the id of the attempt's row. Writes missing rows: the file may have been replaced."""
    connection.execute(inserting(MACHINES, otherwise="IGNORE"), rows.machine_row(session.machine))
    connection.execute(inserting(SESSIONS, otherwise="IGNORE"), rows.session_row(session))
    machine = machine_number(connection, encodable(session.machine.kind))
    row = rows.attempt_row(attempt) | {"session_id": encodable(session.id), "machine_id": machine}
    connection.execute(inserting(EXPERIMENTS, otherwise="IGNORE"), row)
    (number,) = connection.execute(
        "SELECT id FROM experiments "
        "WHERE session_id = :session_id AND name = :name AND started_at = :started_at",
        row,
    ).fetchone()
    return int(number)
