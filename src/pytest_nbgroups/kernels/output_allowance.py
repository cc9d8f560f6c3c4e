"""Limit on the outputs of a notebook. Pure: kinds and sizes of messages in, decisions out.

A size is that of the message as the kernel sends it, about a kilobyte for the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

_ALWAYS = frozenset({"status", "execute_input", "iopub_welcome"})
"""Few and small, and they show the end of a cell."""
_REPLACING = frozenset({"update_display_data", "comm_msg", "comm_close", "clear_output"})
"""They replace what is there, so they take memory only until they are handed on."""
_CUTTABLE = 2
"""A message of more than so many times the limit is not taken apart to keep its beginning."""
_LATER_CELLS = 100
"""This part of the limit each cell may show, however much the cells before it have shown."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Output of a cell that is missing in the executed notebook."""

    over_limit_bytes: int = 0
    late_bytes: int = 0
    """Output for which there was room, but no time when the cell had to end."""
    lost_messages: int = 0
    """Messages that the kernel has dropped, because they had to wait too long."""
    refused_messages: int = 0
    """Messages that no notebook can hold, or that cannot be read."""
    refusals: tuple[str, ...] = ()
    """Why these were refused, the first few different reasons."""
    is_end_missing: bool = False
    """The kernel has answered but never reported the end of the outputs."""

    @property
    def total_bytes(self) -> int:
        return self.over_limit_bytes + self.late_bytes


@dataclass(kw_only=True)
class OutputAllowance:
    """Memory for the outputs of one notebook, counted cell by cell.

    Each message is given to `take` when it arrives, and to `handed_on` or `drop` when its turn comes.
    """

    limit_bytes: int
    _dropped_bytes: int = 0
    """Output of the running cell that was not kept."""
    _late_bytes: int = 0
    _earlier_bytes: int = 0
    """Kept of the cells before it."""
    _kept_bytes: int = 0
    _errors_bytes: int = 0
    """Errors have a room of their own: a flood must not hide why it ended."""
    _waiting_bytes: int = 0

    def begin_cell(self) -> None:
        self._earlier_bytes += self._kept_bytes + self._errors_bytes
        self._kept_bytes = self._errors_bytes = self._dropped_bytes = self._late_bytes = 0

    def take(self, kind: str, size: int) -> int:
        """Return how many bytes of a message to keep: all, none or, of a stream, so many from its beginning."""
        kept = self._room(kind, size)
        if kind == "error":
            self._errors_bytes += kept
        elif kind == "clear_output" and kept:  # what is no longer shown is not missing either
            self._kept_bytes = self._dropped_bytes = 0
        elif kind not in _ALWAYS | _REPLACING:
            self._kept_bytes += kept
        self._waiting_bytes += size if kept else 0
        self._dropped_bytes += size - kept
        return kept

    def _room(self, kind: str, size: int) -> int:
        if kind in _ALWAYS:
            return size
        if self._waiting_bytes + size > _CUTTABLE * self.limit_bytes:
            return 0
        if kind in _REPLACING:
            return size
        if kind == "error":
            return size if self._errors_bytes + size <= self.limit_bytes else 0
        limit_bytes = max(self.limit_bytes - self._earlier_bytes, self.limit_bytes // _LATER_CELLS)
        left = max(limit_bytes - self._kept_bytes, 0)
        return min(size, left) if size <= left or kind == "stream" else 0

    def end_cell(self) -> LeftOut:
        """Return the outputs of the cell that were dropped, once."""
        left_out = LeftOut(over_limit_bytes=self._dropped_bytes, late_bytes=self._late_bytes)
        self._dropped_bytes = self._late_bytes = 0
        return left_out

    def handed_on(self, size: int) -> None:
        self._waiting_bytes -= size

    def drop(self, kind: str, size: int) -> None:
        """There is no time left to deal with a message that was to be kept."""
        self._waiting_bytes -= size
        self._late_bytes += 0 if kind in _REPLACING else size

    @staticmethod
    def may_drop(kind: str) -> bool:
        return kind not in _ALWAYS and kind != "error"
