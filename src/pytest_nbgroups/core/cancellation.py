"""A way to stop a running experiment from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancellation:
    """Set once, with a reason; calls each listener at that moment, or at once if it is set."""

    def __init__(self) -> None:
        # Held while listeners are called, so that none is called once its context has ended. A
        # signal handler may ask for the stop again in the midst of it.
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self.reason: str | None = None

    def cancel(self, reason: str) -> None:
        """Ask for a stop. Later calls change nothing."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            for listener in list(self._listeners):
                listener()

    @contextmanager
    def calling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` once if the stop is asked for while the context lasts, or was before."""
        with self._lock:
            self._listeners.append(listener)
            if self.reason is not None:
                listener()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
