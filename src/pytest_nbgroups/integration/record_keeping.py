"""Schedule for writing a session's record: at once while that is quick, else now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_REST = 20
"""Times as long as the last writing took: so all of it takes a twentieth of a session at most."""
_AT_ONCE_S = 0.5
"""A shorter rest is none."""


class RecordKeeping:
    """Has a record written that takes the longer to write the more has run.

    What comes too soon after the last writing is put off. All but `finish` are called with the lock
    held, and so is ``write``.
    """

    def __init__(
        self,
        write: Callable[[], None],
        lock: threading.RLock,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._lock = lock
        self._clock = clock
        self._rests_until = clock()
        self._timer: threading.Timer | None = None

    def keep_up(self) -> None:
        """Write what is new, now or soon."""
        if self._timer is not None:
            return
        rest_s = self._rests_until - self._clock()
        if rest_s <= _AT_ONCE_S:
            self._write_now()
            return
        self._timer = threading.Timer(rest_s, self.finish)
        self._timer.daemon = True
        self._timer.start()

    def forget(self) -> None:
        """Write nothing of what is put off: somebody else does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def finish(self) -> None:
        """Write what is put off, if anything is. Called from any thread."""
        with self._lock:
            if self._timer is not None:
                self.forget()
                self._write_now()

    def _write_now(self) -> None:
        begun = self._clock()
        self._write()
        ended = self._clock()
        self._rests_until = ended + _REST * (ended - begun)
