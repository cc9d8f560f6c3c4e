"""Our lines among those of pytest and other plugins on the terminal."""

from __future__ import annotations

import pytest


def begin_line(reporter: pytest.TerminalReporter) -> None:
    """Start the next text on a new line, whatever was written before."""
    # The reporter's own ensure_newline only knows of lines that begin with a path. With pytest-xdist,
    # and with -q, the line has dots alone.
    if reporter._tw.width_of_current_line:  # noqa: SLF001  as plugins do
        reporter._tw.line()  # noqa: SLF001
    reporter.currentfspath = None
