"""What the tests of the history share."""

from __future__ import annotations

import sqlite3  # noqa: TID253  to look into files
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.history.kind import Machine
from pytest_nbgroups.history.store import History, Session, open_history

MACHINE = Machine(cpu_model="Xeon", cpus=8.0, ram_bytes=2**35)

Opening = Callable[..., AbstractContextManager[History]]
Asking = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".experiments"


@pytest.fixture
def opening(folder: Path) -> Opening:
    """Open the history for a session that is given by its number."""

    def opened(
        number: int = 1, *, at: Path = folder, machine: Machine = MACHINE, **options: Any
    ) -> AbstractContextManager[History]:
        session = Session(
            id=f"session-{number}",
            started_at=1000.0 * number,
            machine=machine,
            plugin_version="1.0",
            python_version="3.11.7",
        )
        return open_history(at, session, **options)

    return opened


@pytest.fixture
def ask(folder: Path) -> Asking:
    """Ask a history file, with a connection of one's own."""

    def rows(question: str, *values: Any, file: Path = folder / "history.sqlite") -> Any:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            return connection.execute(question, values).fetchall()

    return rows


@pytest.fixture
def nfs(tmp_path: Path) -> Path:
    """What the kernel tells of mounts where everything lies on NFS."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("22 1 0:21 / / rw,relatime shared:1 - nfs4 server:/home rw\n")
    return mountinfo
