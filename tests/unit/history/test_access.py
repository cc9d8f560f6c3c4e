from __future__ import annotations

import os
import re
import sqlite3  # noqa: TID253  to break files
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from report_samples import NODEID, result

from pytest_nbgroups.history import database
from pytest_nbgroups.history.store import History

Opening = Callable[..., AbstractContextManager[History]]
Ask = Callable[..., list[tuple[Any, ...]]]

KIND = "Xeon, 8 cpus, 32 GiB"
NOBODY = 65534
POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")


def record(history: History, at: float = 1000.0) -> None:
    history.record_experiment(result("passed", started_at=at), nodeid=NODEID)


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "history.sqlite"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that others can look into, which they cannot with pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written meanwhile; as root we are somebody else."""
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & ~0o222)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


# Damage


@pytest.mark.parametrize("damage", ["no database", "malformed", "cut off"])
def test_a_damaged_file_is_moved_aside(opening: Opening, file: Path, ask: Ask, damage: str) -> None:
    """A new one is begun, which has this session; the warning names both."""
    with opening(1) as history:
        for at in range(50):
            record(history, float(at))
    content = file.read_bytes()
    file.write_bytes(
        {
            "no database": b"Not a database. " * 500,
            "malformed": content[:4096] + b"\xff" * (len(content) - 4096),
            "cut off": content[: len(content) // 2],
        }[damage]
    )
    with opening(2) as history:
        assert history.estimates(KIND) == {}
        record(history)
        record(history, 2000.0)
    (aside,) = file.parent.glob("history.sqlite.corrupt-*")
    (warning,) = history.warnings
    assert re.fullmatch(
        rf"{re.escape(str(file))}: damaged \(.+\); it was renamed to {aside.name}, "
        "and a new file is started",
        warning,
    )
    assert ask("SELECT session_id, count(*) FROM experiments") == [("session-2", 2)]


def test_damage_while_in_use(opening: Opening, file: Path, nfs: Path, ask: Ask) -> None:
    """What is recorded next goes to the new file, and nothing is raised."""
    with opening(mountinfo=nfs) as history:
        record(history)
        file.write_bytes(b"\xff" * file.stat().st_size)
        record(history, 2000.0)
        record(history, 3000.0)
    assert len(history.warnings) == 1
    assert ask("SELECT started_at FROM experiments") == [(2000.0,), (3000.0,)]


def test_damage_twice(opening: Opening, file: Path, nfs: Path) -> None:
    """A disk that fails is not written to again and again."""
    with opening(mountinfo=nfs) as history:
        for at in range(4):
            record(history, float(at))
            file.write_bytes(b"\xff" * file.stat().st_size)
    first, second = history.warnings
    assert "renamed to" in first
    assert second.endswith("; the rest of this session is not recorded")
    assert len(list(file.parent.glob("*.corrupt-*"))) == 1


def test_two_sessions_find_the_same_damage(
    opening: Opening, file: Path, nfs: Path, ask: Ask
) -> None:
    """The second does not move the first's new file away."""
    with opening(1, mountinfo=nfs) as one, opening(2, mountinfo=nfs) as other:
        record(one)
        record(other)
        file.write_bytes(b"\xff" * file.stat().st_size)
        record(one, 2000.0)
        record(other, 3000.0)
    assert "renamed to history.sqlite.corrupt-" in one.warnings[0]
    assert "renamed, and a new file is started" in other.warnings[0]
    assert len(list(file.parent.glob("*.corrupt-*"))) == 1
    assert ask("SELECT started_at FROM experiments") == [(2000.0,), (3000.0,)]


@POSIX_ONLY
def test_damage_that_cannot_be_moved(opening: Opening, open_to_all: Path) -> None:
    """One warning, and the session goes on without."""
    file = open_to_all / "history.sqlite"
    file.write_bytes(b"Not a database. " * 500)
    with unwritable(open_to_all), opening(at=open_to_all) as history:
        assert history.estimates(KIND) == {}
        record(history)
    (warning,) = history.warnings
    assert re.fullmatch(
        rf"{re.escape(str(file))}: damaged \(.+\) and cannot be renamed: Permission denied",
        warning,
    )


# No permission


