"""A way to stop a running experiment from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancellation:
    """Set once, with a reason; tells whoever listens at that moment, or at once if it is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.reason: str | None = None

    def cancel(self, reason: str) -> None:
        """Ask for a stop. Later calls change nothing."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @contextmanager
    def calling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` once if the stop is asked for while the context lasts, or was before."""
        with self._lock:
            self._listeners.append(listener)
            already = self.reason is not None
        if already:
            listener()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
