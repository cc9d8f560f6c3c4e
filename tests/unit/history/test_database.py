from __future__ import annotations

import re
import sqlite3  # noqa: TID253  to make files of other versions
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.history import database
from pytest_nbgroups.history.tables import APPLICATION_ID, SCHEMA_VERSION, Column, Table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def opened(file: Path, *, wal: bool = True) -> closing[sqlite3.Connection]:
    return closing(database.open_for_writing(file, timeout_s=0.1, wal=wal))


def pragma(connection: sqlite3.Connection, name: str) -> object:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def write_file(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("exists", [False, True])
def test_an_empty_file_becomes_a_history(file: Path, exists: bool) -> None:  # noqa: FBT001
    """A missing one too; and it says what it is."""
    if exists:
        file.touch()
    with opened(file) as connection:
        assert pragma(connection, "user_version") == SCHEMA_VERSION
        assert pragma(connection, "application_id") == APPLICATION_ID
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (0,)


def test_a_history_stays_as_it_is(file: Path) -> None:
    """Opened once more, nothing is made anew."""
    with opened(file) as connection:
        connection.execute("INSERT INTO machines VALUES (1, 'kind', 'cpu', 1, 1, '')")
    with opened(file) as connection:
        assert connection.execute("SELECT kind FROM machines").fetchall() == [("kind",)]


def test_commits_are_safe(file: Path) -> None:
    """Each is on the disk, and what belongs to a row goes with it."""
    with opened(file) as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "busy_timeout") == 100


def test_without_wal(file: Path) -> None:
    """A file that was in WAL mode is taken out of it, and is not kept locked."""
    with opened(file):
        pass
    with opened(file, wal=False) as connection, opened(file, wal=False) as other:
        assert pragma(connection, "journal_mode") == "delete"
        for each in (connection, other):
            with database.transaction(each):
                each.execute("UPDATE machines SET kind = 'other'")
        assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_wal_waits_for_others(file: Path) -> None:
    """Two that make the same file at once: SQLite would refuse one of them."""
    start, connections, errors = threading.Barrier(8), [], []

    def make() -> None:
        start.wait()
        try:
            connections.append(database.open_for_writing(file, timeout_s=30, wal=True))
        except sqlite3.Error as exc:
            errors.append(exc)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    modes = {pragma(connection, "journal_mode") for connection in connections}
    for connection in connections:
        connection.close()
    assert errors == []
    assert modes == {"wal"}


OLD = Table(name="runs", meaning="", columns=(Column(name="id", type="INTEGER", meaning=""),))
NEW = Table(
    name="runs",
    meaning="",
    columns=(*OLD.columns, Column(name="name", type="TEXT", meaning="")),
)
STEPS = {
    1: ("ALTER TABLE runs ADD COLUMN label TEXT", "UPDATE runs SET label = 'run ' || id"),
    2: ("ALTER TABLE runs RENAME COLUMN label TO name",),
}


def test_an_older_version_is_brought_up_to_date() -> None:
    """Through every version after its own, with what is in it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        database.bring_up_to_date(connection, tables=(OLD,), target=1)
        connection.execute("INSERT INTO runs VALUES (7)")
        database.bring_up_to_date(connection, tables=(NEW,), migrations=STEPS, target=3)
        assert connection.execute("SELECT id, name FROM runs").fetchall() == [(7, "run 7")]
        assert pragma(connection, "user_version") == 3
        database.bring_up_to_date(connection, tables=(NEW,), migrations=STEPS, target=3)
        assert pragma(connection, "user_version") == 3


def test_a_step_that_fails_changes_nothing(file: Path) -> None:
    """The file stays at the version that it had."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        database.bring_up_to_date(connection, tables=(OLD,), target=1)
        steps = {**STEPS, 2: ("ALTER TABLE runs RENAME COLUMN nothing TO name",)}
        with pytest.raises(sqlite3.OperationalError), database.transaction(connection):
            database.bring_up_to_date(connection, tables=(NEW,), migrations=steps, target=3)
        assert pragma(connection, "user_version") == 1
        assert len(connection.execute("PRAGMA table_info(runs)").fetchall()) == 1


LATER = SCHEMA_VERSION + 6


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (
            (f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {LATER}"),
            f"has version {LATER} of the history; this pytest-nbgroups knows versions up to {SCHEMA_VERSION}; upgrade pytest-nbgroups, or remove the file",
        ),
        (
            (f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = -3"),
            f"has version -3 of the history; this pytest-nbgroups knows versions up to {SCHEMA_VERSION}; upgrade pytest-nbgroups, or remove the file",
        ),
        (
            ("CREATE TABLE results (id)",),
            "this SQLite database is not a history of pytest-nbgroups; move or remove it",
        ),
    ],
)
def test_what_is_not_ours_is_left_alone(
    file: Path, statements: tuple[str, ...], message: str
) -> None:
    """Not a byte of it is changed."""
    write_file(file, *statements)
    before = file.read_bytes()
    with pytest.raises(HistoryError, match=f"^{re.escape(f'{file}: {message}')}$"):
        database.open_for_writing(file, timeout_s=1, wal=True)
    with pytest.raises(HistoryError):
        database.copy_of(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("wal", [True, False])
def test_a_copy_has_what_was_committed(file: Path, wal: bool) -> None:  # noqa: FBT001
    """Also where it stands in a WAL that is in use."""
    with opened(file, wal=wal) as connection:
        connection.execute("INSERT INTO machines VALUES (1, 'kind', 'cpu', 1, 1, '')")
        with closing(database.copy_of(file)) as copy:
            assert copy.execute("SELECT kind FROM machines").fetchall() == [("kind",)]
            copy.execute("DELETE FROM machines")
        assert connection.execute("SELECT kind FROM machines").fetchall() == [("kind",)]


def test_a_transaction_is_all_or_nothing(file: Path) -> None:
    """An exception of any kind undoes it, and goes on."""
    with opened(file) as connection:
        with pytest.raises(KeyboardInterrupt), database.transaction(connection):
            _interrupted(connection)
        assert connection.execute("SELECT * FROM machines").fetchall() == []


def _interrupted(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO machines VALUES (1, 'kind', 'cpu', 1, 1, '')")
    raise KeyboardInterrupt


def test_moving_aside(file: Path) -> None:
    """What belongs to the file keeps its place beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).write_text(suffix)
    aside = database.move_aside(file, now=1738326605.9)
    assert aside.name == "history.sqlite.corrupt-20250131T123005Z"
    assert {path.name: path.read_text() for path in file.parent.iterdir()} == {
        aside.name: "",
        f"{aside.name}-wal": "-wal",
        f"{aside.name}-shm": "-shm",
    }


def test_a_damaged_schema_is_damage(file: Path) -> None:
    """SQLite quotes it in a message that need not be UTF-8."""
    with opened(file):
        pass
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(x'4352A6' AS TEXT)")
    with pytest.raises(UnicodeDecodeError) as caught:
        database.copy_of(file)
    assert database.is_damaged(caught.value)


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TRIGGER t AFTER INSERT ON machines BEGIN DELETE FROM experiments; END",
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n",
    ],
)
def test_what_acts_by_itself_is_no_history(file: Path, foreign: str) -> None:
    """A file out of a cache may have triggers, and views that never end; none of them is used."""
    with opened(file) as connection:
        connection.execute(foreign)
    for use in (database.copy_of, partial(database.open_for_writing, timeout_s=0.1, wal=True)):
        with pytest.raises(HistoryError, match="is not a history of pytest-nbgroups"):
            use(file)
