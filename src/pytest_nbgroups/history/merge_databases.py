"""Merge of several histories, for example from the shards of a CI run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.history import database, statements
from pytest_nbgroups.history.database import Connection
from pytest_nbgroups.history.rows import Row
from pytest_nbgroups.history.tables import (
    EXPERIMENTS,
    MACHINES,
    NOTEBOOKS,
    SESSIONS,
    Table,
    inserting,
)

_TIMEOUT_S = 30.0
_TABLES = (SESSIONS, MACHINES, EXPERIMENTS, NOTEBOOKS)


def merge_histories(target: Path, sources: Sequence[Path]) -> None:
    """Add to ``target``, which need not exist, the sessions of the sources that it lacks.

    All or nothing. The sources stay as they are. Raises HistoryError with file, reason and remedy.
    """
    with _telling_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A rollback journal leaves a single file, which is easy to copy.
        connection = database.open_for_writing(target, timeout_s=_TIMEOUT_S, wal=False)
    with closing(connection), _telling_of(target), database.transaction(connection):
        for source in sources:
            contents = _contents(source)
            with _blaming(source):
                _add(connection, contents)
        statements.forget_old(connection)


def _contents(source: Path) -> dict[str, list[Row]]:
    """Return the rows of a history by the names of its tables."""
    with _telling_of(source):
        if not source.is_file():
            raise HistoryError(f"{source}: no such file; give the history.sqlite of each shard")
        with closing(database.copy_of(source)) as copy:
            return {table.name: list(_rows(copy, table)) for table in _TABLES}


@contextmanager
def _blaming(source: Path) -> Iterator[None]:
    """Report an error as damage of the source: the target has proved writable."""
    try:
        yield
    except (database.IntegrityError, LookupError, TypeError) as exc:
        raise HistoryError(
            f"{source}: cannot be merged: one of its rows is damaged ({exc}); leave this file out"
        ) from exc


@contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    """Turn an error into a HistoryError that names the file."""
    try:
        yield
    except (OSError, UnicodeDecodeError, database.Error) as exc:
        remedy = "remove it" if database.is_damaged(exc) else "check the file and its folder"
        raise HistoryError(f"{path}: cannot be merged: {exc}; {remedy}, then merge again") from exc


def _add(target: Connection, source: Mapping[str, Sequence[Row]]) -> None:
    """Copy the sessions that the target lacks, with all their rows.

    Attempts get numbers above those in the target. Known machines keep the target's numbers.
    """
    known = {row["id"] for row in _rows(target, SESSIONS)}
    sessions = {row["id"]: row for row in source[SESSIONS.name] if row["id"] not in known}
    machines = {row["id"]: _machine_number(target, row) for row in source[MACHINES.name]}
    (above,) = target.execute("SELECT coalesce(max(id), 0) FROM experiments").fetchone()
    attempts = {
        row["id"]: {**row, "id": above + row["id"], "machine_id": machines[row["machine_id"]]}
        for row in source[EXPERIMENTS.name]
        if row["session_id"] in sessions
    }
    notebooks = (
        {**row, "experiment_id": attempts[row["experiment_id"]]["id"]}
        for row in source[NOTEBOOKS.name]
        if row["experiment_id"] in attempts
    )
    # In this order: each row refers to rows of the tables before it.
    target.executemany(inserting(SESSIONS), sessions.values())
    target.executemany(inserting(EXPERIMENTS), attempts.values())
    target.executemany(inserting(NOTEBOOKS), notebooks)


def _machine_number(target: Connection, machine: Row) -> int:
    target.execute(inserting(MACHINES, otherwise="IGNORE"), {**machine, "id": None})
    return statements.machine_number(target, machine["kind"])


def _rows(connection: Connection, table: Table) -> Iterator[Row]:
    names = table.column_names
    for values in connection.execute(f"SELECT {', '.join(names)} FROM {table.name}"):  # noqa: S608  our names
        yield dict(zip(names, values, strict=True))
