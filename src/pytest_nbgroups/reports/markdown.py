"""The table as Markdown, for GitHub's step summary."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.reports.closing_table import NUMBERS, Row, columns, totals
from pytest_nbgroups.reports.lines import one_line

# What has a meaning in Markdown, in its tables or in HTML, and "$", which GitHub reads as TeX.
_SPECIAL = re.compile(r"[\\`*_~|<>&\[\]\"'$#]")

_ALWAYS = {"experiment", "worker", "reason"}
"""Columns that are shown even if they are empty."""


def escaped(text: str) -> str:
    """Escape a text for Markdown, its tables and HTML, in a single line."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def summary_markdown(
    rows: Sequence[Row], *, details: Mapping[Row, Sequence[str]], duration_s: float | None = None
) -> str:
    """Render the totals, the table, and a folded block for each failure; nothing without rows.

    ``details`` are the lines of a failure, by the row of its experiment.
    """
    if not rows:
        return ""
    took = f" in {format_duration(duration_s)}" if duration_s is not None else ""
    lines = [f"### Experiments: {totals(rows)}{took}", "", *_table(rows), ""]
    for row in rows:
        if row in details:
            lines += _details(row, details[row])
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    shown = {name: cells for name, cells in columns(rows).items() if name in _ALWAYS or any(cells)}
    yield f"| {' | '.join(shown)} |"
    yield f"|{'|'.join('--:' if name in NUMBERS else ':--' for name in shown)}|"
    for cells in zip(*shown.values(), strict=True):
        yield f"| {' | '.join(map(escaped, cells))} |"


def _details(row: Row, lines: Sequence[str]) -> list[str]:
    # The empty lines end the HTML block of <details>, so that the text can contain empty lines too.
    text = html.escape("\n".join(lines), quote=False)
    summary = f"{escaped(row.experiment)}: {escaped(row.reason)}"
    return [
        f"<details><summary>{summary}</summary>",
        "",
        f"<pre>\n{text}\n</pre>",
        "",
        "</details>",
        "",
    ]
