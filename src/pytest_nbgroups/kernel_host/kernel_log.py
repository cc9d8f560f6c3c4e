"""The raw standard output and error of a kernel's processes, on the way to a file. POSIX only.

They write into a pipe and not into the file: neither a full disk nor a file that must not grow further is then an
error, or a standstill, of theirs.
"""

from __future__ import annotations

import contextlib
import os
from selectors import EVENT_READ, BaseSelector

LIMIT_BYTES = 50 * 10**6
"""The largest size of a log, without the note on what is missing."""
_READ_BYTES = 2**20
_READS = 4
"""More than a pipe holds when the last writer is gone."""


class KernelOutput:
    """Copies to the end of a file; above the limit it keeps the first half of it and the latest output."""

    def __init__(self, path: str, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Raises OSError if the file cannot be opened."""
        # Appended to: the output of the fork server may be in it already.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._size = os.fstat(self._file).st_size
        self._limit_bytes = limit_bytes
        self._left_out_bytes = self._note_bytes = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._selector: BaseSelector | None = None
        self._is_open = True

    def fileno(self) -> int:
        return self._reader

    @property
    def writer(self) -> int:
        """Return the end that the kernel gets; see `close_writer`."""
        return self._writer

    def close_writer(self) -> None:
        """To be called once the kernel has its own."""
        os.close(self._writer)

    def follow(self, selector: BaseSelector) -> None:
        """Have the selector call for copies, until nobody can write any more or this is closed."""
        self._selector = selector
        selector.register(self, EVENT_READ, self._copy_selected)

    def _copy_selected(self) -> None:
        # An event that was selected with this one may have closed it.
        if self._is_open and not self.copy():
            self._unfollow()

    def _unfollow(self) -> None:
        if self._selector is not None:
            self._selector.unregister(self)
            self._selector = None

    def copy(self) -> bool:
        """Copy what is there, but no more than a megabyte; False once nobody can write any more."""
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            with contextlib.suppress(OSError):  # a full disk costs a log, not a kernel
                self._append(data)
        return bool(data)

    def drain(self) -> None:
        """Copy the output so far, but not an endless stream."""
        for _ in range(_READS):
            self.copy()

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            self._is_open = False
            self._unfollow()
            self.drain()
            os.close(self._reader)
            os.close(self._file)

    def _append(self, data: bytes) -> None:
        last = data[-(self._limit_bytes // 2) :]
        if self._size + len(data) > self._limit_bytes:
            self._leave_out(len(data) - len(last))
        self._size += os.write(self._file, last)

    def _leave_out(self, of_data_bytes: int) -> None:
        kept = min(self._size, self._limit_bytes // 2)
        self._left_out_bytes += self._size - kept - self._note_bytes + of_data_bytes
        os.ftruncate(self._file, kept)
        note = f"\n[{self._left_out_bytes:,} bytes left out here: a log is kept up to {self._limit_bytes:,}]\n"
        self._note_bytes = os.write(self._file, note.encode())
        self._size = kept + self._note_bytes