@POSIX_ONLY
@pytest.mark.parametrize("leave_wal", [False, True])
def test_a_read_only_history_is_read(
    opening: Opening,
    open_to_all: Path,
    leave_wal: bool,  # noqa: FBT001
) -> None:
    """As in a checkout that belongs to somebody else; one that was killed may have left a WAL."""
    with opening(1, at=open_to_all) as history:
        record(history)
    file = open_to_all / "history.sqlite"
    if leave_wal:
        (open_to_all / "history.sqlite-wal").write_bytes(b"")
    before = file.read_bytes()
    with unwritable(open_to_all), opening(2, at=open_to_all) as history:
        assert history.estimates(KIND)["Heart"].runs == 1
        record(history)
        record(history)
        assert history.estimates(KIND)["Heart"].runs == 1
    (warning,) = history.warnings
    assert re.fullmatch(
        rf"{re.escape(str(file))}: cannot be written \(.+\); this session is not recorded",
        warning,
    )
    assert file.read_bytes() == before


@POSIX_ONLY
def test_an_unreadable_history(opening: Opening, open_to_all: Path) -> None:
    """It is as good as none."""
    with opening(1, at=open_to_all) as history:
        record(history)
    (open_to_all / "history.sqlite").chmod(0)
    with unwritable(open_to_all), opening(2, at=open_to_all) as history:
        assert history.estimates(KIND) == {}
        record(history)
    assert len(history.warnings) == 1


@POSIX_ONLY
def test_a_folder_that_cannot_be_written(opening: Opening, open_to_all: Path) -> None:
    """Nothing can be made in it."""
    with unwritable(open_to_all), opening(at=open_to_all / "new") as history:
        record(history)
        record(history)
        assert history.estimates(KIND) == {}
    assert history.warnings == (
        (
            f"{open_to_all / 'new' / 'history.sqlite'}: cannot be written (Permission denied); "
            "this session is not recorded"
        ),
    )


def test_a_folder_that_is_a_file(opening: Opening, tmp_path: Path) -> None:
    """The same, on every system."""
    (tmp_path / "file").write_text("")
    with opening(at=tmp_path / "file") as history:
        record(history)
        assert history.estimates(KIND) == {}
    (warning,) = history.warnings
    assert "cannot be written (" in warning


# Others


def test_a_history_that_stays_locked(
    opening: Opening, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time to wait, the session goes on without, and does not wait again."""
    with opening(1) as history:
        record(history)
    asked: list[float] = []
    original = database.open_for_writing

    def noted(path: Path, *, timeout_s: float, wal: bool) -> sqlite3.Connection:
        asked.append(timeout_s)
        return original(path, timeout_s=timeout_s, wal=wal)

    monkeypatch.setattr(database, "open_for_writing", noted)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with opening(2, lock_timeout_s=0.2) as history:
            for at in range(10):
                record(history, float(at))
        assert asked == [0.2]
        other.execute("ROLLBACK")
        assert other.execute("SELECT count(*) FROM experiments").fetchone() == (1,)
    assert history.warnings == (
        (
            f"{file}: locked by another process for more than 0.2 s; the rest of this session is not "
            "recorded"
        ),
    )


def test_a_lock_is_waited_for(opening: Opening, file: Path, ask: Ask) -> None:
    """Another session in the same checkout costs a moment, no row."""
    with opening(1) as history:
        record(history)
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.commit)
        with opening(2) as history:
            release.start()
            record(history, 2000.0)
        release.join()
    assert history.warnings == ()
    assert ask("SELECT started_at FROM experiments") == [(1000.0,), (2000.0,)]


def test_a_full_disk(
    opening: Opening, file: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded before stays."""
    original = database.open_for_writing

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = original(*args, **options)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    monkeypatch.setattr(database, "open_for_writing", small)
    with opening() as history:
        for at in range(500):
            record(history, float(at))
    assert history.warnings == (
        f"{file}: database or disk is full; the rest of this session is not recorded",
    )
    assert ask("PRAGMA integrity_check") == [("ok",)]
    ((count,),) = ask("SELECT count(*) FROM experiments")
    assert 0 < count < 500


def test_a_later_version(opening: Opening, file: Path, ask: Ask) -> None:
    """It is left alone, and said so once."""
    with opening(1) as history:
        record(history)
    ask("PRAGMA user_version = 7")
    before = file.read_bytes()
    with opening(2) as history:
        assert history.estimates(KIND) == {}
        record(history)
    assert history.warnings == (
        (
            f"{file}: has version 7 of the history; this pytest-nbgroups knows versions up to 1; "
            "upgrade pytest-nbgroups, or remove the file; until then it is not used"
        ),
    )
    assert file.read_bytes() == before


def test_a_fault_of_ours(opening: Opening, file: Path) -> None:
    """What SQLite cannot hold costs a warning too."""
    with opening() as history:
        record(history)
        history.record_experiment(result("passed", started_at=object()), nodeid=NODEID)
    (warning,) = history.warnings
    assert warning.startswith(f"{file}: ")
    assert warning.endswith("; the rest of this session is not recorded")
