"""Plain text out of what kernels print."""

from __future__ import annotations

import re

# ECMA-48, with the one-character forms of CSI and of the strings: CSI sequences; OSC, DCS, SOS, PM and APC
# strings up to BEL, ST or the end of their line; and the two-character escapes.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Includes the characters that reorder a line, so that it reads as another text (U+202A and so on).
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOTE_WIDTH = 40


def plain_text(text: str) -> str:
    """Remove terminal escapes, control characters and bidirectional overrides; keep tabs and line ends.

    A carriage return overwrites its line, as on a terminal.
    """
    text = _ESCAPE.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def encodable(text: str) -> str:
    """Escape what UTF-8 cannot express, such as the surrogates in a file name of another encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def last_lines(text: str, count: int, *, width: int = 500) -> str:
    """Return the last ``count`` lines without blank ones at the end, each cut to ``width`` characters."""
    lines = text.rstrip().splitlines()[-count:]
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def first_line(text: str, *, width: int = 300) -> str:
    """Return the first line with text in it, cut to ``width`` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else f"{line[: width - 1]}…"


def shortened(text: str, width: int) -> str:
    """Shorten a text to ``width`` characters: its beginning, the amount left out, and its end."""
    if len(text) <= width:
        return text
    kept = max(0, width - _NOTE_WIDTH)
    head = kept // 3
    left_out = f" … {len(text) - kept:,} characters left out … "
    return f"{text[:head]}{left_out}{text[len(text) - (kept - head) :]}"
