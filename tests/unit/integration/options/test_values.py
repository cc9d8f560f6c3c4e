from __future__ import annotations

import pytest

from pytest_nbgroups.integration.options.table import OPTIONS

OPTION = {option.name: option for option in OPTIONS}


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("experiment_gpus", "9" * 5000, "expected auto, none, a number of GPUs such as 2, "),
        ("experiment_max_parallel", "9" * 5000, "expected a whole number from 1 on"),
        ("experiment_max_parallel", "²", "expected a whole number from 1 on"),
        ("experiment_shard", f"1/{'9' * 5000}", "expected I/N, the number of this shard and of "),
        ("experiment_shard", f"{'9' * 5000}/4", "expected I/N, the number of this shard and of "),
        ("experiment_shard", "5/4", "expected 1/4 to 4/4"),
        ("experiment_cpus", "nan", "expected a number above zero, such as 4 or 0.5"),
        ("experiment_ram", "inf%", 'expected a size such as "16GB", or a share such as "60%" up '),
    ],
)
def test_numbers_that_are_none(name: str, value: str, accepted: str) -> None:
    """Python's own words for them say nothing of what is accepted."""
    with pytest.raises(ValueError, match="expected ") as caught:
        OPTION[name].parse(value)
    assert str(caught.value).startswith(accepted)
