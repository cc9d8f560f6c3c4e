"""The tables of ``history.sqlite``: declared once; the statements and the reference page follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

APPLICATION_ID = 0x6E626770
"""``PRAGMA application_id`` of every history: ``nbgp`` in ASCII."""

SCHEMA_VERSION = 1
"""``PRAGMA user_version``; raised with every change of `TABLES`."""

MIGRATIONS: Mapping[int, tuple[str, ...]] = {}
"""Version -> the statements that make the next version of a file that has this one."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, and the meaning of its values."""

    name: str
    type: str
    meaning: str
    rule: str = ""
    """Rule that SQLite checks."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; ``rules`` concern several columns, ``indexes`` are lists of columns."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    rules: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _text(name: str, meaning: str, rule: str = "") -> Column:
    return Column(name=name, type="TEXT", meaning=meaning, rule=rule)


def _count(name: str, meaning: str, rule: str = "") -> Column:
    return Column(name=name, type="INTEGER", meaning=meaning, rule=rule)


def _number(name: str, meaning: str, rule: str = "") -> Column:
    return Column(name=name, type="REAL", meaning=meaning, rule=rule)


_NEEDED = "NOT NULL"
_EPOCH = "in seconds since the epoch"
_UNKNOWN = "NULL if it was not measured"

_USAGE = (
    _count("peak_bytes", f"Peak of its RAM, shared pages counted once; {_UNKNOWN}."),
    _count("is_upper_bound", "1 if that is an upper bound: shared pages may count more than once."),
    _number("cpu_s", f"CPU time, in seconds; {_UNKNOWN}."),
    _count("gpu_bytes", "Peak of its memory on one GPU; NULL if that cannot be measured."),
)

MACHINES = Table(
    name="machines",
    meaning="Kinds of machine. Measurements of different kinds are never mixed.",
    columns=(
        _count("id", "Number in this file.", "PRIMARY KEY"),
        _text("kind", "Text that identifies the kind.", f"{_NEEDED} UNIQUE"),
        _text("cpu_model", "The name of its processor.", _NEEDED),
        _number("cpus", "The CPUs that the session could use.", _NEEDED),
        _count("ram_bytes", "Its RAM, rounded up to the next usual size.", _NEEDED),
        _text("gpus", "Names of the GPUs that the session could use, one a line.", _NEEDED),
    ),
)

SESSIONS = Table(
    name="sessions",
    meaning="pytest invocations that ran an experiment.",
    columns=(
        _text("id", "Its name, as in `session.json`.", "PRIMARY KEY NOT NULL"),
        _number("started_at", f"When it started, {_EPOCH}.", _NEEDED),
        _number("finished_at", "When it ended; NULL while it runs, and if it was killed."),
        _text("plugin_version", "The version of pytest-nbgroups.", _NEEDED),
        _text("python_version", "The version of Python that ran pytest.", _NEEDED),
    ),
)

EXPERIMENTS = Table(
    name="experiments",
    meaning="Attempts to run an experiment, one a row. Skipped ones are not among them.",
    columns=(
        _count("id", "Number in this file.", "PRIMARY KEY"),
        _text(
            "session_id",
            "The session.",
            f"{_NEEDED} REFERENCES sessions (id) ON DELETE CASCADE",
        ),
        _count("machine_id", "The kind of machine.", f"{_NEEDED} REFERENCES machines (id)"),
        _text("name", "The experiment's name.", _NEEDED),
        _text("nodeid", "The pytest node id, its own or that of the test that ran it."),
        _text("worker", "The pytest-xdist worker; empty without workers."),
        _number("started_at", f"When it started, {_EPOCH}.", _NEEDED),
        _text(
            "outcome",
            "`passed`, `failed` or `interrupted`; NULL if the session was killed before it ended.",
        ),
        _count(
            "is_complete",
            "1 if it passed and reused no notebook: its time and memory are "
            "those of the whole experiment. Otherwise 0.",
            f"{_NEEDED} DEFAULT 0",
        ),
        _number("duration_s", "Its duration in seconds; so far, if it has not ended."),
        _number("cpus", "CPUs that it had leased; NULL if it ran without a lease."),
        _count("ram_bytes", "RAM that it had leased."),
        _text("ram_source", "Source of that number: declared, history or slow start."),
        _count("gpus", "Number of GPUs that it had leased."),
        _count("gpu_share_bytes", "Memory of one GPU that it had leased; NULL for whole GPUs."),
        _number("waited_s", "Wait for its lease, in seconds."),
        *_USAGE,
        _count("notebooks", "Number of its notebooks."),
    ),
    rules=("UNIQUE (session_id, name, started_at)",),
    indexes=("machine_id, name, is_complete, started_at", "name, session_id"),
)

NOTEBOOKS = Table(
    name="notebooks",
    meaning="The notebooks of an attempt. Each is written as soon as it has finished.",
    columns=(
        _count(
            "experiment_id",
            "The attempt.",
            f"{_NEEDED} REFERENCES experiments (id) ON DELETE CASCADE",
        ),
        _count("position", "Its place in the experiment, from 1.", _NEEDED),
        _text("name", "Its file name.", _NEEDED),
        _text(
            "outcome",
            "`passed`, `failed`, `skipped`, `reused`, `interrupted` or `not_run`.",
            _NEEDED,
        ),
        _number("duration_s", "Its duration in seconds.", _NEEDED),
        *_USAGE,
    ),
    rules=("PRIMARY KEY (experiment_id, position)",),
)

TABLES = (MACHINES, SESSIONS, EXPERIMENTS, NOTEBOOKS)


def creating(tables: tuple[Table, ...] = TABLES) -> Iterator[str]:
    """Return the statements that create the tables in an empty file."""
    for table in tables:
        columns = (f"{c.name} {c.type} {c.rule}".rstrip() for c in table.columns)
        yield f"CREATE TABLE {table.name} ({', '.join([*columns, *table.rules])})"
        for number, columns_of_index in enumerate(table.indexes, 1):
            yield f"CREATE INDEX {table.name}_{number} ON {table.name} ({columns_of_index})"


def inserting(table: Table, *, otherwise: str = "ABORT") -> str:
    """Return the statement that writes a row by column names; ``otherwise`` as in ``INSERT OR``."""
    names = ", ".join(table.column_names)
    values = ", ".join(f":{name}" for name in table.column_names)
    return f"INSERT OR {otherwise} INTO {table.name} ({names}) VALUES ({values})"  # noqa: S608  our names
