"""What follows from declared resources."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nbgroups.core.resources import AUTO_SHARE, Resources
from pytest_nbgroups.core.units import Size


@pytest.mark.parametrize(
    ("declared", "count"),
    [
        ({}, 0),
        ({"gpus": 2}, 2),
        ({"gpu_memory": Size(8)}, 1),
        ({"gpu_min_memory": Size(8)}, 1),
        ({"gpu_min_memory": Size(8), "gpus": 2}, 2),
        ({"gpu_memory": Size(8), "gpus": 0}, 0),
        ({"ram": Size(8), "cpus": 4.0}, 0),
    ],
)
def test_how_many_gpus(declared: dict[str, Any], count: int) -> None:
    """GPU memory implies a GPU, unless a number is declared, and be it zero."""
    assert Resources(**declared).gpu_count == count


def test_an_automatic_share_is_a_gpu() -> None:
    """Although its size is not known yet."""
    assert Resources(gpu_memory=AUTO_SHARE).gpu_count == 1
