"""The wait for a lease: reports its reason, and ends when it is cancelled or takes too long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseTimeoutError
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.scheduling.obstacles import Obstacle, describe, is_same_reason

_SILENT_S = 0.25  # most waits are over by then and need no line
_LOOK_AGAIN_S = 0.5  # the folder shows neither a holder's death nor the use of memory


class Wait:
    """One claim's wait."""

    def __init__(
        self, *, on_wait: Callable[[str], None], cancelled: Callable[[], bool], wait_s: float | None
    ) -> None:
        self._on_wait = on_wait
        self._cancelled = cancelled
        self._wait_s = wait_s
        self._started = time.monotonic()
        self._obstacle: Obstacle | None = None
        self._reported: Obstacle | None = None
        self.waited_for = ""
        """Why it was refused at first."""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def refused(self, obstacle: Obstacle) -> None:
        self._obstacle = obstacle
        self.waited_for = self.waited_for or self._line(obstacle)

    def pause(self, folder: Path, seen: object, *, poll_s: float) -> None:
        """Sleep until the folder is another than was ``seen``, or for a while.

        Raises LeaseTimeoutError and LeaseCancelledError.
        """
        again_at = time.monotonic() + _LOOK_AGAIN_S * random.uniform(0.8, 1.2)  # noqa: S311
        while time.monotonic() < again_at:
            self._check()
            self._report()
            time.sleep(poll_s * random.uniform(0.6, 1.4))  # noqa: S311  so that not all come at once
            if look(folder) != seen:
                return

    def _check(self) -> None:
        obstacle = self._obstacle
        if self._cancelled():
            raise LeaseCancelledError("cancelled while it waited for its lease")
        if obstacle and self._wait_s is not None and self.elapsed_s >= self._wait_s:
            raise LeaseTimeoutError(
                f"no lease within {format_duration(self._wait_s)}: {self._line(obstacle)}"
            )

    def _report(self) -> None:
        obstacle = self._obstacle
        if obstacle is None or self.elapsed_s < _SILENT_S:
            return
        if self._reported is None or not is_same_reason(obstacle, self._reported):
            self._reported = obstacle
            self._on_wait(self._line(obstacle))

    @staticmethod
    def _line(obstacle: Obstacle) -> str:
        return describe(obstacle, now=time.time())


def look(folder: Path) -> object:
    """Something that is equal as long as no ticket comes or goes.

    The size too: two changes can fall into one tick of the clock that files are stamped with.
    """
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
