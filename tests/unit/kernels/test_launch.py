"""The time that a kernel has for its start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nbgroups.kernels import launch as module
from pytest_nbgroups.kernels.launch import Launch


def launch(**changes: Any) -> Launch:
    return Launch(name="python3", cwd=Path(), env={}, log_path=None, **changes)


def test_without_a_deadline() -> None:
    """The time for the first answer is all that counts."""
    assert launch().left_s() is None
    assert launch(startup_timeout_s=7).patience_s() == 7


@pytest.mark.parametrize(("ends_in_s", "patience_s"), [(-5, 0), (5, 5), (60, 7)])
def test_the_time_until_a_deadline(
    monkeypatch: pytest.MonkeyPatch, ends_in_s: float, patience_s: float
) -> None:
    """It is never negative, and the wait for an answer does not go on after it."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    made = launch(startup_timeout_s=7, ends_at=100 + ends_in_s)
    assert made.left_s() == max(0, ends_in_s)
    assert made.patience_s() == patience_s
