"""Report of an experiment's wait for its lease, once it is over."""

from __future__ import annotations

from pytest_nbgroups.core.model import ExperimentResult
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.reports.lines import one_line

# A wait that is shorter, or that hardly counts beside the run, explains nothing.
_WORTH_TELLING_S = 1.0
_WORTH_TELLING_SHARE = 0.01


def waited_text(result: ExperimentResult) -> str:
    """``waited 3m00s: needs 1 gpu; held by Lung``; empty if it is not worth a line."""
    lease = result.lease
    least_s = max(_WORTH_TELLING_S, _WORTH_TELLING_SHARE * result.duration_s)
    if lease is None or lease.waited_s < least_s:
        return ""
    why = f": {lease.waited_for}" if lease.waited_for else ""
    return one_line(f"waited {format_duration(lease.waited_s)}{why}")
