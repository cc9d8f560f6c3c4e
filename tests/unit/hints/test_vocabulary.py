"""Words by which the use of GPUs and CPUs is known."""

from __future__ import annotations

import pytest

from pytest_nbgroups.hints.vocabulary import (
    is_count,
    is_device,
    is_gpu_setting,
    is_several,
    may_have_signs,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cuda", True),
        ("CUDA:1", True),
        ("/GPU:0", True),
        ("/device:XLA_GPU:12", True),
        ("cuda:", False),
        ("cuda:1000", False),
        ("cpu", False),
        ("not cuda", False),
        (0, False),
        (None, False),
    ],
)
def test_names_of_devices(value: object, *, expected: bool) -> None:
    """The whole text, of PyTorch and of TensorFlow."""
    assert is_device(value) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("device", "cuda:0", True),
        ("device", "gpu", True),
        ("map_location", "cuda", True),
        ("map_location", "gpu", False),
        ("tree_method", "GPU_hist", True),
        ("tree_method", "hist", False),
        ("name", "cuda", False),
    ],
)
def test_settings_that_ask_for_a_gpu(key: str, value: str, *, expected: bool) -> None:
    """A key that names a device, or a pair of some library's own."""
    assert is_gpu_setting(key, value) is expected


@pytest.mark.parametrize(
    ("value", "count", "several"),
    [
        (2, True, True),
        (4096, True, True),
        (4097, False, False),
        (1, False, False),
        (0, False, False),
        (-1, False, True),
        (2.0, False, False),
        ("4", False, False),
        (None, False, False),
    ],
)
def test_numbers_of_processes(value: object, *, count: bool, several: bool) -> None:
    """One is not several, below zero are all CPUs but a few, and too many are another number."""
    assert (is_count(value), is_several(value)) == (count, several)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", True),
        ("x.to('CUDA')", True),
        ("GridSearchCV(n_jobs=4)", True),
        ("import ray", True),
        ("an array of numbers", False),
        ("import numpy", False),
    ],
)
def test_most_cells_need_no_look(source: str, *, expected: bool) -> None:
    """None of the words stands in them."""
    assert may_have_signs(source) is expected
