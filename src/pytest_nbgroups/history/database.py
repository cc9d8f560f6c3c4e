"""The adapter of sqlite3: opens, creates, upgrades and moves history files."""

from __future__ import annotations

import sqlite3  # noqa: TID253  its adapter, imported only where a history is used
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.history.tables import (
    APPLICATION_ID,
    MIGRATIONS,
    SCHEMA_VERSION,
    TABLES,
    Table,
    creating,
)

Connection: TypeAlias = sqlite3.Connection
Error: TypeAlias = sqlite3.Error
IntegrityError: TypeAlias = sqlite3.IntegrityError
FileIdentity: TypeAlias = tuple[int, int] | None
"""Device and inode; None if there is no file."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_RETRY_S = 0.01
# Views, triggers and virtual tables have no page. A history has none of them; a foreign file's
# could run code that others wrote.
_THINGS = "SELECT count(*), count(*) FILTER (WHERE ifnull(rootpage, 0) = 0) FROM sqlite_master"


def open_for_writing(path: Path, *, timeout_s: float, wal: bool) -> Connection:
    """Open a history; create or upgrade it first if needed.

    Each statement waits up to ``timeout_s`` for other processes. Several threads can use the
    connection, one at a time. Raises HistoryError for a foreign or newer file, and sqlite3.Error.
    """
    # isolation_level=None: transactions begin where `transaction` says, not at the first write.
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        if not wal:
            # With this, a file in WAL mode is read without shared memory.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _identify(connection, path)
        _set_journal(connection, "wal" if wal else "delete", timeout_s)
        if not wal:
            connection.execute("PRAGMA locking_mode = NORMAL")
            version_of(connection)  # SQLite releases the lock at the end of the next statement
        # FULL: a commit is on the disk when it returns, even with a WAL.
        connection.execute("PRAGMA synchronous = FULL")
        # Off by default in SQLite: deleted sessions would leave their attempts behind.
        connection.execute("PRAGMA foreign_keys = ON")
        if not is_current(connection):
            with transaction(connection):
                bring_up_to_date(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def copy_of(path: Path) -> Connection:
    """Return a copy of a history in memory, upgraded; the file is only read.

    Raises HistoryError for a foreign or newer file, and sqlite3.Error.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        _read_into(copy, path)
        if not is_current(copy):
            bring_up_to_date(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _read_into(copy: Connection, path: Path) -> None:
    """Copy the file. If SQLite cannot create the files of a WAL here, no other process writes either."""
    try:
        _read_as(copy, path, "mode=ro")
    except sqlite3.OperationalError:
        _read_as(copy, path, "mode=ro&immutable=1")


def _read_as(copy: Connection, path: Path, options: str) -> None:
    uri = f"{path.absolute().as_uri()}?{options}"
    with closing(sqlite3.connect(uri, uri=True)) as original:
        _identify(original, path)
        original.backup(copy)


def version_of(connection: Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_current(connection: Connection) -> bool:
    return version_of(connection) == SCHEMA_VERSION


def _identify(connection: Connection, path: Path) -> None:
    """Raise HistoryError for a database that is not a history, or is one of a later version."""
    # In one transaction: another session may be creating the tables now.
    connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    things, foreign = connection.execute(_THINGS).fetchone()
    version = version_of(connection)
    connection.execute("COMMIT")
    if foreign or (application != APPLICATION_ID and things):
        raise HistoryError(
            f"{path}: this SQLite database is not a history of pytest-nbgroups; move or remove it"
        )
    if not 0 <= version <= SCHEMA_VERSION:
        raise HistoryError(
            f"{path}: has version {version} of the history; this pytest-nbgroups knows versions up "
            f"to {SCHEMA_VERSION}; upgrade pytest-nbgroups, or remove the file"
        )


def bring_up_to_date(
    connection: Connection,
    *,
    tables: tuple[Table, ...] = TABLES,
    migrations: Mapping[int, tuple[str, ...]] = MIGRATIONS,
    target: int = SCHEMA_VERSION,
) -> None:
    """Create the tables in an empty database, or upgrade an older one version by version.

    Call it in a transaction: another process may have done the same just before.
    """
    version = version_of(connection)
    if version == 0:
        statements = [*creating(tables), f"PRAGMA application_id = {APPLICATION_ID}"]
    else:
        statements = [s for each in range(version, target) for s in migrations[each]]
    for statement in [*statements, f"PRAGMA user_version = {target}"]:
        connection.execute(statement)


def _set_journal(connection: Connection, mode: str, timeout_s: float) -> None:
    """Choose the journal mode. If WAL is not possible, SQLite keeps the current mode.

    To change the mode, SQLite needs exclusive access. If two processes wait for that, one is
    refused at once.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        except sqlite3.OperationalError as exc:
            if not is_locked(exc) or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit all or nothing. Takes the write lock first, so that it cannot be refused half way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def gather(connection: Connection, *, patience_s: float) -> None:
    """Move the content of the WAL to the file, unless other processes keep it for too long."""
    connection.execute(f"PRAGMA busy_timeout = {round(patience_s * 1000)}")
    # TRUNCATE: the file alone can then be copied, for example into a CI cache.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def is_damaged(error: Exception) -> bool:
    """Return True for a damaged file. A quoted schema may not be UTF-8, and sqlite3 fails to decode it."""
    return _code(error) in _DAMAGED or isinstance(error, UnicodeDecodeError)


def is_locked(error: Exception) -> bool:
    return _code(error) in _LOCKED


def is_unwritable(error: Exception) -> bool:
    """Return True if the file or its folder cannot be written; it may still be readable."""
    return isinstance(error, OSError) or _code(error) in _UNWRITABLE


def _code(error: Exception) -> int | None:
    """Return SQLite's primary result code; the higher bits add detail."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def identity(path: Path) -> FileIdentity:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def move_aside(path: Path, *, now: float) -> Path:
    """Rename a damaged history and SQLite's files beside it; return its new name.

    The file itself is moved last: otherwise a session that starts now could lose the WAL of its
    new file.
    Raises OSError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    for suffix in ("-wal", "-shm", "-journal", ""):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + suffix))
    return aside
