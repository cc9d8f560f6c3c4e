"""Outcome of each number of workers, as a table and in sentences. Values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_nbgroups.core.units import counted, format_duration, format_size
from pytest_nbgroups.reports.grid import Layout, grid_lines
from pytest_nbgroups.scheduling.outlook import TOLERANCE, Outlook
from pytest_nbgroups.scheduling.simulation import Prediction

_NUMBERS = ("workers", "wall time", "peak RAM")


def workers_lines(outlook: Outlook) -> list[str]:
    """Render a row for each number of workers that makes a difference, with marks."""
    cells = zip(*_cells(outlook), strict=True)
    columns = dict(zip((*_NUMBERS, ""), map(list, cells), strict=True))
    return [line for (line,) in grid_lines(columns, Layout(right=_NUMBERS))]


def _cells(outlook: Outlook) -> Iterable[tuple[str, str, str, str]]:
    before = ("", "")
    for prediction in outlook.predictions:
        costs = wall_text(outlook, prediction), format_size(prediction.peak_ram_bytes)
        mark = _mark(outlook, prediction.workers)
        if costs != before or mark or prediction.workers < outlook.recommended:
            yield (str(prediction.workers), *costs, mark)
            before = costs


def wall_text(outlook: Outlook, prediction: Prediction) -> str:
    is_known = outlook.unknown < outlook.fits.experiments
    return format_duration(prediction.wall_s) if is_known else "unknown"


def _mark(outlook: Outlook, workers: int) -> str:
    marks = {"recommended": outlook.recommended, "asked for": outlook.asked}
    return ", ".join(mark for mark, count in marks.items() if count == workers)


def recommendation(outlook: Outlook) -> str:
    """Render ``recommended: -n 4; more than 4 experiments never fit at once (8 cpus)``."""
    return f"recommended: -n {outlook.recommended}; {_limit(outlook)}"


def _limit(outlook: Outlook) -> str:
    fits = outlook.fits
    if outlook.recommended >= fits.experiments:
        return "each experiment has a worker of its own"
    if outlook.recommended >= fits.fit and fits.limit:
        many = f"more than {fits.fit} experiments never" if fits.fit > 1 else "no two experiments"
        return f"{many} fit at once ({fits.limit})"
    return f"more workers would save less than {TOLERANCE:.0%} of the time"


def grounds(outlook: Outlook, *, tests: int) -> list[str]:
    """Return the basis of the prediction, and its limits."""
    also = f", and {counted(tests, 'ordinary test')}, come" if tests else " comes"
    alone = f"experiments alone: starting pytest and its workers{also} on top"
    return [alone] if not outlook.unknown else [_unknown_text(outlook), alone]


def _unknown_text(outlook: Outlook) -> str:
    unknown, total = outlook.unknown, outlook.fits.experiments
    if unknown == total:
        return "no experiment has ever run here: for the recommended number all count alike"
    have, count = ("has", "it counts") if unknown == 1 else ("have", "they count")
    return (
        f"{unknown} of {total} experiments {have} never run here: {count} as 0 s, and for the "
        "recommended number as long as the longest that is known"
    )
