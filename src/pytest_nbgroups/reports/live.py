"""Lines that tell of a session while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nbgroups.events import NotebookFinished, NotebookStarted
from pytest_nbgroups.model import ExperimentResult, NotebookOutcome, NotebookResult
from pytest_nbgroups.reports.failure import what_failed
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.progress import Running
from pytest_nbgroups.units import format_duration


def notebook_line(event: NotebookFinished, *, worker: str = "") -> str:
    """``[gw1] Heart 2/7 2-fit.ipynb passed in 3.21s``, with the reason where it did not pass."""
    result = event.result
    prefix = f"[{worker}] " if worker else ""
    where = f"{event.experiment} {event.number}/{event.count}"
    return one_line(f"{prefix}{where} {result.name} {_became(result)}")


def _became(result: NotebookResult) -> str:
    took = format_duration(result.duration_s)
    match result.outcome:
        case NotebookOutcome.SKIPPED | NotebookOutcome.NOT_RUN | NotebookOutcome.REUSED:
            said = result.outcome.value.replace("_", " ")
            return f"{said}: {result.reason}" if result.reason else said
        case NotebookOutcome.FAILED:
            why = f": {what_failed(result.failure)}" if result.failure else ""
            return f"failed in {took}{why}"
        case NotebookOutcome.INTERRUPTED:
            return f"interrupted after {took}"
        case NotebookOutcome.PASSED:
            return f"passed in {took}"


def running_line(running: Running, now: float) -> str:
    """``Heart: notebook 2/7 2-fit.ipynb, cell 5/12, 12m03s, deadline in 47m``."""
    return one_line(f"{running.experiment}: {', '.join(_parts(running, now))}")


def _parts(running: Running, now: float) -> Iterator[str]:
    count = len(running.notebooks)
    if running.notebook is None:
        yield f"{running.finished}/{count} notebooks finished"
    else:
        yield f"notebook {running.finished + 1}/{count} {running.notebook}"
        if running.cell is None:
            yield "starting its kernel"
        else:
            yield f"cell {running.cell}/{running.cells}"
    yield format_duration(max(0.0, now - running.started_at))
    if running.deadline_at is not None:
        yield _deadline(running.deadline_at - now)


def _deadline(left_s: float) -> str:
    if left_s <= 0:
        return "past its deadline"
    whole = left_s if left_s < 60 else left_s - left_s % 60  # noqa: PLR2004  a minute
    return f"deadline in {format_duration(whole).removesuffix('00s')}"


def starting_line(event: NotebookStarted) -> str:
    """``--- Notebook 2/7: 2-fit.ipynb ---``."""
    return one_line(f"--- Notebook {event.number}/{event.count}: {event.notebook} ---")


def stopping_line(result: ExperimentResult) -> str | None:
    """``Stopping Heart: 3-eval.ipynb failed; not run: 4-report.ipynb``; None where nothing stopped it."""
    ended = next((n for n in result.notebooks if n.outcome.ends_experiment), None)
    if ended is None:
        return None
    left = [n.name for n in result.notebooks if n.outcome is NotebookOutcome.NOT_RUN]
    rest = f"; not run: {', '.join(left)}" if left else ""
    return one_line(f"Stopping {result.name}: {ended.name} {ended.outcome}{rest}")
