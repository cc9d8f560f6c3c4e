"""A way to stop a running experiment from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancellation:
    """A stop request, set once with a reason. Calls its listeners, or a new listener at once."""

    def __init__(self) -> None:
        # Held while listeners are called, so that no listener is called after its context has
        # ended. Reentrant, because a signal handler can ask for the stop during these calls.
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
