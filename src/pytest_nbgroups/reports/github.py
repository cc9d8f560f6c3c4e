"""Output for GitHub Actions: annotations in its log, and the summary of a step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_nbgroups.core.model import (
    DECLARATION_FILE,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
)
from pytest_nbgroups.reports.failure import failure_headline
from pytest_nbgroups.reports.lines import one_line, plain_lines
from pytest_nbgroups.reports.record import ExperimentRecord
from pytest_nbgroups.reports.source import source_lines

SUMMARY_LIMIT_BYTES = 1024 * 1024
"""Limit for one step; GitHub shows nothing of a longer summary."""

SHORTENED = "Shortened: GitHub shows at most 1 MiB for a step.\n"


def error_annotations(experiments: Iterable[ExperimentRecord], *, workspace: Path) -> list[str]:
    """Return an ``::error`` command for each failed experiment, on the notebook that failed.

    ``workspace`` is the repository's folder (GITHUB_WORKSPACE), to which GitHub relates files.
    """
    failed = (e.result for e in experiments if e.result.outcome is ExperimentOutcome.FAILED)
    return [_annotation(result, workspace) for result in failed]


def _annotation(result: ExperimentResult, workspace: Path) -> str:
    properties = {"file": _file(result, workspace), "title": _title(result)}
    given = ",".join(f"{key}={_property(text)}" for key, text in properties.items() if text)
    return f"::error {given}::{_data(chr(10).join(_message(result)) or result.outcome.value)}"


def _title(result: ExperimentResult) -> str:
    notebook = result.failed_notebook
    if result.error is not None or notebook is None or notebook.failure is None:
        return one_line(result.name)
    cell = notebook.failure.cell
    where = f", cell {cell.number} of {cell.count}" if cell else ""
    return one_line(f"{result.name}: {notebook.name}{where}")


def _file(result: ExperimentResult, workspace: Path) -> str:
    """Return the file of `_blamed` as GitHub knows it; empty if the failure is not in one file."""
    path = _blamed(result)
    if path is None:
        return ""
    inside = path.relative_to(workspace) if path.is_relative_to(workspace) else path
    return one_line(inside.as_posix())


def _blamed(result: ExperimentResult) -> Path | None:
    """Return the notebook that failed, or the file of the declaration."""
    if result.error is None:
        failed = result.failed_notebook
        return result.directory / failed.name if failed else None
    if result.error.kind is not FailureKind.DECLARATION:
        return None
    declaration = result.directory / DECLARATION_FILE
    if os.path.isfile(declaration):  # noqa: PTH113  Path raises if the directory cannot be entered
        return declaration
    only = result.notebooks[0] if len(result.notebooks) == 1 else None
    return result.directory / only.name if only else None


def _message(result: ExperimentResult) -> Iterator[str]:
    failure: Failure | None = result.failure
    if failure is None:
        yield failure_headline(result)
        return
    yield from plain_lines(failure.message) or [failure_headline(result)]
    if failure.cell is not None:
        yield from source_lines(failure.cell, around=2)
    yield from map(one_line, failure.evidence)
    if failure.remedy:
        yield one_line(failure.remedy)


def _data(text: str) -> str:
    # The escapes of GitHub's own toolkit; a property needs two more.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def append_summary(path: Path, markdown: str) -> tuple[str, ...]:
    """Append to the file that GITHUB_STEP_SUMMARY names, shortened to the limit. Return warnings."""
    try:
        used = path.stat().st_size if path.exists() else 0
        text = shortened(markdown, SUMMARY_LIMIT_BYTES - used)
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
    except OSError as exc:
        return (f"{path}: the step summary could not be written: {exc.strerror or exc}",)
    return ()


def shortened(markdown: str, limit_bytes: int) -> str:
    """Shorten Markdown to ``limit_bytes`` of UTF-8: leave out the last blocks, then the last rows."""
    if _size(markdown) <= limit_bytes:
        return markdown
    blocks = re.split(r"^(?=<details>)", markdown, flags=re.MULTILINE)
    pieces = [*blocks[0].splitlines(keepends=True), *blocks[1:]]
    room, kept = limit_bytes - _size(SHORTENED) - 1, []
    for piece in pieces:
        room -= _size(piece)
        if room < 0:
            break
        kept.append(piece)
    text = "".join([*kept, "\n", SHORTENED])
    return text if _size(text) <= limit_bytes else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))
