"""The gate of the lease pool: only one thread at a time reads or changes the tickets."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseError
from pytest_nbgroups.leases import locked_file
from pytest_nbgroups.leases.pool_folder import prepare, usable

_STUCK_S = 30.0  # a running process holds it for milliseconds
_RETRY_S = (0.001, 0.006)
_CREATION_S = 5.0  # a younger gate may still get the mode that lets others read it


class Gate:
    """A lock of all processes that use a pool. It may be entered from several threads."""

    def __init__(self, folder: Path, *, stuck_s: float = _STUCK_S) -> None:
        self._folder = folder
        self._path = folder / "gate"
        self._stuck_s = stuck_s

    @contextmanager
    def entered(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Wait for one's turn. Raises LeaseError if the gate is stuck, LeaseCancelledError."""
        # A lock call that waits could neither be cancelled nor give up.
        give_up_at = time.monotonic() + self._stuck_s
        while (descriptor := self._locked()) is None:
            if cancelled():
                raise LeaseCancelledError("cancelled while it waited for its lease")
            if time.monotonic() > give_up_at:
                raise LeaseError(
                    f"the gate of the lease pool, {self._path}, has been locked for "
                    f"{self._stuck_s:g}s by a stopped process; find it with `fuser {self._path}`, "
                    "then resume or end it"
                )
            time.sleep(random.uniform(*_RETRY_S))  # noqa: S311  so that they do not meet again
        try:
            yield
        finally:
            # Not by closing alone: a child that is being forked has a copy of the descriptor.
            locked_file.unlock(descriptor)

    @contextmanager
    def entered_if_free(self) -> Iterator[bool]:
        """Enter without waiting; False if another is within. Raises LeaseError."""
        descriptor = self._locked()
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                locked_file.unlock(descriptor)

    def _locked(self) -> int | None:
        with usable(self._folder):
            descriptor = self._open()
            if descriptor is None:
                return None
            is_ours = False
            try:
                is_ours = locked_file.try_lock(descriptor) and self._is_current(descriptor)
            finally:
                if not is_ours:
                    locked_file.close(descriptor)
            return descriptor if is_ours else None

    def _open(self) -> int | None:
        """None if it is being created by another user, who has not yet let others read it."""
        descriptor = locked_file.open_existing(self._path)
        if descriptor is not None:
            return descriptor
        if not self._folder.is_dir():
            prepare(self._folder)
        try:
            return locked_file.create_locked(self._path)
        except FileExistsError:
            found = self._path.lstat()
            if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime < _CREATION_S:
                return None
            raise OSError("its gate is not a file that you can read") from None

    def _is_current(self, descriptor: int) -> bool:
        """Return whether it is still what stands in the folder, not a file that somebody has removed."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False
