"""Limits on the time of cells, notebooks and experiments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_nbgroups.core.units import format_duration

_REMEDY = {
    "cell": ("cell_timeout", "--experiment-cell-timeout"),
    "notebook": ("notebook_timeout or the notebook's own timeout", "--experiment-notebook-timeout"),
    "experiment": ("timeout", "--experiment-timeout"),
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A deadline on the monotonic clock, in seconds."""

    of: Literal["cell", "notebook", "experiment"]
    seconds: float
    ends_at: float

    def describe(self) -> str:
        return f"the {self.of}'s limit of {format_duration(self.seconds)}"

    def remedy(self) -> str:
        key, option = _REMEDY[self.of]
        return f"raise it with {key} in experiment.toml or {option}"


def limit(
    of: Literal["cell", "notebook", "experiment"], seconds: float | None, now: float
) -> Limit | None:
    """A limit that starts now; None if there is none."""
    return None if seconds is None else Limit(of=of, seconds=seconds, ends_at=now + seconds)


def nearest(*limits: Limit | None) -> Limit | None:
    """The limit that ends first; among equals the first named."""
    return min((each for each in limits if each), key=lambda each: each.ends_at, default=None)
