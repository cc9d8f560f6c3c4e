"""Limits on the size and time of reading for checkpoints."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_nbgroups.core.errors import CheckpointError
from pytest_nbgroups.core.units import SIZE_LIMIT, Size, format_duration, format_size

STALL_S = 30.0
"""A read that takes longer counts as unanswered: a hard NFS mount waits for its server for ever."""
LONGEST_S = 300.0
"""Limit for all the files read after one notebook, unless a deadline is closer."""
GRACE_S = 1.0
"""Time from the moment when a reader has to stop until it is left behind."""


class ReadingStoppedError(Exception):
    """The run is being cancelled, or the reader was left behind."""


class ReadingCutError(CheckpointError):
    """Not all files can be read within the bounds; the text names the file and the reason."""


class ReadingBounds:
    """Ends the reading of files that are too large, too slow, or do not answer.

    The reading thread calls `at`, `expect`, `count` and `check`, which raise; the waiting thread
    calls `watch`. Once cut, reading stays cut: the attempt records no more files.
    """

    def __init__(
        self,
        *,
        folder: str = ".",
        limit: Size | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show paths relative to ``folder``; ``limit`` counts bytes read, not files already known."""
        self.ends_at: float | None = None
        """Deadline of the experiment, on ``clock``."""
        self.reason = ""
        """Reason why reading was cut; empty if it was not."""
        self.spent_s = 0.0
        """Time that readers have taken, in seconds."""
        self._folder = folder
        self._limit = limit or Size(SIZE_LIMIT)
        self._is_stopped = is_stopped
        self._clock = clock
        self._reader: int | None = None
        self._read_bytes = 0
        self._path = ""
        self._began = self._progress = clock()

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Make this thread the reader; an earlier one that still reads is left behind."""
        own = self._reader = threading.get_ident()
        self._began = self._progress = self._clock()
        try:
            yield
        finally:
            if self._reader == own:
                self._reader = None
                self.spent_s += self._clock() - self._began

    def at(self, path: str) -> None:
        """Note the file or folder that is read next, so that a message can name it."""
        self._path = path
        self.check()

    def expect(self, size: int) -> None:
        """Refuse a file that is too large before reading it."""
        if self._read_bytes + size > self._limit.bytes:
            before = f" after {format_size(self._read_bytes)}" if self._read_bytes else ""
            self._cut(
                f"reading {self._shown} ({format_size(size)}){before} would exceed "
                f"experiment_checkpoint_limit = {self._limit}; raise it, or keep such files elsewhere"
            )

    def count(self, size: int) -> None:
        """Count the bytes that were read."""
        self._read_bytes += size
        if self._read_bytes > self._limit.bytes:
            self._cut(f"{self._so_far}, more than experiment_checkpoint_limit = {self._limit}")
        self.check()

    def check(self) -> None:
        """Note that there is progress. Raises ReadingStoppedError, ReadingCutError."""
        is_left_behind = self._reader not in {None, threading.get_ident()}
        if is_left_behind or self._is_stopped():
            raise ReadingStoppedError
        if self.reason:
            raise ReadingCutError(self.reason)
        self._progress = self._clock()
        if self._progress > self._until:
            self._cut_for_time()

    def watch(self) -> None:
        """Raise ReadingCutError if the reader is to be left behind."""
        now = self._clock()
        if now > self._until + GRACE_S:
            self._cut_for_time()
        if now > self._progress + STALL_S:
            self._cut(f"{self._so_far}, no answer for {format_duration(STALL_S)}")

    @property
    def _until(self) -> float:
        longest = self._began + LONGEST_S
        if self.ends_at is None:
            return longest
        # Half of the time left: the other half is for the notebooks that still have to run.
        return min(longest, (self._began + max(self._began, self.ends_at)) / 2)

    def _cut_for_time(self) -> None:
        seconds = self._until - self._began
        why = "half of the time left until the deadline" if seconds < LONGEST_S else "the limit"
        self._cut(f"{self._so_far} in {format_duration(seconds)}, {why}")

    def _cut(self, reason: str) -> None:
        self.reason = self.reason or reason
        raise ReadingCutError(self.reason)

    @property
    def _shown(self) -> str:
        try:
            return os.path.relpath(self._path, self._folder).replace(os.sep, "/")
        except ValueError:  # on another drive
            return self._path

    @property
    def _so_far(self) -> str:
        return f"reading ended at {self._shown} after {format_size(self._read_bytes)}"
