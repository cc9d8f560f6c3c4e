"""Schedule for writing a session's record: at once while that is quick, else less often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_REST = 20
"""The rest, as a multiple of the last writing time: writing takes at most a twentieth of a session."""
_AT_ONCE_S = 0.5
"""A shorter rest is skipped."""


class RecordKeeping:
    """Writes a record that takes longer to write the more has run.

    Writing too soon after the last time is put off. All but `finish` are called with the lock held, and
    so is ``write``.
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
        self._timer.daemon = True  # the end of the session writes; it must not wait for the timer
        self._timer.start()

    def forget(self) -> None:
        """Drop what is put off: the caller writes."""
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
