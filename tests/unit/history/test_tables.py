from __future__ import annotations

import sqlite3  # noqa: TID253  to compare with what SQLite makes of it
from contextlib import closing

from pytest_nbgroups.history.tables import (
    MIGRATIONS,
    SCHEMA_VERSION,
    TABLES,
    Column,
    Table,
    creating,
    inserting,
)


def test_sqlite_makes_what_is_declared() -> None:
    """Tables, and the names and types of their columns in this order."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in creating():
            connection.execute(statement)
        for table in TABLES:
            made = connection.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert [(name, kind) for _, name, kind, *_ in made] == [
                (column.name, column.type) for column in table.columns
            ]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_every_column_says_what_it_means() -> None:
    """The reference page has a sentence for each."""
    for table in TABLES:
        for column in table.columns:
            assert column.meaning.endswith(".")
            assert column.meaning[0].isupper() or column.meaning[0] in "1`"


def test_every_version_can_be_left() -> None:
    """From each earlier version there is a way to the next."""
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_statements() -> None:
    """As SQLite reads them."""
    table = Table(
        name="runs",
        meaning="Runs.",
        columns=(
            Column(name="id", type="INTEGER", meaning="A number.", rule="PRIMARY KEY"),
            Column(name="name", type="TEXT", meaning="A name."),
        ),
        rules=("UNIQUE (name)",),
        indexes=("name, id",),
    )
    assert list(creating((table,))) == [
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT, UNIQUE (name))",
        "CREATE INDEX runs_1 ON runs (name, id)",
    ]
    assert inserting(table) == "INSERT OR ABORT INTO runs (id, name) VALUES (:id, :name)"
    assert inserting(table, otherwise="IGNORE").startswith("INSERT OR IGNORE INTO runs ")
