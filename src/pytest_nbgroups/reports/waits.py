"""Report of an experiment's wait for its lease, once it is over."""

from __future__ import annotations

from pytest_nbgroups.core.model import ExperimentResult
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.reports.lines import one_line

# A shorter wait, or one that is short beside the run, explains nothing.
_SHORTEST_S = 1.0
_SMALLEST_SHARE = 0.01


def waited_text(result: ExperimentResult) -> str:
    """Render ``waited 3m00s: needs 1 gpu; held by Lung``; nothing for a short wait."""
    lease = result.lease
    least_s = max(_SHORTEST_S, _SMALLEST_SHARE * result.duration_s)
    if lease is None or lease.waited_s < least_s:
        return ""
    why = f": {lease.waited_for}" if lease.waited_for else ""
    return one_line(f"waited {format_duration(lease.waited_s)}{why}")
