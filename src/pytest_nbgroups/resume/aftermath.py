"""Effect of recording and reuse on the failure of a later notebook."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from pytest_nbgroups.core.model import Failure, FailureKind
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.resume.checkpoint import Step
from pytest_nbgroups.resume.file_contents import absolute

_NAMED = 3
"""How many files a failure names; the others it counts."""
_NOTABLE_S = 1.0
_MISSING = re.compile(r"FileNotFoundError|No such file|does not exist|cannot find", re.IGNORECASE)
_RERUN_ALL = (
    "run all notebooks again, as below: those that were reused may have written what is missing; if "
    "so, declare outputs in experiment.toml"
)


def with_reading(failure: Failure, spent_s: float) -> Failure:
    """Add to a deadline's evidence what went to files: no cell took that time."""
    if failure.kind is not FailureKind.DEADLINE or spent_s < _NOTABLE_S:
        return failure
    fact = f"{format_duration(spent_s)} of the experiment went to recording its files for --experiment-resume"
    return replace(failure, evidence=(*failure.evidence, fact))


def is_for_want_of_a_file(failure: Failure) -> bool:
    """Return whether a message is about a missing file."""
    return _MISSING.search(_told(failure)) is not None


def with_lost(failure: Failure, lost: Sequence[str]) -> Failure:
    """Add which files are gone, and that the notebooks before it have to run again."""
    evidence = (*failure.evidence, *lost)
    return replace(failure, evidence=evidence, remedy=failure.remedy or _RERUN_ALL)


def lost_files(steps: Sequence[Step], directory: str, failure: Failure) -> tuple[str, ...]:
    """Name the files that reused notebooks had left are gone now.

    Of those that a later reused one has removed itself, only what the failure mentions.
    """
    told = _told(failure)
    left = {path: step.name for step in reversed(steps) for path in step.files}
    gone = [
        f"{path} is gone, which {name} had left; that notebook was reused"
        for path, name in left.items()
        if (path in steps[-1].files or os.path.basename(path) in told)  # noqa: PTH119  thousands of times
        and not os.path.lexists(absolute(directory, path))
    ]
    more = len(gone) - _NAMED
    return (*gone[:_NAMED], *([f"and {more} more files"] if more > 0 else ()))


def _told(failure: Failure) -> str:
    return f"{failure.message}\n{failure.traceback}\n{failure.output}"
