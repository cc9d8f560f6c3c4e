"""Robust use of a history file: an error becomes a warning, never an exception."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from pytest_nbgroups.core.artifacts import Artifacts
from pytest_nbgroups.core.errors import HistoryError
from pytest_nbgroups.history import database
from pytest_nbgroups.history.database import Connection

T = TypeVar("T")
Mode: TypeAlias = Literal["write", "read", "off"]

_TRIES = 3
"""Number of tries: an unwritable file is opened for reading, a damaged file is replaced."""


class Access:
    """The only connection of a process to a history, opened when it is first needed.

    Several threads can use it; they wait for each other.
    """

    def __init__(self, path: Path, *, timeout_s: float, wal: bool) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._wal = wal
        self._lock = threading.Lock()
        self._mode: Mode = "write"
        self._connection: Connection | None = None
        self._identity: database.FileIdentity = None
        self._was_replaced = False
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def read(self, work: Callable[[Connection], T]) -> T | None:
        """Read from the history; None if there is no usable history."""
        return self._use(work, writes=False)

    def write(self, work: Callable[[Connection], None]) -> bool:
        """Write in a separate transaction; return True if the data is on the disk."""

        def transact(connection: Connection) -> bool:
            with database.transaction(connection):
                work(connection)
            return True

        return self._use(transact, writes=True) or False

    def close(self, *, patience_s: float) -> None:
        """Merge the WAL into the file, unless other processes use it for longer than ``patience_s``."""

        def gather(connection: Connection) -> None:
            database.gather(connection, patience_s=patience_s)

        # A history that nobody has opened is not opened to close it.
        if self._connection is not None:
            self._use(gather, writes=True)
        with self._lock:
            self._mode = "off"
            self._disconnect()

    def _use(self, work: Callable[[Connection], T], *, writes: bool) -> T | None:
        with self._lock:
            for _ in range(_TRIES):
                try:
                    connection = self._connected(writes=writes)
                    return None if connection is None else work(connection)
                except Exception as exc:  # noqa: BLE001  a fault of ours is not the user's either
                    self._heed(exc)
        return None

    def _connected(self, *, writes: bool) -> Connection | None:
        if self._mode == "off" or (self._mode == "read" and writes):
            return None
        if self._connection is None and (writes or self._path.exists()):
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        if self._mode == "read":
            return database.copy_of(self._path)
        Artifacts(folder=self._path.parent).prepare()
        # Before the file is opened: a damaged one that cannot be opened must be known too.
        self._identity = database.identity(self._path)
        connection = database.open_for_writing(self._path, timeout_s=self._timeout_s, wal=self._wal)
        self._identity = self._identity or database.identity(self._path)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _heed(self, exc: Exception) -> None:
        """Continue as well as possible: with a new file, reading only, or without a history."""
        self._disconnect()
        if self._mode == "read":
            self._mode = "off"  # the warning about writing was already given
        elif database.is_damaged(exc) and not self._was_replaced:
            self._replace(exc)
        elif database.is_unwritable(exc):
            self._mode = "read"
            self._warn(f"cannot be written ({_text(exc)}); this session is not recorded")
        elif isinstance(exc, HistoryError):
            self._mode = "off"
            self._warnings.append(f"{exc}; until then it is not used")
        else:
            self._mode = "off"
            self._warn(f"{self._trouble(exc)}; the rest of this session is not recorded")

    def _replace(self, exc: Exception) -> None:
        """Replace a damaged file with a new one, unless another session has just done so."""
        self._was_replaced = True
        where = ""
        try:
            if database.identity(self._path) == self._identity:
                aside = database.move_aside(self._path, now=time.time())
                where = f" to {aside.name}"
        except OSError as obstacle:
            self._mode = "off"
            self._warn(f"damaged ({exc}) and cannot be renamed: {_text(obstacle)}")
        else:
            self._warn(f"damaged ({exc}); it was renamed{where}, and a new file is started")

    def _trouble(self, exc: Exception) -> str:
        if database.is_locked(exc):
            return f"locked by another process for more than {self._timeout_s:g} s"
        return _text(exc)

    def _warn(self, text: str) -> None:
        self._warnings.append(f"{self._path}: {text}")


def _text(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    return str(exc) if isinstance(exc, database.Error) else f"{type(exc).__name__}: {exc}"
