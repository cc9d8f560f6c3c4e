"""Rules between the keys of ``[resources]``."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.resources import Resources
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.declarations.rules import check_resources, contradictions


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({"gpus": 2, "gpu_min_memory": "4GB"}, []),
        ({"gpus": 1, "gpu_memory": "4GB"}, []),
        ({"gpu_memory": "4GB"}, []),
        ({"gpus": 2, "gpu_memory": "4GB"}, ["gpus"]),
        ({"gpus": 0, "gpu_memory": "4GB"}, ["gpus"]),
        ({"gpu_memory": "4GB", "gpu_min_memory": "4GB"}, ["gpu_min_memory"]),
        ({"gpus": 3, "gpu_memory": "1GB", "gpu_min_memory": "4GB"}, ["gpus", "gpu_min_memory"]),
    ],
)
def test_keys_that_exclude_each_other(table: dict[str, Any], keys: list[str]) -> None:
    """Each pair is one message, which names both keys and the remedy."""
    texts = list(contradictions(table))
    assert len(texts) == len(keys)
    assert all(key in text and "gpu_memory" in text for key, text in zip(keys, texts, strict=True))


def test_a_limit_needs_a_size() -> None:
    """The message names the place of the key that lacks another one."""
    check_resources(Resources(ram_limit=True, ram=Size(10**9)), lambda _key: "never asked")
    check_resources(Resources(ram=Size(10**9)), lambda _key: "never asked")
    with pytest.raises(DeclarationError) as caught:
        check_resources(Resources(ram_limit=True), {"ram_limit": "x/experiment.toml"}.__getitem__)
    assert str(caught.value) == (
        "x/experiment.toml: [resources] ram_limit = true: there is no ram to limit it to; declare the "
        'most that it may take, such as ram = "4GB", or remove ram_limit'
    )
