from __future__ import annotations

import pytest
from report_samples import GIB, gpu, lease, usage

from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.reports.usage import gpus_text, peak_text

MIG = "MIG-7a6b5c4d-1111-2222"
GPUS = (gpu(10), gpu(2), gpu(3, uuid=MIG, parent_uuid="GPU-3"))


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (None, ""),
        (usage(0), ""),
        (usage(GIB * 6 // 5), "1.2 GiB"),
        (usage(GIB * 6 // 5, is_upper_bound=True), "<= 1.2 GiB"),
    ],
)
def test_a_peak_of_memory(of: Usage | None, text: str) -> None:
    """An upper bound says that it is one; what was not measured is not zero."""
    assert peak_text(of) == text


@pytest.mark.parametrize(
    ("uuids", "text"),
    [
        ((), ""),
        (("GPU-10", "GPU-2"), "2,10"),
        ((MIG,), "MIG-7a6b5c4d"),
        (("GPU-0123abcd-ffff", "GPU-2"), "2,GPU-0123abcd"),
    ],
)
def test_leased_gpus(uuids: tuple[str, ...], text: str) -> None:
    """By index; MIG devices share theirs, and one that is not of the budget has none."""
    assert gpus_text(lease(*uuids), GPUS) == text


def test_without_a_lease_there_is_no_gpu() -> None:
    """A skipped experiment has held nothing."""
    assert gpus_text(None, GPUS) == ""
