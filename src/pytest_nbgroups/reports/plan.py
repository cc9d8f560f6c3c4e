"""The report of ``--experiment-plan``: experiments, their order and resources. Data, then lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pytest_nbgroups.core.resources import Estimate, Need, Resources
from pytest_nbgroups.core.units import Size, counted, format_duration, format_size
from pytest_nbgroups.reports.closing_table import REUSED_SHOWN, reused_line
from pytest_nbgroups.reports.columns import display_width, shorten_end
from pytest_nbgroups.reports.grid import Layout, grid_lines
from pytest_nbgroups.reports.lines import one_line
from pytest_nbgroups.reports.workers_table import grounds, recommendation, wall_text, workers_lines
from pytest_nbgroups.scheduling.outlook import Outlook

_LAYOUT = Layout(
    right={"notebooks"},
    names="experiment",
    dispensable=("notebooks", "cpus", "GPUs", "RAM"),
    notes="remarks",
)


@dataclass(frozen=True, kw_only=True)
class PlannedExperiment:
    """An experiment, or a test that runs one, with all that is known before it runs."""

    name: str
    notebooks: str = ""
    """``3``, or ``2 of 3`` if one is skipped; empty for a test."""
    resources: Resources = field(default_factory=Resources)
    """As declared."""
    need: Need | None = None
    """None if the declaration cannot be read."""
    estimate: Estimate | None = None
    obstacle: str = ""
    """Reason why it does not run: ``skipped: needs Docker``; empty if it does."""
    is_reused: bool = False
    """True if it does not run because all its notebooks would be reused."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a session."""

    experiments: tuple[PlannedExperiment, ...]
    """Those that run in the order in which they are tried, then the others."""
    order: str
    """Name of that order: ``longest first``."""
    tests: int
    """Number of ordinary tests."""
    outlook: Outlook | None = None
    """None if no experiment would run."""
    default_ram: Size
    notes: tuple[str, ...] = ()
    """Remarks and hints, a line each."""
    endnotes: tuple[str, ...] = ()
    """Actions and warnings, a line each; also part of the brief plan."""


def plan_lines(plan: Plan, width: int, *, brief: bool = False, verbose: bool = False) -> list[str]:
    """Render the plan, no line wider than ``width``; ``brief`` leaves out all but the essentials.

    Many wholly reused experiments are counted unless it is ``verbose``.
    """
    table = experiments_lines(plan, width) if verbose else _without_reused(plan, width)
    if brief:
        essence = [] if plan.outlook is None else [_essence(plan.outlook)]
        return _fitted([*table, *essence, *map(one_line, plan.endnotes)], width)
    parts = [[_headline(plan)], table]
    if plan.outlook is not None:
        also = [recommendation(plan.outlook), *grounds(plan.outlook, tests=plan.tests)]
        parts += [workers_lines(plan.outlook), also]
    parts.append([*map(one_line, [*plan.notes, *plan.endnotes])])
    separated = [[*part, ""] for part in parts if part]
    return _fitted([line for part in separated for line in part][:-1], width)


def _without_reused(plan: Plan, width: int) -> list[str]:
    left = tuple(experiment for experiment in plan.experiments if not experiment.is_reused)
    count = len(plan.experiments) - len(left)
    if count <= REUSED_SHOWN:
        return experiments_lines(plan, width)
    return [*experiments_lines(replace(plan, experiments=left), width), reused_line(count)]


def _headline(plan: Plan) -> str:
    """Render ``5 experiments, longest first; 2 of them do not run; 14 ordinary tests``."""
    parts = ["no experiments"]
    if count := len(plan.experiments):
        parts = [f"{counted(count, 'experiment')}, {plan.order}"]
    if count := sum(bool(experiment.obstacle) for experiment in plan.experiments):
        parts.append(f"{count} of them {'do' if count > 1 else 'does'} not run")
    if plan.tests:
        parts.append(counted(plan.tests, "ordinary test"))
    return "; ".join(parts)


