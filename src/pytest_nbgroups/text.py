"""Plain text out of what kernels print."""

from __future__ import annotations

import re

# ECMA-48: CSI sequences, OSC strings up to BEL, ST or the end of their line, and the two-character escapes.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_NOTE_WIDTH = 40
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    """Remove terminal escapes and control characters; keep tabs and line ends.

    A carriage return overwrites its line, as on a terminal.
    """
    text = _ESCAPE.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def last_lines(text: str, count: int, *, width: int = 500) -> str:
    """The last ``count`` lines that are not blank at the end, each cut to ``width`` characters."""
    lines = text.rstrip().splitlines()[-count:]
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def first_line(text: str, *, width: int = 300) -> str:
    """The first line with text in it, cut to ``width`` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else f"{line[: width - 1]}…"


def shortened(text: str, width: int) -> str:
    """The text; of one of more than ``width`` characters the beginning, how much is left out, and the end."""
    if len(text) <= width:
        return text
    kept = max(0, width - _NOTE_WIDTH)
    head = kept // 3
    left_out = f" … {len(text) - kept:,} characters left out … "
    return f"{text[:head]}{left_out}{text[len(text) - (kept - head) :]}"
