"""What is told of a wait for a lease."""

from __future__ import annotations

from dataclasses import replace

import pytest
from machines import need
from report_samples import result

from pytest_nbgroups.core.resources import Lease
from pytest_nbgroups.reports.waits import waited_text

LEASE = Lease(need=need(), waited_for="needs 1 gpu; held by Lung")


@pytest.mark.parametrize(
    ("waited_s", "duration_s", "is_told"),
    [
        (0.9, 0.0, False),
        (1.0, 0.0, True),
        (1.0, 100.0, True),
        (1.0, 101.0, False),
        (180.0, 3600.0, True),
    ],
)
def test_only_a_wait_that_counts_is_told(
    waited_s: float, duration_s: float, *, is_told: bool
) -> None:
    """A second, and a hundredth of the run."""
    of = replace(result(), lease=replace(LEASE, waited_s=waited_s), duration_s=duration_s)
    assert bool(waited_text(of)) == is_told


def test_how_it_reads() -> None:
    """In one line, with the reason if it is known."""
    of = replace(result(), duration_s=1.0, lease=replace(LEASE, waited_s=180.0))
    assert waited_text(of) == "waited 3m00s: needs 1 gpu; held by Lung"
    strange = Lease(need=need(), waited_s=180.0, waited_for="a\nb")
    assert waited_text(replace(of, lease=strange)) == "waited 3m00s: a b"
    assert waited_text(replace(of, lease=replace(strange, waited_for=""))) == "waited 3m00s"
    assert waited_text(replace(of, lease=None)) == ""
