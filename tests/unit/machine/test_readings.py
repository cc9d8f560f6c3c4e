"""Readings of the machine that runs the tests."""

from __future__ import annotations

from dataclasses import replace

from machines import budget, need

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.machine.readings import Readings


def test_the_counts_of_this_machine() -> None:
    """They can be read again and again."""
    here = Readings()
    assert here.kill_counts().machine.name == here.kill_counts().machine.name == "the machine"


def test_memory_inside_a_lease() -> None:
    """The lease alone counts there: what else the machine uses is no obstacle."""
    here, outer = Readings(), Claim(need=need(), experiment="Outer", session="o", ticket="outer")
    assert here.memory(budget()) is not None
    assert here.memory(replace(budget(), lender=outer)) is None
