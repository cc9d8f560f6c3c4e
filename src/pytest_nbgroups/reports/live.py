"""Lines about a session while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nbgroups.core.events import ExperimentWaiting, NotebookFinished, NotebookStarted
from pytest_nbgroups.core.model import ExperimentResult, NotebookOutcome, NotebookResult
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.reports.failure import what_failed
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.progress import Running
from pytest_nbgroups.reports.usage import peak_text


def notebook_line(event: NotebookFinished, *, worker: str = "") -> str:
    """Render ``[gw1] Heart 2/7 2-fit.ipynb passed in 3.21s, 1.2 GiB``."""
    result = event.result
    where = f"{event.experiment} {event.number}/{event.count}"
    return one_line(f"{_prefix(worker)}{where} {result.name} {_became(result)}")


def _prefix(worker: str) -> str:
    return f"[{worker}] " if worker else ""


def _became(result: NotebookResult) -> str:
    peak = peak_text(result.usage)
    took = f"{format_duration(result.duration_s)}{', ' if peak else ''}{peak}"
    if result.plain_start:
        took += f", started plainly ({result.plain_start})"
    match result.outcome:
        case NotebookOutcome.SKIPPED | NotebookOutcome.NOT_RUN | NotebookOutcome.REUSED:
            outcome = result.outcome.value.replace("_", " ")
            return f"{outcome}: {result.reason}" if result.reason else outcome
        case NotebookOutcome.FAILED:
            why = f": {what_failed(result.failure)}" if result.failure else ""
            return f"failed in {took}{why}"
        case NotebookOutcome.INTERRUPTED:
            return f"interrupted after {took}"
        case NotebookOutcome.PASSED:
            return f"passed in {took}"


def waiting_line(event: ExperimentWaiting, *, worker: str = "") -> str:
    """Render ``[gw1] Heart waits: needs 1 gpu; held by Lung (pid 4242, anna, 12min)``."""
    return one_line(f"{_prefix(worker)}{event.experiment} waits: {event.reason}")


def running_line(running: Running, now: float) -> str:
    """Render ``Heart: notebook 2/7 2-fit.ipynb, cell 5/12, 12m03s, deadline in 47m``."""
    # Not negative: the clocks of two machines can differ.
    since = format_duration(max(0.0, now - running.started_at))
    if running.waits_for is not None:
        return one_line(f"{running.experiment} has waited {since}: {running.waits_for}")
    return one_line(f"{running.experiment}: {', '.join(_parts(running, now, since))}")


def _parts(running: Running, now: float, since: str) -> Iterator[str]:
    count = len(running.notebooks)
    if running.notebook is None:
        yield f"{running.finished}/{count} notebooks finished"
    else:
        yield f"notebook {running.finished + 1}/{count} {running.notebook}"
        if running.cell is None:
            yield "starting its kernel"
        else:
            yield f"cell {running.cell}/{running.cells}"
    yield since
    if running.deadline_at is not None:
        yield _deadline(running.deadline_at - now)


def _deadline(left_s: float) -> str:
    if left_s <= 0:
        return "past its deadline"
    whole = left_s if left_s < 60 else left_s - left_s % 60  # noqa: PLR2004  a minute
    return f"deadline in {format_duration(whole).removesuffix('00s')}"


def starting_line(event: NotebookStarted) -> str:
    """Render ``--- Notebook 2/7: 2-fit.ipynb ---``."""
    return one_line(f"--- Notebook {event.number}/{event.count}: {event.notebook} ---")


def stopping_line(result: ExperimentResult) -> str | None:
    """Render ``Stopping Heart: 3-eval.ipynb failed; not run: ...``; None if nothing stopped it."""
    ended = next((n for n in result.notebooks if n.outcome.ends_experiment), None)
    if ended is None:
        return None
    left = [n.name for n in result.notebooks if n.outcome is NotebookOutcome.NOT_RUN]
    rest = f"; not run: {', '.join(left)}" if left else ""
    return one_line(f"Stopping {result.name}: {ended.name} {ended.outcome}{rest}")