def _essence(outlook: Outlook) -> str:
    best = outlook.best
    costs = f"{wall_text(outlook, best)}, {format_size(best.peak_ram_bytes)} of RAM"
    return f"recommended: -n {outlook.recommended} ({costs})"


def _fitted(lines: Iterable[str], width: int) -> list[str]:
    """Break lines that are too long; continuations are indented."""
    fitted: list[str] = []
    for line in lines:
        parts = [line]
        if display_width(line) > width:
            parts = textwrap.wrap(
                line, max(width, 8), subsequent_indent="  ", break_on_hyphens=False
            )
        fitted += (shorten_end(part, width) for part in parts)
    return fitted


# The table of experiments


def experiments_lines(plan: Plan, width: int) -> list[str]:
    """Render a row for each experiment under a header; nothing without experiments.

    If the table is too wide, remarks go below their rows. Then names are shortened, and at last some
    columns are left out.
    """
    if not plan.experiments:
        return []
    return [line for lines in grid_lines(_columns(plan), _LAYOUT, width) for line in lines]


def _remarks(experiment: PlannedExperiment) -> Iterator[str]:
    if experiment.obstacle:
        yield experiment.obstacle
    need = experiment.need
    if need is not None:
        yield from (f"lock {lock}" for lock in need.locks)
        if need.exclusive:
            yield "exclusive"
    yield from experiment.remarks


def _columns(plan: Plan) -> dict[str, list[str]]:
    experiments = plan.experiments
    return {
        "experiment": [one_line(e.name) for e in experiments],
        "notebooks": [e.notebooks for e in experiments],
        "cpus": [cpus_text(e) for e in experiments],
        "RAM": [ram_text(e, plan.default_ram) for e in experiments],
        "GPUs": [gpus_text(e) for e in experiments],
        "time": [time_text(e) for e in experiments],
        "remarks": [one_line("; ".join(_remarks(e))) for e in experiments],
    }


# Reservations, with their sources


def cpus_text(experiment: PlannedExperiment) -> str:
    """Render ``2 declared``, ``1 default``."""
    if experiment.need is None:
        return ""
    source = "default" if experiment.resources.cpus is None else "declared"
    return f"{experiment.need.cpus:g} {source}"


def ram_text(experiment: PlannedExperiment, default: Size) -> str:
    """Render ``4GB declared``, ``1.2 GiB (3 runs)``, ``2GB slow start``."""
    need = experiment.need
    if need is None:
        return ""
    match need.ram_source:
        case "declared":
            return f"{_echoed(need.ram_bytes, experiment.resources.ram)} declared"
        case "history":
            return f"{format_size(need.ram_bytes)} {_runs(experiment.estimate)}"
        case "slow start":
            return f"{_echoed(need.ram_bytes, default)} slow start"


def _echoed(count: int, declared: Size | None) -> str:
    return str(declared) if declared and declared.bytes == count else format_size(count)


def gpus_text(experiment: PlannedExperiment) -> str:
    """Render ``1``, ``8GB of 1``, ``1 with 24GB``; ``1 assumed`` if it declares none and uses one."""
    need, declared = experiment.need, experiment.resources
    if need is None or not need.gpus:
        return ""
    if not declared.gpu_count:
        return f"{need.gpus} assumed"
    if need.gpu_share_bytes is not None:
        return f"{_echoed(need.gpu_share_bytes, declared.gpu_memory)} of {need.gpus}"
    if need.gpu_min_bytes:
        return f"{need.gpus} with {_echoed(need.gpu_min_bytes, declared.gpu_min_memory)}"
    return str(need.gpus)


def time_text(experiment: PlannedExperiment) -> str:
    """Render ``3m05s (4 runs)``, ``unknown``; nothing if it does not run."""
    estimate = experiment.estimate
    if experiment.obstacle:
        return ""
    if estimate is None or estimate.duration_s is None:
        return "unknown"
    return f"{format_duration(estimate.duration_s)} {_runs(estimate)}"


def _runs(estimate: Estimate | None) -> str:
    return f"({counted(estimate.runs if estimate else 0, 'run')})"
