"""Evidence in a failure that comes from recording files or from reusing notebooks."""

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
"""Number of files that a failure names; it only counts the others."""
_NOTABLE_S = 1.0
_MISSING = re.compile(r"FileNotFoundError|No such file|does not exist|cannot find", re.IGNORECASE)
_RERUN_ALL = (
    "run all notebooks again, as below: a reused one may have written the missing file; if so, declare "
    "outputs in experiment.toml"
)


def with_reading(failure: Failure, spent_s: float) -> Failure:
    """Add the time spent on files to the evidence of a deadline: no cell took that time."""
    if failure.kind is not FailureKind.DEADLINE or spent_s < _NOTABLE_S:
        return failure
    fact = f"{format_duration(spent_s)} of the experiment went to recording its files for --experiment-resume"
    return replace(failure, evidence=(*failure.evidence, fact))


def is_for_want_of_a_file(failure: Failure) -> bool:
    """Return True if the failure mentions a missing file."""
    return _MISSING.search(_texts(failure)) is not None


def with_lost(failure: Failure, lost: Sequence[str]) -> Failure:
    """Add the files that are gone, and the advice to run the earlier notebooks again."""
    evidence = (*failure.evidence, *lost)
    return replace(failure, evidence=evidence, remedy=failure.remedy or _RERUN_ALL)


def lost_files(steps: Sequence[Step], directory: str, failure: Failure) -> tuple[str, ...]:
    """List the files that reused notebooks had left and that are gone now.

    A file that a later reused notebook removed counts only if the failure mentions it.
    """
    texts = _texts(failure)
    left = {path: step.name for step in reversed(steps) for path in step.files}
    gone = [
        f"{path} from {name} is gone; that notebook was reused"
        for path, name in left.items()
        if (path in steps[-1].files or os.path.basename(path) in texts)  # noqa: PTH119  thousands of times
        and not os.path.lexists(absolute(directory, path))
    ]
    more = len(gone) - _NAMED
    return (*gone[:_NAMED], *([f"and {more} more files"] if more > 0 else ()))


def _texts(failure: Failure) -> str:
    return f"{failure.message}\n{failure.traceback}\n{failure.output}"
