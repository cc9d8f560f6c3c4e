"""What a run holds that nobody has filled in."""

from __future__ import annotations

from pytest_nbgroups.core.shortage import KillCounts
from pytest_nbgroups.kernels.holding import Holding, Sample


def test_nothing_is_held() -> None:
    """A run without a lease asks nobody and tells nobody, and nothing limits it."""
    held = Holding()
    assert held.on_start(1) is None
    held.on_sample(Sample(used_bytes=1))
    assert held.gpu_memory([1, 2]) is None
    assert held.kill_counts() == KillCounts()
    assert held.neighbours() == ()
    assert (held.descriptors, dict(held.env), held.ram_limit) == ((), {}, None)
