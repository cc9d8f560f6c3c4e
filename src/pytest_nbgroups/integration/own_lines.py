"""Lines of ours between what pytest and other plugins write to the terminal."""

from __future__ import annotations

import pytest


def begin_line(reporter: pytest.TerminalReporter) -> None:
    """Have the next text stand at the beginning of a line, whatever was written before.

    The reporter's own ``ensure_newline`` knows of lines that begin with a path. With pytest-xdist,
    and with ``-q``, dots stand on a line of their own.
    """
    if reporter._tw.width_of_current_line:  # noqa: SLF001  as plugins do
        reporter._tw.line()  # noqa: SLF001
    reporter.currentfspath = None
