"""``history.sqlite``: records of a session as it runs, and estimates from earlier ones.

One process of a session writes: xdist's controller, or the only process. Several sessions can
write at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytest_nbgroups.core.events import (
    Event,
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
)
from pytest_nbgroups.core.model import ExperimentOutcome, ExperimentResult, NotebookResult
from pytest_nbgroups.core.resources import Estimate
from pytest_nbgroups.history import statements
from pytest_nbgroups.history.access import Access
from pytest_nbgroups.history.database import Connection
from pytest_nbgroups.history.filesystem import network_filesystem
from pytest_nbgroups.history.rows import Session, StoredAttempt
from pytest_nbgroups.scheduling.estimates import estimate

__all__ = ["History", "Session", "StoredAttempt", "open_history"]

FILE_NAME = "history.sqlite"
LOCK_TIMEOUT_S = 30.0
_CLOSING_S = 1.0  # pytest must not wait long for other sessions that use the file


@contextmanager
def open_history(
    folder: Path,
    session: Session,
    *,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    mountinfo: Path = Path("/proc/self/mountinfo"),
) -> Iterator[History]:
    """Open the history in an artifacts folder for the length of a session. Never raises.

    The file is created with the first record.
    """
    history = History(
        folder,
        session,
        lock_timeout_s=lock_timeout_s,
        network=_network_filesystem(folder, mountinfo),
    )
    try:
        yield history
    finally:
        history.close()


def _network_filesystem(folder: Path, mountinfo: Path) -> str:
    try:
        text = mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
        return network_filesystem(folder.resolve(), text)
    except (OSError, RuntimeError):  # not Linux; a link that leads to itself
        return ""


class History:
    """A history in use. No method raises: an error becomes a warning, and can end the use.

    Several threads can call the methods. Written data is on the disk when a method returns.
    """

    def __init__(
        self, folder: Path, session: Session, *, lock_timeout_s: float, network: str
    ) -> None:
        path = folder / FILE_NAME
        self._session = session
        self._access = Access(path, timeout_s=lock_timeout_s, wal=not network)
        self._started: dict[tuple[str, str], StoredAttempt] = {}
        self._has_recorded = False
        note = f"{path} is on a network filesystem ({network}): SQLite uses a rollback journal, not WAL"
        self.notes = (note,) if network else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems so far, each once."""
        return self._access.warnings

    def receive(self, event: Event, *, nodeid: str, worker: str = "") -> None:
        """Record notebooks and experiments as they finish.

        If a run ended without an event, call `record_experiment`.
        """
        match event:
            case ExperimentStarted():
                self._started[nodeid, event.experiment] = StoredAttempt(
                    name=event.experiment, started_at=event.at, nodeid=nodeid, worker=worker
                )
            case NotebookFinished():
                if attempt := self._started.get((nodeid, event.experiment)):
                    self.record_notebook(attempt, event.number, event.result, at=event.at)
            case ExperimentFinished():
                self.record_experiment(event.result, nodeid=nodeid, worker=worker)
            case _:
                return

    def record_notebook(
        self, attempt: StoredAttempt, number: int, result: NotebookResult, *, at: float
    ) -> None:
        """Write notebook ``number``, counted from 1, of an experiment that is running."""
        so_far_s = max(0.0, at - attempt.started_at)

        def write(connection: Connection) -> None:
            statements.write_notebook(
                connection, self._session, attempt, (number, result), so_far_s
            )

        self._has_recorded |= self._access.write(write)

    def record_experiment(self, result: ExperimentResult, *, nodeid: str, worker: str = "") -> None:
        """Write a finished attempt with all its notebooks.

        A second call with another outcome replaces the first. A skipped attempt is not written.
        """
        if result.outcome is ExperimentOutcome.SKIPPED:
            return
        attempt = StoredAttempt(
            name=result.name, started_at=result.started_at, nodeid=nodeid, worker=worker
        )

        def write(connection: Connection) -> None:
            statements.write_experiment(connection, self._session, attempt, result)

        self._has_recorded |= self._access.write(write)

    def estimates(self, kind: str) -> Mapping[str, Estimate]:
        """Return estimates by name, for each experiment that has run on a machine of that kind."""
        runs = self._access.read(lambda connection: statements.read_runs(connection, kind)) or {}
        return {name: estimate(of) for name, of in runs.items()}

    def close(self) -> None:
        """Delete old runs, and leave one file that can be copied as it is."""

        def finish(connection: Connection) -> None:
            statements.finish_session(connection, self._session, time.time())
            statements.forget_old(connection, session_id=self._session.id)

        # A session that recorded nothing must not even create the file.
        if self._has_recorded:
            self._access.write(finish)
        self._access.close(patience_s=_CLOSING_S)
