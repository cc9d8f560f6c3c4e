from __future__ import annotations

import re
import sqlite3  # noqa: TID253  to damage a file
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from report_samples import NODEID, passed, result

from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.history import statements
from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.merge_databases import merge_histories
from pytest_nbgroups.history.store import History

Opening = Callable[..., AbstractContextManager[History]]
Ask = Callable[..., list[tuple[Any, ...]]]

OTHER = Machine(cpu_model="EPYC", cpus=4.0, ram_bytes=2**34)
CONTENT = """
    SELECT s.id, s.finished_at IS NULL, m.kind, e.name, e.started_at, e.outcome, e.peak_bytes,
        n.position, n.name, n.peak_bytes
    FROM experiments e JOIN sessions s ON s.id = e.session_id JOIN machines m ON m.id = e.machine_id
    LEFT JOIN notebooks n ON n.experiment_id = e.id ORDER BY 1, 4, 5, 8
"""


@pytest.fixture
def shard(opening: Opening, tmp_path: Path) -> Callable[..., Path]:
    """A history in which a session, given by its number, ran the named experiments."""

    def write(number: int, *names: str, at: str = "", **options: Any) -> Path:
        folder = tmp_path / (at or f"shard-{number}")
        with opening(number, at=folder, **options) as history:
            for peak, name in enumerate(names, 1):
                notebook = passed(usage=Usage(peak_bytes=peak))
                of = result("passed", name=name, notebooks=(notebook,), started_at=1000.0 * number)
                history.record_experiment(of, nodeid=NODEID)
        return folder / "history.sqlite"

    return write


def test_shards_are_united(shard: Callable[..., Path], tmp_path: Path, ask: Ask) -> None:
    """Each session with its experiments, notebooks and machine; sources stay as they are."""
    sources = [shard(1, "A", "B"), shard(2, "C", machine=OTHER), shard(3, "B")]
    before = [source.read_bytes() for source in sources]
    contents = [row for source in sources for row in ask(CONTENT, file=source)]
    target = tmp_path / "merged" / "history.sqlite"
    merge_histories(target, sources)
    assert ask(CONTENT, file=target) == contents
    assert len({row[2] for row in contents}) == 2
    assert [source.read_bytes() for source in sources] == before
    assert ask("PRAGMA foreign_key_check", file=target) == []
    assert [path.name for path in target.parent.iterdir()] == ["history.sqlite"]
    assert ask("PRAGMA journal_mode", file=target) == [("delete",)]


def test_merging_again_adds_nothing(shard: Callable[..., Path], ask: Ask) -> None:
    """Nor does merging a history with itself, or with a copy of what it has already."""
    target, source = shard(1, "A"), shard(2, "A", "B")
    merge_histories(target, [source])
    once = ask(CONTENT, file=target)
    merge_histories(target, [source, source, target])
    assert ask(CONTENT, file=target) == once
    assert len(once) == 3


def test_old_sessions_are_forgotten(
    shard: Callable[..., Path], tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merged history does not grow for ever either."""
    kept = 5  # to write more than fifty takes a second
    forget = statements.forget_old
    monkeypatch.setattr(statements, "forget_old", partial(forget, kept=kept))
    sources = [shard(number, "A", at="early") for number in range(1, 4)][-1:]
    sources += [shard(number, "A", "B", at="late") for number in range(4, 7)][-1:]
    target = tmp_path / "history.sqlite"
    for _ in range(2):
        merge_histories(target, sources)
        assert ask(
            "SELECT name, count(*), min(started_at) FROM experiments GROUP BY 1", file=target
        ) == [
            ("A", kept, 2000.0),
            ("B", 3, 4000.0),
        ]
        assert ask("SELECT count(*) FROM sessions", file=target) == [(kept,)]


def test_a_merged_history_is_estimated_from(
    shard: Callable[..., Path], opening: Opening, tmp_path: Path
) -> None:
    """It is a history like any other."""
    merge_histories(tmp_path / "history.sqlite", [shard(1, "A"), shard(2, "A", "B")])
    with opening(3, at=tmp_path) as history:
        known = history.estimates("Xeon, 8 cpus, 32 GiB")
    assert {name: estimate.runs for name, estimate in known.items()} == {"A": 2, "B": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; give the history.sqlite of each shard"),
        (b"Not a database. " * 99, "cannot be merged: .+; remove it, then merge again"),
    ],
)
def test_a_source_that_is_none(
    shard: Callable[..., Path], tmp_path: Path, ask: Ask, content: bytes | None, message: str
) -> None:
    """Names it, its fault and the remedy; nothing is merged."""
    target, good, bad = shard(1, "A"), shard(2, "B"), tmp_path / "bad.sqlite"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(HistoryError, match=f"^{re.escape(str(bad))}: {message}$"):
        merge_histories(target, [good, bad])
    assert [row[3] for row in ask(CONTENT, file=target)] == ["A"]


def test_a_source_of_a_later_version(shard: Callable[..., Path], tmp_path: Path, ask: Ask) -> None:
    """Says so, and that one is to upgrade."""
    source = shard(1, "A")
    ask("PRAGMA user_version = 9", file=source)
    with pytest.raises(
        HistoryError, match=r"has version 9 of the history; .* upgrade pytest-nbgroups"
    ):
        merge_histories(tmp_path / "history.sqlite", [source])


def test_a_target_that_cannot_be_written(shard: Callable[..., Path], tmp_path: Path) -> None:
    """Says what to look at."""
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "history.sqlite"
    with pytest.raises(
        HistoryError,
        match=f"^{re.escape(str(target))}: cannot be merged: .*; check the file and its folder, ",
    ):
        merge_histories(target, [shard(1, "A")])


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE experiments SET id = 'x'",
        "UPDATE machines SET kind = NULL",
        "UPDATE experiments SET machine_id = 99",
        "UPDATE notebooks SET outcome = 'odd'",
    ],
)
def test_a_damaged_row(shard: Callable[..., Path], ask: Ask, damage: str) -> None:
    """The source is to blame for what no session can have written, and nothing of it is taken."""
    target, bad = shard(1, "A"), shard(2, "B")
    with closing(sqlite3.connect(bad, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = "
            "replace(replace(sql, ' NOT NULL', ''), 'INTEGER PRIMARY KEY', 'INTEGER')"
        )
    with closing(sqlite3.connect(bad, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(damage)
    with pytest.raises(
        HistoryError,
        match=rf"^{re.escape(str(bad))}: cannot be merged: one of its rows is damaged \(.*\); leave this file out",
    ):
        merge_histories(target, [bad])
    assert [row[3] for row in ask(CONTENT, file=target)] == ["A"]
